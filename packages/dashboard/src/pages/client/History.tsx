import type { ClientHistory } from '@api-bouncer/limiter/contracts'
import { Text } from '@mantine/core'
import { useMemo, useState } from 'react'
import { Legend } from '../../components/Legend.tsx'
import { type Mark, type Point, TimeSeries } from '../../components/TimeSeries.tsx'
import { sayEvent } from '../../events.ts'
import { count } from '../../numbers.ts'
import { type Shown, tallyOf, totalOf } from '../../outcomes.ts'
import { clockTime } from '../../time.ts'

const HOUR = 3_600_000
const MARKS = { violation: 'violation', block: 'block', change: 'unblock' } as const

/** Its requests by outcome over the last hour, as far as they are kept, and its violations, blocks and unblocks among them. */
export function History({ history: { client, at, stepMs, from, buckets, events } }: { history: ClientHistory }) {
  const [hidden, setHidden] = useState<ReadonlySet<Shown>>(new Set())
  // What this minute has counted so far is seen whole.
  const edge = Math.ceil(at / stepMs) * stepMs
  const points = useMemo((): Point[] => {
    const told = new Map(buckets.map(bucket => [bucket.at, tallyOf(bucket.outcomes)]))
    return Array.from({ length: HOUR / stepMs }, (_, i) => {
      const time = edge - HOUR + i * stepMs
      return { at: time, rates: told.get(time) ?? null }
    })
  }, [buckets, edge, stepMs])
  const marks = useMemo(
    () =>
      events.map((event): Mark => {
        const { verb, rest } = sayEvent(event)
        const kind = event.type === 'blocked' ? 'block' : event.type === 'violation' ? 'violation' : 'change'
        return { at: event.at, kind, text: `${clockTime(event.at)} ${verb} ${rest.trim()}` }
      }),
    [events],
  )
  const numberOf = (kind: Mark['kind']) => {
    const n = marks.filter(mark => mark.kind === kind).length
    return `${n} ${MARKS[kind]}${n === 1 ? '' : 's'}`
  }
  const total = buckets.reduce((sum, { outcomes }) => sum + totalOf(tallyOf(outcomes)), 0)
  return (
    <>
      <Legend hidden={hidden} onChange={setHidden} unit="requests a minute" marks={MARKS} />
      <TimeSeries
        points={points}
        marks={marks}
        hidden={hidden}
        from={edge - HOUR}
        to={edge}
        height={180}
        bars
        per="minute"
        label={`Requests a minute of ${client} by outcome, with ${numberOf('violation')}, ${numberOf('block')}, ${numberOf('change')}`}
      />
      <Text size="xs" c="dimmed" mt={4}>
        {from === undefined
          ? 'No request of it is kept: the history has who was among the busiest of a second, or was refused in it.'
          : `${count(total)} requests kept since ${clockTime(from)}: those of seconds in which it was among the busiest, or was refused.`}
      </Text>
    </>
  )
}
