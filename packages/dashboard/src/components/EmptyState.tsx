import { Stack, Text } from '@mantine/core'
import { rehearsal } from '../commands.ts'
import { CommandLine } from './CommandLine.tsx'

/** Nothing is here yet: what to run next. */
export function EmptyState({ what, command = rehearsal() }: { what: string; command?: string }) {
  return (
    <Stack align="center" gap="xs" px="xs" py="lg">
      <Text c="dimmed" ta="center">
        {what}
      </Text>
      <CommandLine command={command} />
    </Stack>
  )
}
