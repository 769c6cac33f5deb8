import { OUTCOMES, type Outcome, type OutcomeCounts } from '../contracts/index.ts'

/** One client's decisions. */
class Tally implements Record<Outcome, number> {
  readonly client: string
  /** What may have been forgotten of it, at most. */
  readonly missed: number
  count = 0
  refused = 0
  allowed = 0
  limited = 0
  blocked = 0
  exempt = 0
  'degraded-allowed' = 0
  'degraded-refused' = 0

  constructor(client: string, missed: number) {
    this.client = client
    this.missed = missed
  }
}

/** Of those refused, so many are remembered however seldom they come. */
const REFUSED = 1000

export interface Counted {
  readonly client: string
  readonly count: number
  readonly outcomes: OutcomeCounts
}

/**
 * The most frequent clients in bounded memory: lossy counting (Manku and Motwani, "Approximate Frequency Counts over Data
 * Streams", 2002). Exact while there are no more than `width` clients; then a count is too low by at most total / width, and
 * at most about width × log2(total / width) are remembered. Who is too seldom goes at the end of a bucket (`width` decisions),
 * but only when half as many again as `width` are remembered: going through them costs more than counting.
 */
export class Top {
  private tallies = new Map<string, Tally>()
  /** Buckets that are over. */
  private buckets = 0
  private inBucket = 0
  private readonly width: number

  constructor(width: number) {
    this.width = width
  }

  add(client: string, outcome: Outcome): void {
    let tally = this.tallies.get(client)
    if (tally === undefined) {
      tally = new Tally(client, this.buckets)
      this.tallies.set(client, tally)
    }
    tally.count++
    if (outcome === 'allowed') tally.allowed++
    else {
      tally[outcome]++
      if (outcome !== 'exempt' && outcome !== 'degraded-allowed') tally.refused++
    }
    if (++this.inBucket >= this.width) this.endBucket()
  }

  /** The busiest `n`, then others that were refused, at most `most` in all; starts afresh. */
  take(n: number, most: number): Counted[] {
    const all = [...this.tallies.values()].sort((a, b) => b.count - a.count)
    const refused = all.slice(n).filter(tally => tally.refused > 0)
    this.tallies = new Map()
    this.buckets = 0
    this.inBucket = 0
    return [...all.slice(0, n), ...refused].slice(0, most).map(tally => ({
      client: tally.client,
      count: tally.count,
      outcomes: Object.fromEntries(OUTCOMES.filter(outcome => tally[outcome] > 0).map(o => [o, tally[o]])),
    }))
  }

  private endBucket(): void {
    this.inBucket = 0
    this.buckets++
    if (this.tallies.size <= this.width * 1.5) return
    // Keeping the few is cheaper than deleting the many.
    const kept = new Map<string, Tally>()
    let refused = 0
    for (const [client, tally] of this.tallies) {
      if (tally.count + tally.missed > this.buckets || (tally.refused > 0 && ++refused <= REFUSED))
        kept.set(client, tally)
    }
    this.tallies = kept
  }
}
