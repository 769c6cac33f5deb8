import { Stack, Text } from '@mantine/core'
import { CommandLine } from './CommandLine.tsx'

/** Makes traffic, and somebody who misbehaves, on the API of this server. */
export const LOAD = 'bouncer load --rps 200 --clients 20 --attackers 10% /api/data'

/** Nothing is here yet: what to run next. */
export function EmptyState({ what, command = LOAD }: { what: string; command?: string }) {
  return (
    <Stack align="center" gap="xs" px="xs" py="lg">
      <Text c="dimmed" ta="center">
        {what}
      </Text>
      <CommandLine command={command} />
    </Stack>
  )
}
