import { build, type Histogram } from 'hdr-histogram-js'
import { BLOCKED, DEGRADED, DENIED, LIMITED, type Outcome } from './trace.ts'

/** Later than this after the planned time counts as late. */
export const LATE_MS = 5

/** Upper edges of the latency bars, ms; what is above the last has a bar of its own. */
export const EDGES = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000] as const

/** A client that was refused. */
export interface Refused {
  readonly client: number
  /** ms after the start. */
  readonly first: number
  last: number
  count: number
  blocked: boolean
}

const KEPT_REFUSED = 20

const histogram = () =>
  build({
    lowestDiscernibleValue: 1,
    highestTrackableValue: 120_000_000,
    numberOfSignificantValueDigits: 3,
    autoResize: false,
  })

const micros = (ms: number) => Math.min(120_000_000, Math.max(0, Math.round(ms * 1000)))

const LATENCIES = { p50: 50, p90: 90, p95: 95, p99: 99, 'p99.9': 99.9 } as const

/** What a run has seen so far, as plain data: it crosses from the thread that sends to the one that draws. */
export interface Snapshot
  extends Readonly<
    Record<
      | 'offered'
      | 'sent'
      | 'heldBack'
      | 'dropped'
      | 'late'
      | 'answered'
      | 'admitted'
      | 'limited'
      | 'blocked'
      | 'denied'
      | 'degraded'
      | 'counted'
      | 'inFlight'
      | 'errorCount',
      number
    >
  > {
  /** ms since the first request was due. */
  readonly elapsedMs: number
  readonly statuses: Readonly<Record<string, number>>
  readonly errors: Readonly<Record<string, number>>
  /** The 20 that were refused most often. */
  readonly refused: readonly Refused[]
  /** Answers by EDGES. */
  readonly bars: readonly number[]
  readonly latencyMs: Readonly<Record<keyof typeof LATENCIES | 'mean' | 'max', number>>
  readonly sendLagMs: Readonly<Record<'p50' | 'p99' | 'max', number>>
}

/** What a run has seen so far. Times are ms after its start. */
export class Measurements {
  /** Due by the schedule. */
  offered = 0
  sent = 0
  /** Not sent, because the client was asked to wait and does. */
  heldBack = 0
  /** Not sent, because too many were unanswered. */
  dropped = 0
  late = 0
  answered = 0
  admitted = 0
  limited = 0
  blocked = 0
  denied = 0
  degraded = 0
  /** Answers with RateLimit headers: a limiter has seen them. */
  counted = 0
  inFlight = 0
  readonly statuses = new Map<number, number>()
  readonly errors = new Map<string, number>()
  readonly refused = new Map<number, Refused>()
  readonly bars = new Array<number>(EDGES.length + 1).fill(0)
  private readonly latencies: Histogram = histogram()
  private readonly lags: Histogram = histogram()
  private highestLatency = 0
  private highestLag = 0

  sentAfter(lagMs: number): void {
    this.sent++
    this.inFlight++
    if (lagMs > LATE_MS) this.late++
    this.highestLag = Math.max(this.highestLag, lagMs)
    this.lags.recordValue(micros(lagMs))
  }

  /** A whole answer, so long after the request was due. */
  answeredAfter(latencyMs: number, status: number): void {
    this.answered++
    this.statuses.set(status, (this.statuses.get(status) ?? 0) + 1)
    this.highestLatency = Math.max(this.highestLatency, latencyMs)
    this.latencies.recordValue(micros(latencyMs))
    const bar = EDGES.findIndex(edge => latencyMs < edge)
    const index = bar < 0 ? EDGES.length : bar
    this.bars[index] = (this.bars[index] as number) + 1
  }

  decided(client: number, outcome: Outcome, at: number): void {
    if (outcome === LIMITED) this.limited++
    else if (outcome === BLOCKED) this.blocked++
    else if (outcome === DENIED) this.denied++
    else if (outcome === DEGRADED) this.degraded++
    else this.admitted++
    if (outcome !== LIMITED && outcome !== BLOCKED && outcome !== DENIED) return
    const known = this.refused.get(client)
    const blocked = outcome !== LIMITED
    if (known) {
      known.last = at
      known.count++
      known.blocked = blocked
    } else this.refused.set(client, { client, first: at, last: at, count: 1, blocked })
  }

  failed(code: string): void {
    this.errors.set(code, (this.errors.get(code) ?? 0) + 1)
  }

  get errorCount(): number {
    let sum = 0
    for (const count of this.errors.values()) sum += count
    return sum
  }

  latencyMs(percentile: number): number {
    return this.answered === 0 ? 0 : this.latencies.getValueAtPercentile(percentile) / 1000
  }

  lagMs(percentile: number): number {
    return this.sent === 0 ? 0 : this.lags.getValueAtPercentile(percentile) / 1000
  }

  snapshot(elapsedMs: number): Snapshot {
    const { offered, sent, heldBack, dropped, late, answered, counted, inFlight, errorCount } = this
    const { admitted, limited, blocked, denied, degraded } = this
    const percentiles = Object.entries(LATENCIES).map(([name, percentile]) => [name, this.latencyMs(percentile)])
    return {
      ...{ offered, sent, heldBack, dropped, late, answered, counted, inFlight, errorCount, elapsedMs },
      ...{ admitted, limited, blocked, denied, degraded },
      statuses: Object.fromEntries(this.statuses),
      errors: Object.fromEntries(this.errors),
      refused: [...this.refused.values()].sort((a, b) => b.count - a.count).slice(0, KEPT_REFUSED),
      bars: [...this.bars],
      latencyMs: {
        ...(Object.fromEntries(percentiles) as Record<keyof typeof LATENCIES, number>),
        mean: answered === 0 ? 0 : this.latencies.mean / 1000,
        max: this.highestLatency,
      },
      sendLagMs: { p50: this.lagMs(50), p99: this.lagMs(99), max: this.highestLag },
    }
  }
}
