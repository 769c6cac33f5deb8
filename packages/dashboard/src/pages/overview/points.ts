import type { LiveFrame, StatsHistory, StatsRange } from '@api-bouncer/limiter/contracts'
import type { Point } from '../../components/TimeSeries.tsx'
import { SHOWN, type Shown, type Tally, tallyOfPolicies } from '../../outcomes.ts'
import { RANGES } from '../../ranges.ts'

const perSecond = (tally: Tally, spanMs: number): Tally =>
  Object.fromEntries(SHOWN.map(key => [key, (tally[key] * 1000) / spanMs])) as Record<Shown, number>

/** What one frame says, a second. */
export const ratesOf = ({ policies, spanMs }: LiveFrame): Tally =>
  perSecond(tallyOfPolicies(policies), Math.max(1, spanMs))

/** A frame does not come at the full second: a step without one is a gap only when its neighbours have none either. */
const LATE_STEPS = 2

/**
 * One point a step from `to - range` to `to`: what was kept before this page was opened, then what came live. A step that
 * nobody told of is a gap.
 */
export function pointsOf(
  range: StatsRange,
  history: StatsHistory | undefined,
  frames: readonly LiveFrame[],
  to: number,
): Point[] {
  const { rangeMs, stepMs } = RANGES[range]
  const last = Math.floor(to / stepMs) * stepMs
  const first = last - rangeMs
  const told = new Map<number, Tally>()
  for (const { at, policies } of history?.buckets ?? []) told.set(at, perSecond(tallyOfPolicies(policies), stepMs))
  if (range === '5m') for (const frame of frames) told.set(Math.floor(frame.at / stepMs) * stepMs, ratesOf(frame))
  const points: Point[] = []
  let known: Tally | null = null
  let since = 0
  for (let at = first; at <= last; at += stepMs) {
    const rates = told.get(at)
    since = rates ? 0 : since + 1
    if (rates) known = rates
    else if (since > LATE_STEPS || range !== '5m') known = null
    points.push({ at, rates: known })
  }
  // What is not told yet is no gap.
  while (points.length > 1 && points.at(-1)?.rates === null && to - (points.at(-1) as Point).at < 2 * stepMs)
    points.pop()
  return points
}
