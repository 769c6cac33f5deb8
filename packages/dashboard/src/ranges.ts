import type { StatsRange } from '@api-bouncer/limiter/contracts'

/** Same as STATS_RANGES of the contracts, which would bring the schemas with it. */
export const RANGES: Readonly<Record<StatsRange, { readonly rangeMs: number; readonly stepMs: number }>> = {
  '5m': { rangeMs: 300_000, stepMs: 1000 },
  '1h': { rangeMs: 3_600_000, stepMs: 10_000 },
  '24h': { rangeMs: 86_400_000, stepMs: 300_000 },
}
export const RANGE_NAMES = Object.keys(RANGES) as StatsRange[]
