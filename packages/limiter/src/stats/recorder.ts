import { type Decision, LATENCY_BUCKETS, OUTCOMES, type OutcomeCounts, type StatsFrame } from '../contracts/index.ts'
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

/** Counts every decision; cheap enough for the hot path: no allocation after the first of a policy. */
export class Recorder {
  private readonly policies = new Map<string, Record<Counted, number>>()
  private readonly latency = new Array<number>(LATENCY_BUCKETS.length + 1).fill(0)
  private latencySum = 0
  private readonly top = new Top(256)
  private blocks = 0
  private degraded = 0
  private told = {
    policies: new Map<string, Record<Counted, number>>(),
    latency: [...this.latency],
    blocks: 0,
    overflow: 0,
    at: 0,
  }

  record(decision: Decision, seconds: number): void {
    const counts = this.of(decision.policy ?? '-')
    counts[decision.outcome]++
    if (decision.outcome === 'degraded-allowed' || decision.outcome === 'degraded-refused') this.degraded++
    if (decision.shadow) this.of(decision.shadow.policy)[`shadow-${decision.shadow.outcome}`]++
    if (decision.block && decision.outcome === 'limited') this.blocks++
    this.top.add(decision.client)
    this.latencySum += seconds
    let bucket = 0
    while (bucket < LATENCY_BUCKETS.length && seconds > (LATENCY_BUCKETS[bucket] as number)) bucket++
    ;(this.latency[bucket] as number)++
  }

  totals(): Totals {
    const { policies, latency, latencySum, blocks, degraded } = this
    return { policies, latency, latencySum, blocks, degraded }
  }

  /** What happened since the last frame. */
  frame(
    now: number,
    overflow: number,
  ): Pick<StatsFrame, 'spanMs' | 'policies' | 'latency' | 'top' | 'blocks' | 'overflow'> {
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
    const frame = {
      spanMs: told.at === 0 ? 1000 : now - told.at,
      policies,
      latency: this.latency.map((count, i) => count - (told.latency[i] as number)),
      top: this.top.take(20),
      blocks: this.blocks - told.blocks,
      overflow: overflow - told.overflow,
    }
    this.told = { policies: told.policies, latency: [...this.latency], blocks: this.blocks, overflow, at: now }
    return frame
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
