import { parseDuration } from '@api-bouncer/limiter/client'
import type { ListEntry, ListName } from '@api-bouncer/limiter/contracts'
import { Alert, Text, TextInput } from '@mantine/core'
import { useState } from 'react'
import { contains, parseRange } from '../../addresses.ts'
import { actor, control } from '../../api.ts'
import { bouncer } from '../../commands.ts'
import { ActionDialog } from '../../components/ActionDialog.tsx'
import { serverNow } from '../../time.ts'

interface Props {
  readonly list: ListName
  readonly cidr: string
  readonly entries: readonly ListEntry[]
  readonly onClose: () => void
}

const LARGE = { 32: 16, 128: 40 } as const

/** Why the server would refuse it: the allowlist wins, and the same range on both lists helps nobody. */
function refusalOf(list: ListName, cidr: string, entries: readonly ListEntry[]): string | undefined {
  if (list === 'allow') {
    const same = entries.some(
      entry => entry.list === 'deny' && contains(entry.cidr, cidr) && contains(cidr, entry.cidr),
    )
    return same ? 'It is on the denylist: take it off there first' : undefined
  }
  const covering = entries.find(entry => entry.list === 'allow' && contains(entry.cidr, cidr))
  return (
    covering && `${covering.cidr} is on the allowlist, which wins: this would do nothing. Take that off there first`
  )
}

/** What should be known before a range is added. */
function warningsOf(list: ListName, cidr: string, entries: readonly ListEntry[]): string[] {
  const range = parseRange(cidr)
  if (!range) return []
  const within = entries.find(entry => entry.list === list && contains(entry.cidr, cidr))
  const against = entries.find(entry =>
    list === 'allow'
      ? entry.list === 'deny' && contains(entry.cidr, cidr)
      : entry.list === 'allow' && contains(cidr, entry.cidr),
  )
  const local = list === 'deny' && (contains(cidr, '127.0.0.1') || contains(cidr, '::1'))
  return [
    ...(within ? [`It lies within ${within.cidr}, which is on the ${list}list already.`] : []),
    ...(against ? [`${against.cidr} is on the ${against.list}list: where both hold, the allowlist wins.`] : []),
    ...(local
      ? ['It contains this machine’s own address: health checks and your own calls through it would be refused.']
      : []),
    ...(range.prefix < LARGE[range.length as 32 | 128] ? ['It is a very large range.'] : []),
  ]
}

/** Puts a range on a list. */
export function AddDialog({ list, cidr: given, entries: all, onClose }: Props) {
  const [cidr, setCidr] = useState(given)
  const [duration, setDuration] = useState('')
  const [comment, setComment] = useState('')
  const wanted = cidr.trim()
  const entries = all.filter(({ expiresAt = Number.POSITIVE_INFINITY }) => expiresAt > serverNow())
  const refusal = refusalOf(list, wanted, entries)
  const ms = duration.trim() === '' ? 1000 : parseDuration(duration.trim())
  const badRange =
    wanted !== '' && !parseRange(wanted) ? 'An address or a range, such as 192.0.2.7 or 192.0.2.0/24' : undefined
  const badTime = ms === undefined || ms < 1000 ? 'A time such as 15m, 4h or 7d; empty: for good' : undefined
  const why = comment.trim() === '' ? undefined : comment.trim()
  const time = duration.trim() === '' ? undefined : duration.trim()
  return (
    <ActionDialog
      opened
      onClose={onClose}
      action={{
        title: given === '' ? `Add to the ${list}list` : `${list === 'allow' ? 'Allow' : 'Deny'} ${given}`,
        verb: list === 'allow' ? 'Allow' : 'Deny',
        destructive: list === 'deny',
        effect:
          list === 'allow'
            ? 'Requests from these addresses pass uncounted; this wins over an existing block at once.'
            : 'Requests from these addresses are refused with 403 on every instance.',
        command: bouncer([list, 'add', wanted === '' ? 'CIDR' : wanted], { for: time, comment: why }),
        problem: wanted === '' ? 'Which range?' : (badRange ?? refusal ?? badTime),
        run: () =>
          control.putListEntry(
            list,
            wanted,
            { ...(time !== undefined && { for: time }), ...(why !== undefined && { comment: why }) },
            actor,
          ),
        done: entry => `${entry.cidr} is on the ${list}list. Take it off: ${bouncer([list, 'rm', entry.cidr])}`,
        children: (
          <>
            <TextInput
              label="Address or range"
              value={cidr}
              onChange={event => setCidr(event.currentTarget.value)}
              error={badRange ?? refusal}
              maxLength={60}
              data-autofocus
              required
            />
            {(refusal === undefined ? warningsOf(list, wanted, entries) : []).map(warning => (
              <Alert key={warning} color="yellow">
                <Text size="sm">{warning}</Text>
              </Alert>
            ))}
            <TextInput
              label="For"
              description="Empty: for good"
              value={duration}
              onChange={event => setDuration(event.currentTarget.value)}
              error={badTime}
            />
            <TextInput
              label="Comment"
              maxLength={500}
              value={comment}
              onChange={event => setComment(event.currentTarget.value)}
            />
          </>
        ),
      }}
    />
  )
}
