import { Button, Group, Modal, Stack, Text } from '@mantine/core'
import { notifications } from '@mantine/notifications'
import { useMutation } from '@tanstack/react-query'
import type { ReactNode } from 'react'
import { queries, sayError } from '../api.ts'
import { useReadOnly } from '../session.ts'
import { CommandLine } from './CommandLine.tsx'

export interface Action<T = unknown> {
  /** Names the object: `Block 1.2.3.4`. */
  readonly title: string
  /** What it will do, in a sentence. */
  readonly effect: ReactNode
  /** The button's verb. */
  readonly verb: string
  readonly destructive?: boolean
  /** The `bouncer` line that does the same. */
  readonly command: string
  readonly run: () => Promise<T>
  /** What was done, in words; with the way back where there is one. */
  readonly done: (result: T) => ReactNode
  /** Fields of it. */
  readonly children?: ReactNode
  /** Why it cannot be done yet: a field is wrong. */
  readonly problem?: string | undefined
}

interface Props<T> {
  readonly action: Action<T>
  readonly opened: boolean
  readonly onClose: () => void
}

/** Asks once, does it, says what it did. What changes afterwards is asked for again. */
export function ActionDialog<T>({ action, opened, onClose }: Props<T>) {
  const readOnly = useReadOnly()
  const act = useMutation({
    mutationFn: action.run,
    onSuccess: result => {
      notifications.show({ message: action.done(result), autoClose: 12_000, withBorder: true })
      void queries.invalidateQueries()
      onClose()
    },
  })
  const close = () => {
    act.reset()
    onClose()
  }
  return (
    <Modal opened={opened} onClose={close} title={action.title} closeButtonProps={{ 'aria-label': 'close' }}>
      <form
        onSubmit={event => {
          event.preventDefault()
          if (!readOnly && !action.problem) act.mutate()
        }}
      >
        <Stack gap="sm">
          <Text size="sm">{action.effect}</Text>
          {action.children}
          <div>
            <Text size="xs" c="dimmed">
              On the command line
            </Text>
            <CommandLine command={action.command} />
          </div>
          {act.isError && (
            <Text size="sm" role="alert" c="var(--blocked)">
              {sayError(act.error)}
            </Text>
          )}
          {readOnly && (
            <Text size="sm" c="dimmed">
              {readOnly}
            </Text>
          )}
          <Group justify="flex-end" gap="xs">
            <Button variant="default" onClick={close}>
              Cancel
            </Button>
            <Button
              type="submit"
              loading={act.isPending}
              disabled={readOnly !== undefined || action.problem !== undefined}
              {...(action.destructive && { color: 'red.8' })}
            >
              {action.verb}
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  )
}
