import {
  type Decision,
  LATENCY_BUCKETS,
  OUTCOMES,
  type OutcomeCounts,
  type StatsFrame,
  TOP_CLIENTS,
} from '../contracts/index.ts'
import { isNear, Lately } from './lately.ts'
import { Top } from './top.ts'

const COUNTED = [...OUTCOMES, 'shadow-allowed', 'shadow-limited'] as const
type Counted = (typeof COUNTED)[number]

/** Cumulative counts since the start: what /metrics shows. */
export interface Totals {
  /** By policy (`-`: none), by outcome. */
  readonly policies: ReadonlyMap<string, Readonly<Record<Counted, number>>>
  /** Decisions by time taken: a count for each of LATENCY_BUCKETS, then those above. */
  readonly latency: readonly number[]
  /** Seconds spent deciding. */
  readonly latencySum: number
  readonly blocks: number
  readonly degraded: number
}

const zero = () => Object.fromEntries(COUNTED.map(outcome => [outcome, 0])) as Record<Counted, number>

/** Told of in a frame: the busiest, and with them everyone who was refused, up to so many. */
const BUSIEST = 20
const TOLD = 200

/**
 * Counts every decision; cheap enough for the hot path: no allocation after the first of a policy and a client. A decision
 * made in process takes less time than reading the clock twice, so only one of `timeEvery` need be timed; it stands for those
 * before it.
 */
export class Recorder {
  private readonly policies = new Map<string, Record<Counted, number>>()
  private readonly latency = new Array<number>(LATENCY_BUCKETS.length + 1).fill(0)
  private latencySum = 0
  private readonly top = new Top(TOP_CLIENTS)
  private readonly lately = new Lately()
  private readonly timeEvery: number
  private untimed = 0
  private untilTimed = 0
  private lastSeconds = 0
  private lastPolicy: string | undefined
  private lastCounts = zero()
  private blocks = 0
  private degraded = 0
  private told = {
    policies: new Map<string, Record<Counted, number>>(),
    latency: [...this.latency],
    blocks: 0,
    overflow: 0,
    at: 0,
  }

  constructor(timeEvery = 1) {
    this.timeEvery = timeEvery
  }

  /** Whether the next decision is to be timed. */
  get isTiming(): boolean {
    return this.untilTimed === 0
  }

  /** `seconds` is undefined for a decision that was not timed. */
  record(decision: Decision, seconds: number | undefined): void {
    const { outcome, policy = '-', shadow } = decision
    if (policy !== this.lastPolicy) {
      this.lastPolicy = policy
      this.lastCounts = this.of(policy)
    }
    if (outcome === 'allowed') this.lastCounts.allowed++
    else {
      this.lastCounts[outcome]++
      if (outcome === 'degraded-allowed' || outcome === 'degraded-refused') this.degraded++
      else if (outcome === 'limited' && decision.block) this.blocks++
    }
    if (shadow) this.of(shadow.policy)[`shadow-${shadow.outcome}`]++
    this.top.add(decision.client, outcome)
    if (isNear(decision) && (outcome === 'allowed' || outcome === 'limited')) this.lately.add(decision)
    if (seconds === undefined) {
      this.untimed++
      if (this.untilTimed > 0) this.untilTimed--
    } else {
      this.untilTimed = this.timeEvery - 1
      this.lastSeconds = seconds
      this.time(seconds, 1 + this.untimed)
      this.untimed = 0
    }
  }

  totals(): Totals {
    this.settle()
    const { policies, latency, latencySum, blocks, degraded } = this
    return { policies, latency, latencySum, blocks, degraded }
  }

  /** What happened since the last frame. */
  frame(
    now: number,
    overflow: number,
  ): Pick<StatsFrame, 'spanMs' | 'policies' | 'latency' | 'top' | 'lately' | 'blocks' | 'overflow' | 'degraded'> {
    this.settle()
    const { told } = this
    const policies: Record<string, OutcomeCounts> = {}
    for (const [policy, counts] of this.policies) {
      const before = told.policies.get(policy)
      const changed = COUNTED.filter(outcome => counts[outcome] !== (before?.[outcome] ?? 0))
      if (changed.length > 0) {
        policies[policy] = Object.fromEntries(changed.map(o => [o, counts[o] - (before?.[o] ?? 0)]))
      }
      told.policies.set(policy, { ...counts })
    }
    const top = this.top.take(BUSIEST, TOLD)
    const frame = {
      spanMs: told.at === 0 ? 1000 : now - told.at,
      policies,
      latency: this.latency.map((count, i) => count - (told.latency[i] as number)),
      top,
      lately: this.lately.take(now, top.slice(0, BUSIEST)),
      blocks: this.blocks - told.blocks,
      overflow: overflow - told.overflow,
      degraded: this.degraded,
    }
    this.told = { policies: told.policies, latency: [...this.latency], blocks: this.blocks, overflow, at: now }
    return frame
  }

  private time(seconds: number, decisions: number): void {
    let bucket = 0
    while (bucket < LATENCY_BUCKETS.length && seconds > (LATENCY_BUCKETS[bucket] as number)) bucket++
    this.latency[bucket] = (this.latency[bucket] as number) + decisions
    this.latencySum += seconds * decisions
  }

  /** What was not timed since the last that was took about as long: every decision is in the histogram, and once. */
  private settle(): void {
    if (this.untimed > 0) this.time(this.lastSeconds, this.untimed)
    this.untimed = 0
  }

  private of(policy: string): Record<Counted, number> {
    let counts = this.policies.get(policy)
    if (!counts) {
      counts = zero()
      this.policies.set(policy, counts)
    }
    return counts
  }
}
