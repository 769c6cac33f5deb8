import { own } from '@api-bouncer/limiter/client'
import type { LiveFrame, OutcomeCounts } from '@api-bouncer/limiter/contracts'
import { hitRate, tallyOf, totalOf } from './outcomes.ts'

const RECENT = 10

/** What a policy did in the last seconds; a shadow policy: what it would have. */
export function sumRecent(frames: readonly LiveFrame[], policy: string) {
  const recent = frames.slice(-RECENT)
  const seconds = recent.reduce((sum, { spanMs }) => sum + spanMs / 1000, 0)
  const sum: Record<string, number> = {}
  for (const frame of recent) {
    for (const [outcome, n] of Object.entries(own(frame.policies, policy) ?? {}))
      sum[outcome] = (sum[outcome] ?? 0) + (n as number)
  }
  const counts = sum as OutcomeCounts
  const tally = tallyOf(counts)
  const tried = (counts['shadow-allowed'] ?? 0) + (counts['shadow-limited'] ?? 0)
  return {
    perSecond: seconds === 0 ? 0 : (totalOf(tally) + tried) / seconds,
    refused: hitRate(tally),
    wouldRefuse: tried === 0 ? undefined : (counts['shadow-limited'] ?? 0) / tried,
  }
}
