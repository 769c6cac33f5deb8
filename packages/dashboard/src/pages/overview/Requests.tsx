import { Button, Group, SegmentedControl } from '@mantine/core'
import { useMemo, useState } from 'react'
import { Unknown } from '../../components/Answer.tsx'
import { Legend } from '../../components/Legend.tsx'
import { Panel } from '../../components/Panel.tsx'
import { type Mark, TimeSeries } from '../../components/TimeSeries.tsx'
import { sayEvent } from '../../events.ts'
import { newestFrame, setPaused, useLive } from '../../live.ts'
import type { Shown } from '../../outcomes.ts'
import { RANGE_NAMES, RANGES } from '../../ranges.ts'
import { clockTime, serverNow, span } from '../../time.ts'
import { pointsOf } from './points.ts'
import { useRange } from './range.ts'

const MARKED = new Set(['blocked', 'policy-changed', 'list-changed'])
/** More lines than these say nothing. */
const MOST_MARKS = 60

/** Requests by outcome over time, what was kept and what is live. */
export function Requests({ height }: { height: number }) {
  const { range, select, history } = useRange()
  const { rangeMs, stepMs } = RANGES[range]
  const frames = useLive(live => live.frames)
  const newest = useLive(newestFrame)
  const events = useLive(live => live.events)
  const paused = useLive(live => live.paused)
  const pauses = useLive(live => live.pauses)
  const [hidden, setHidden] = useState<ReadonlySet<Shown>>(new Set())

  const to = newest?.at ?? history.data?.at ?? serverNow()
  // What a long step has counted so far is seen whole.
  const edge = range === '5m' ? to : Math.ceil(to / stepMs) * stepMs
  const points = useMemo(() => pointsOf(range, history.data, frames, to), [range, history.data, frames, to])
  const marks = useMemo((): Mark[] => {
    const happened = events
      .filter(({ type, at }) => MARKED.has(type) && at > to - rangeMs)
      .slice(0, MOST_MARKS)
      .map((event): Mark => {
        const { verb, client, rest } = sayEvent(event)
        return {
          at: event.at,
          kind: event.type === 'blocked' ? 'block' : 'change',
          text: `${verb} ${client ?? ''} ${rest}`,
        }
      })
    const held = pauses.map(
      ({ from, to }): Mark => ({
        at: from,
        kind: 'change',
        text: `paused here for ${span(to - from)}, until ${clockTime(to)}`,
      }),
    )
    return [...happened, ...held]
  }, [events, pauses, to, rangeMs])

  return (
    <Panel
      title="Requests by outcome"
      id="requests"
      tools={
        <Group gap="xs" wrap="nowrap">
          <SegmentedControl size="xs" data={RANGE_NAMES} value={range} onChange={select} aria-label="range" />
          <Button size="compact-sm" variant="default" onClick={() => setPaused(!paused)} aria-pressed={paused}>
            {paused ? 'go on' : 'pause'}
          </Button>
        </Group>
      }
    >
      <Unknown of={history} what="what came before this page was opened" />
      <Legend
        hidden={hidden}
        onChange={setHidden}
        unit="requests a second"
        marks={{ block: 'block', change: 'change' }}
      />
      <TimeSeries
        points={points}
        marks={marks}
        hidden={hidden}
        from={edge - rangeMs}
        to={edge}
        bars={range === '24h'}
        height={height}
        label={`Requests a second by outcome, the last ${range}`}
      />
    </Panel>
  )
}
