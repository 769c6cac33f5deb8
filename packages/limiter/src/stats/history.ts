import {
  type ClientHistory,
  LATENCY_BUCKETS,
  type OutcomeCounts,
  own,
  STATS_RANGES,
  type StatsBucket,
  type StatsFrame,
  type StatsRange,
} from '../contracts/index.ts'
import type { Answer } from '../stores/store.ts'

export type ClientBucket = ClientHistory['buckets'][number]

/** What the fleet did, for a day back, and what clients did that stood out, for an hour. */
export interface History {
  /** Oldest first. */
  stats(range: StatsRange): Answer<StatsBucket[]>
  /** Oldest first. */
  client(client: string): Answer<ClientBucket[]>
}

/** The steps of the kept history, finest first. */
export const TIERS = (Object.entries(STATS_RANGES) as [StatsRange, (typeof STATS_RANGES)[StatsRange]][]).map(
  ([range, { rangeMs, stepMs }]) => ({ range, rangeMs, stepMs }),
)

/** A client's history has a bucket a minute, for an hour back. */
export const CLIENT_STEP_MS = 60_000
export const CLIENT_BUCKETS = 60

/** The start of the step that a time falls into. */
export const stepOf = (at: number, stepMs: number): number => Math.floor(at / stepMs) * stepMs

/**
 * The second (epoch ms of its start) that a frame is about, told at `at` of the second before it. The one after `previous`
 * where that is near enough: a ticker's jitter around a full second would else leave holes beside doubled seconds.
 */
export function secondOf(at: number, spanMs: number, previous: number | undefined): number {
  const middle = at - Math.min(spanMs, 1000) / 2
  const next = (previous ?? Number.NEGATIVE_INFINITY) + 1000
  if (Math.abs(middle - next - 500) < 1000) return next
  const second = stepOf(middle, 1000)
  // Two frames at once: the later one is about no earlier time.
  return previous !== undefined && second < previous && second > previous - 3000 ? previous : second
}

export const emptyBucket = (at: number): StatsBucket => ({
  at,
  policies: {},
  latency: new Array(LATENCY_BUCKETS.length + 1).fill(0),
  blocks: 0,
  instances: 0,
})

/** Adds counts to counts, in place. */
export function addCounts(to: OutcomeCounts, counts: OutcomeCounts): OutcomeCounts {
  for (const [outcome, count] of Object.entries(counts) as [keyof OutcomeCounts, number][]) {
    to[outcome] = (to[outcome] ?? 0) + count
  }
  return to
}

type Counted = Pick<StatsFrame, 'policies' | 'latency' | 'blocks'>

/** Adds what one instance did to what the fleet did, in place. */
export function addFrame(to: Counted, { policies, latency, blocks }: Counted): void {
  for (const [policy, counts] of Object.entries(policies)) {
    to.policies[policy] = addCounts(own(to.policies, policy) ?? {}, counts)
  }
  latency.forEach((count, i) => {
    to.latency[i] = (to.latency[i] ?? 0) + count
  })
  to.blocks += blocks
}

/** So many clients' histories are kept in process: the last that stood out. */
const KEPT_CLIENTS = 1000

/** The embedded history: lives as long as the process. */
export class MemoryHistory implements History {
  private readonly now: () => number
  private readonly tiers = TIERS.map(tier => ({ ...tier, buckets: new Map<number, StatsBucket>() }))
  /** In order of last use; each with its minutes. */
  private readonly clients = new Map<string, ClientBucket[]>()
  private second: number | undefined
  /** The frame of the second under way has them still. */
  private readonly forgotten = new Set<string>()

  /** `now`: epoch ms. */
  constructor(now: () => number) {
    this.now = now
  }

  add(frame: StatsFrame): void {
    this.second = secondOf(frame.at, frame.spanMs, this.second)
    for (const { stepMs, rangeMs, buckets } of this.tiers) {
      const at = stepOf(this.second, stepMs)
      let bucket = buckets.get(at)
      if (!bucket) {
        bucket = { ...emptyBucket(at), instances: 1 }
        buckets.set(at, bucket)
        // One for the step that is not over, one for the second that a frame may lag behind.
        if (buckets.size > rangeMs / stepMs + 2) buckets.delete(buckets.keys().next().value as number)
      }
      addFrame(bucket, frame)
    }
    for (const { client, outcomes } of frame.top) {
      if (outcomes && !this.forgotten.has(client)) this.addClient(client, outcomes, this.second)
    }
    this.forgotten.clear()
  }

  forget(client: string): void {
    this.clients.delete(client)
    this.forgotten.add(client)
  }

  stats(range: StatsRange): StatsBucket[] {
    const { buckets, rangeMs, stepMs } = this.tiers.find(tier => tier.range === range) as (typeof this.tiers)[number]
    const from = this.now() - rangeMs - stepMs
    return structuredClone([...buckets.values()].filter(({ at }) => at > from).sort((a, b) => a.at - b.at))
  }

  client(client: string): ClientBucket[] {
    const from = this.now() - (CLIENT_BUCKETS + 1) * CLIENT_STEP_MS
    return structuredClone((this.clients.get(client) ?? []).filter(({ at }) => at > from))
  }

  private addClient(client: string, outcomes: OutcomeCounts, second: number): void {
    const at = stepOf(second, CLIENT_STEP_MS)
    const minutes = this.clients.get(client) ?? []
    this.clients.delete(client)
    this.clients.set(client, minutes)
    if (this.clients.size > KEPT_CLIENTS) this.clients.delete(this.clients.keys().next().value as string)
    const last = minutes.at(-1)
    if (last?.at === at) addCounts(last.outcomes, outcomes)
    else minutes.push({ at, outcomes: { ...outcomes } })
    if (minutes.length > CLIENT_BUCKETS + 1) minutes.shift()
  }
}
