import type { UnblockResult } from '@api-bouncer/limiter/contracts'
import { Checkbox, Select, TextInput } from '@mantine/core'
import { useState } from 'react'
import { actor, control } from '../api.ts'
import { bouncer } from '../commands.ts'
import { disarm } from '../foreign.ts'
import { instancesOf } from '../numbers.ts'
import { leftUntil, span } from '../time.ts'
import { ActionDialog } from './ActionDialog.tsx'

/** What an unblock lifted, as the command line says it. */
export function sayUnblocked({ client, wasBlocked, block, violations, counters, seenBy }: UnblockResult): string {
  const lifted = [
    ...(block ? [`block (${span(block.until - Date.now())} left)`] : []),
    ...(violations > 0 ? [`${violations} violation${violations === 1 ? '' : 's'}`] : []),
    ...(counters.length > 0 ? [`counters of ${counters.join(', ')}`] : []),
  ]
  const what = lifted.length > 0 ? lifted.join(' · ') : 'nothing'
  const seen = seenBy ? ` · seen by ${instancesOf(seenBy)}` : ''
  if (!wasBlocked) return `${client} was not blocked; cleared: ${what}`
  const left = block && leftUntil(block.until)
  const again = left ? `. Block it again: ${bouncer(['block', client], { for: left, reason: block.reason })}` : ''
  return `Unblocked ${client}. Lifted: ${what}${seen}${again}`
}

interface Props {
  readonly client: string
  readonly opened: boolean
  readonly onClose: () => void
}

/** Lets a client back in. */
export function UnblockDialog({ client, opened, onClose }: Props) {
  const [keepCounters, setKeepCounters] = useState(false)
  const [grace, setGrace] = useState<string | null>('')
  const [reason, setReason] = useState('')
  const why = reason.trim() === '' ? undefined : reason.trim()
  return (
    <ActionDialog
      opened={opened}
      onClose={onClose}
      action={{
        title: `Unblock ${disarm(client, 60)}`,
        verb: 'Unblock',
        effect: 'Lifts its block on every instance and clears its violations, and its counters unless they are kept.',
        command: bouncer(['unblock', client], {
          'keep-counters': keepCounters,
          grace: grace || undefined,
          reason: why,
        }),
        run: () =>
          control.unblock(
            client,
            { keepCounters, ...(grace ? { grace } : {}), ...(why !== undefined && { reason: why }) },
            actor,
          ),
        done: sayUnblocked,
        children: (
          <>
            <Checkbox
              label="Keep its counters"
              description="It is not blocked, but what it has used stays used"
              checked={keepCounters}
              onChange={event => setKeepCounters(event.currentTarget.checked)}
            />
            <Select
              label="Grace"
              description="During this time its violations cannot block it again"
              data={[
                { value: '', label: 'none' },
                { value: '5m', label: '5 minutes' },
                { value: '30m', label: '30 minutes' },
                { value: '4h', label: '4 hours' },
                { value: '1d', label: '1 day' },
              ]}
              value={grace}
              onChange={setGrace}
              allowDeselect={false}
            />
            <TextInput
              label="Reason"
              description="For the audit"
              maxLength={500}
              value={reason}
              onChange={event => setReason(event.currentTarget.value)}
            />
          </>
        ),
      }}
    />
  )
}
