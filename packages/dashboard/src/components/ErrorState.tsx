import { Button, Group, Stack, Text, Title } from '@mantine/core'
import { sayError } from '../api.ts'

/** What went wrong, and what can be done. */
export function ErrorState({ error, what, retry }: { error: unknown; what: string; retry: () => void }) {
  return (
    <Stack align="center" justify="center" mih={240} p="md" role="alert">
      <Title order={2}>Could not show {what}</Title>
      <Text c="dimmed" maw={520} ta="center">
        {sayError(error)}
      </Text>
      <Group>
        <Button variant="default" onClick={retry}>
          Try again
        </Button>
      </Group>
    </Stack>
  )
}
