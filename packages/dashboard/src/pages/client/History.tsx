import { Text } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { useMemo } from 'react'
import { control, keys } from '../../api.ts'
import { Panel } from '../../components/Panel.tsx'
import { type Mark, type Point, TimeSeries } from '../../components/TimeSeries.tsx'
import { sayEvent } from '../../events.ts'
import { useLive } from '../../live.ts'
import { SHOWN, type Shown, tallyOf, totalOf } from '../../outcomes.ts'
import { clockTime, serverNow } from '../../time.ts'

const HOUR = 3_600_000

/** Its requests by outcome over the last hour, as far as they are kept. */
export function History({ client }: { client: string }) {
  const history = useQuery({
    queryKey: keys.clientHistory(client),
    queryFn: () => control.clientHistory(client),
    refetchInterval: 5000,
  })
  const events = useLive(live => live.events)
  const { at = serverNow(), stepMs = 60_000, from, buckets = [] } = history.data ?? {}
  // What this minute has counted so far is seen whole.
  const edge = Math.ceil(at / stepMs) * stepMs
  const points = useMemo((): Point[] => {
    const told = new Map(buckets.map(bucket => [bucket.at, tallyOf(bucket.outcomes)]))
    const last = Math.floor(at / stepMs) * stepMs
    return Array.from({ length: HOUR / stepMs + 1 }, (_, i) => {
      const time = last - HOUR + i * stepMs
      const tally = told.get(time)
      const rates =
        tally && (Object.fromEntries(SHOWN.map(key => [key, (tally[key] * 1000) / stepMs])) as Record<Shown, number>)
      return { at: time, rates: rates ?? null }
    })
  }, [buckets, at, stepMs])
  const marks = useMemo(
    () =>
      events
        .filter(event => 'client' in event && event.client === client && event.type !== 'violation')
        .map((event): Mark => {
          const { verb, rest } = sayEvent(event)
          return { at: event.at, kind: event.type === 'blocked' ? 'block' : 'change', text: `${verb} ${rest}` }
        }),
    [events, client],
  )
  const total = buckets.reduce((sum, { outcomes }) => sum + totalOf(tallyOf(outcomes)), 0)
  return (
    <Panel title="Requests by outcome, the last hour" id="history">
      <TimeSeries
        points={points}
        marks={marks}
        from={edge - HOUR}
        to={edge}
        height={180}
        bars
        label={`Requests a second of ${client} by outcome`}
      />
      <Text size="xs" c="dimmed" mt={4}>
        {from === undefined
          ? 'Nothing is kept of it: the history has who was among the busiest of a second, or was refused in it.'
          : `${total} requests kept since ${clockTime(from)}: those of seconds in which it was among the busiest, or was refused.`}
      </Text>
    </Panel>
  )
}
