import { own } from '@api-bouncer/limiter/client'
import type { LiveFrame, OutcomeCounts } from '@api-bouncer/limiter/contracts'
import { addTallies, hitRate, SHOWN, type Shown, tallyOf, tallyOfPolicies, totalOf } from './outcomes.ts'

/** Whatever is said of now, but the chart, is the mean of so many seconds: numbers beside each other agree. */
export const RECENT = 10

export const recent = (frames: readonly LiveFrame[]): readonly LiveFrame[] => frames.slice(-RECENT)

const secondsOf = (frames: readonly LiveFrame[]) => frames.reduce((sum, { spanMs }) => sum + spanMs / 1000, 0)

/** What all did in the last seconds; rates are undefined before anything is known. */
export function recentOf(frames: readonly LiveFrame[]) {
  const last = recent(frames)
  const seconds = secondsOf(last)
  const tally = addTallies(last.map(({ policies }) => tallyOfPolicies(policies)))
  const rates = Object.fromEntries(SHOWN.map(key => [key, tally[key] / seconds])) as Record<Shown, number>
  return {
    rates: seconds === 0 ? undefined : rates,
    perSecond: seconds === 0 ? undefined : totalOf(tally) / seconds,
    refused: hitRate(tally),
  }
}

/** What a policy did in the last seconds; a shadow policy: what it would have. */
export function sumRecent(frames: readonly LiveFrame[], policy: string) {
  const last = recent(frames)
  const seconds = secondsOf(last)
  const sum: Record<string, number> = {}
  for (const frame of last) {
    for (const [outcome, n] of Object.entries(own(frame.policies, policy) ?? {}))
      sum[outcome] = (sum[outcome] ?? 0) + (n as number)
  }
  const counts = sum as OutcomeCounts
  const tally = tallyOf(counts)
  const tried = (counts['shadow-allowed'] ?? 0) + (counts['shadow-limited'] ?? 0)
  return {
    perSecond: seconds === 0 ? undefined : (totalOf(tally) + tried) / seconds,
    refused: hitRate(tally),
    wouldRefuse: tried === 0 ? undefined : (counts['shadow-limited'] ?? 0) / tried,
  }
}
