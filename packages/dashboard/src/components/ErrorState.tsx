import { Button, Group, Stack, Text, Title } from '@mantine/core'
import type { ReactNode } from 'react'
import { sayError } from '../api.ts'

interface Props {
  readonly error: unknown
  readonly what: string
  /** Absent: asking again does not help. */
  readonly retry?: () => void
  /** What else can be done. */
  readonly children?: ReactNode
}

/** What went wrong, and what can be done. */
export function ErrorState({ error, what, retry, children }: Props) {
  return (
    <Stack align="center" justify="center" mih={240} p="md" role="alert">
      <Title order={2}>Could not show {what}</Title>
      <Text c="dimmed" maw={520} ta="center">
        {sayError(error)}
      </Text>
      <Group>
        {retry && (
          <Button variant="default" onClick={retry}>
            Try again
          </Button>
        )}
        {children}
      </Group>
    </Stack>
  )
}
