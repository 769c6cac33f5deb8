import type { PolicyRecord } from '@api-bouncer/limiter/contracts'
import { Alert, Button, Group } from '@mantine/core'
import { notifications } from '@mantine/notifications'
import { useMutation } from '@tanstack/react-query'
import { actor, control, queries, sayError } from '../../api.ts'
import { bouncer } from '../../commands.ts'
import { CommandLine } from '../../components/CommandLine.tsx'
import { Countdown } from '../../components/Countdown.tsx'
import { useReadOnly } from '../../session.ts'
import { useNow } from '../../time.ts'

/** A change that goes back by itself unless somebody keeps it. */
export function Pending({ record: { policy, version, revert } }: { record: PolicyRecord }) {
  const readOnly = useReadOnly()
  const now = useNow()
  const keep = useMutation({
    mutationFn: () => control.confirmPolicy(policy.id, actor),
    onSuccess: () => {
      notifications.show({ message: `${policy.id} v${version} stays`, withBorder: true })
      void queries.invalidateQueries()
    },
    onError: error => notifications.show({ message: sayError(error), color: 'red', withBorder: true }),
  })
  if (!revert) return null
  if (revert.at <= now) {
    return (
      <Alert
        color="yellow"
        mb="sm"
        title={`${policy.id} v${version} was not confirmed: what was there before is in force again`}
      />
    )
  }
  return (
    <Alert
      color="yellow"
      mb="sm"
      title={
        <span>
          {policy.id} v{version} goes back in <Countdown until={revert.at} /> unless it is confirmed
        </span>
      }
    >
      <Group gap="xs">
        <Button
          size="compact-sm"
          onClick={() => keep.mutate()}
          loading={keep.isPending}
          disabled={readOnly !== undefined}
          {...(readOnly && { title: readOnly })}
        >
          Keep it
        </Button>
        <CommandLine command={bouncer(['policy', 'confirm', policy.id])} />
      </Group>
    </Alert>
  )
}
