import { Stack, Text } from '@mantine/core'
import { rehearsal } from '../commands.ts'
import { CommandLine } from './CommandLine.tsx'

/** Nothing is here yet: what to run next. */
export function EmptyState({ what, command }: { what: string; command?: string }) {
  return (
    <Stack align="center" gap="xs" px="xs" py="lg">
      <Text c="dimmed" ta="center">
        {what}
      </Text>
      <CommandLine command={command ?? rehearsal()} />
      {command === undefined && (
        <Text size="xs" c="dimmed" ta="center">
          bouncer is not installed? In the folder of API Bouncer: npm run bouncer -- …
        </Text>
      )}
    </Stack>
  )
}
