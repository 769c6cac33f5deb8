import { parseDuration, spellTyped } from '@api-bouncer/limiter/client'
import { Alert, Anchor, TextInput } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { Link } from 'wouter'
import { isRange, parseRange, sayClient } from '../addresses.ts'
import { actor, control, keys } from '../api.ts'
import { bouncer } from '../commands.ts'
import { disarm } from '../foreign.ts'
import { clockTime } from '../time.ts'
import { ActionDialog } from './ActionDialog.tsx'

interface Props {
  /** Absent: it is asked for. */
  readonly client?: string
  readonly opened: boolean
  readonly onClose: () => void
}

/** Keeps a client out for a time. */
export function BlockDialog({ client: given, opened, onClose }: Props) {
  const [typed, setTyped] = useState('')
  const [duration, setDuration] = useState('15m')
  const [reason, setReason] = useState('')
  const client = given ?? typed.trim()
  const ms = parseDuration(duration)
  const badTime =
    ms === undefined || ms < 1000 || ms > 365 * 86_400_000 ? 'A time such as 15m, 4h or 7d, from 1s to 365d' : undefined
  const state = useQuery({ queryKey: keys.state, queryFn: () => control.state(), enabled: opened })
  const ipv6Prefix = state.data?.settings.ipv6Prefix
  // Until that is known the server alone says what is a range.
  const range = ipv6Prefix !== undefined && isRange(client, ipv6Prefix)
  const { problem: slip, note } = sayClient(client)
  const problem = client === '' ? 'Whom?' : range ? 'A range is denied, not blocked' : (slip ?? badTime)
  // As it is printed elsewhere: a shell would take what could shape a terminal.
  const named = parseRange(client) ? client : spellTyped(client)
  const why = reason.trim() === '' ? undefined : reason.trim()
  return (
    <ActionDialog
      opened={opened}
      onClose={onClose}
      action={{
        title: given === undefined ? 'Block a client' : `Block ${disarm(given, 60)}`,
        verb: 'Block',
        destructive: true,
        effect:
          'Every request of this client is refused, everywhere, until the time is over or somebody lets it back in.',
        command: bouncer(['block', client === '' ? 'CLIENT' : named], { for: duration, reason: why }),
        problem,
        run: () => control.block({ client, for: duration, ...(why !== undefined && { reason: why }) }, actor),
        done: block =>
          `Blocked ${block.client} until ${clockTime(block.until)}. Let it back in: ${bouncer(['unblock', block.client])}`,
        children: (
          <>
            {given === undefined && (
              <TextInput
                label="Client"
                description={
                  note ??
                  `An IPv4 address, an IPv6 address (its ${ipv6Prefix === undefined ? 'network' : `/${ipv6Prefix}`} is blocked), or a client id`
                }
                error={slip}
                value={typed}
                onChange={event => setTyped(event.currentTarget.value)}
                maxLength={200}
                data-autofocus
                required
              />
            )}
            {range && (
              <Alert color="yellow">
                A range cannot be blocked for a time, but it can be denied:{' '}
                <Anchor component={Link} href={`/lists?add=deny&cidr=${encodeURIComponent(client)}`} onClick={onClose}>
                  put {client} on the denylist
                </Anchor>
              </Alert>
            )}
            <TextInput
              label="For"
              value={duration}
              onChange={event => setDuration(event.currentTarget.value)}
              error={badTime}
              required
            />
            <TextInput
              label="Reason"
              description="Operators see it; the client is not told"
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
