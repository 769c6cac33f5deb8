import type { Redis } from 'ioredis'

/** `ok` answers · `failing` answers with errors · `down` is not asked until its probe is answered. */
export type NodeState = 'ok' | 'failing' | 'down'

export interface NodeOptions {
  readonly deadlineMs: number
  onState(state: NodeState): void
}

const PROBE_MS = 100
/** A connection that answers nothing for so long is given up: its other end may be gone without a word. */
const GIVE_UP_MS = 3000
/** Two batches in a row without an answer: one may be a hiccup. */
const MISSES = 2
/** A node that failed is called ok again after this time without a failure. */
const CALM_MS = 1000
/** The best clock sample is believed for so long; then a newer one replaces it. */
const SAMPLE_MS = 10_000

/**
 * One Redis server as we see it: whether to ask it (a breaker whose probe is a background TIME, never a user's request),
 * and its clock. The offset between its clock and ours is taken so that a deadline in its time never lies after ours.
 */
export class RedisNode {
  readonly redis: Redis
  readonly name: string
  state: NodeState = 'down'
  detail = 'not connected yet'
  latencyMs = 0
  private readonly options: NodeOptions
  private sample: { offsetUs: number; rttMs: number; at: number } | undefined
  private misses = 0
  private failedAt = Number.NEGATIVE_INFINITY
  private answeredAt = performance.now()
  private probing = false
  private timer: NodeJS.Timeout | undefined
  private closed = false

  constructor(redis: Redis, name: string, options: NodeOptions) {
    this.redis = redis
    this.name = name
    this.options = options
    redis.on('ready', () => {
      this.answeredAt = performance.now()
      this.probe()
    })
    redis.on('close', () => this.down('the connection is closed'))
    redis.on('error', (error: Error) => this.down(reasonOf(error)))
    // A Cluster's node connects with its first command; others are connecting already.
    if (redis.status === 'ready' || redis.status === 'wait') this.probe()
    else this.schedule()
  }

  /** Whether it makes sense to ask. */
  get askable(): boolean {
    return this.state !== 'down'
  }

  /** A moment of ours (performance.now()) in this server's time, µs; never later than it really is. */
  toRedisUs(localMs: number): number {
    return Math.floor(localMs * 1000 + (this.sample?.offsetUs ?? Number.NEGATIVE_INFINITY))
  }

  /** Its epoch µs now; ours as long as it never answered. */
  nowUs(): number {
    return this.sample ? this.toRedisUs(performance.now()) : Date.now() * 1000
  }

  /** Every answer carries the server's time. */
  answered(sentMs: number, redisUs: number): void {
    const now = performance.now()
    const rttMs = now - sentMs
    const offsetUs = redisUs - now * 1000
    const { sample } = this
    // The true offset lies within rtt above `offsetUs`: the quickest answer knows it best, unless the clock was set.
    const contradicts =
      sample &&
      (offsetUs > sample.offsetUs + (sample.rttMs + 1) * 1000 || sample.offsetUs > offsetUs + (rttMs + 1) * 1000)
    if (!sample || contradicts || rttMs <= sample.rttMs || now - sample.at > SAMPLE_MS)
      this.sample = { offsetUs, rttMs, at: now }
    this.latencyMs = rttMs
    this.misses = 0
    this.answeredAt = now
    if (this.state === 'down') this.become('ok', '')
    else if (this.state === 'failing' && now - this.failedAt > CALM_MS) this.become('ok', '')
  }

  /** It answered, but with an error. */
  failed(error: Error): void {
    this.failedAt = performance.now()
    if (this.state !== 'down') this.become('failing', error.message)
  }

  /** A batch got no answer in time. */
  missed(): void {
    if (++this.misses >= MISSES) this.down(`no answer within ${this.options.deadlineMs} ms`)
  }

  close(): void {
    this.closed = true
    clearTimeout(this.timer)
  }

  private down(detail: string): void {
    if (this.closed) return
    this.become('down', detail)
    this.schedule()
  }

  private become(state: NodeState, detail: string): void {
    const changed = state !== this.state
    this.state = state
    this.detail = detail
    if (changed) this.options.onState(state)
  }

  private schedule(): void {
    if (this.closed || this.timer) return
    this.timer = setTimeout(() => {
      this.timer = undefined
      if (this.state === 'down') this.probe()
    }, PROBE_MS)
    this.timer.unref()
  }

  private probe(): void {
    if (this.closed) return
    const now = performance.now()
    if (now - this.answeredAt > GIVE_UP_MS && this.redis.status !== 'wait' && this.redis.status !== 'end') {
      this.answeredAt = now
      this.probing = false
      this.redis.disconnect(true)
    }
    if (!this.probing && (this.redis.status === 'ready' || this.redis.status === 'wait')) {
      this.probing = true
      this.redis
        .time()
        .then(([seconds, micros]) => {
          // A late answer shows that it lives again, not that it is quick: the next probe does.
          if (performance.now() - now <= this.options.deadlineMs)
            this.answered(now, Number(seconds) * 1_000_000 + Number(micros))
          else this.answeredAt = performance.now()
        })
        .catch((error: Error) => this.down(reasonOf(error)))
        .finally(() => {
          this.probing = false
        })
    }
    this.schedule()
  }
}

const reasonOf = (error: Error & { code?: string }) => error.message || error.code || 'the connection failed'
