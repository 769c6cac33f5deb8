import type { Redis } from 'ioredis'

/** `ok` answers · `failing` answers with errors · `down` is not asked until its probe is answered. */
export type NodeState = 'ok' | 'failing' | 'down'

export interface NodeOptions {
  readonly deadlineMs: number
  /** Why it is not asked yet. */
  readonly detail: string
  onState(state: NodeState): void
}

const PROBE_MS = 100
/** A connection that answers nothing for so long is given up: its other end may be gone without a word. */
const GIVE_UP_MS = 3000
/** Twice in a row without an answer: one may be a hiccup. */
const MISSES = 2
/** A node that failed is called ok again when a check succeeds, this time after its last failure; heartbeats fail more often. */
const CALM_MS = 1500
/** A server that may only be read is left for the one that a name leads to by now, at most so often. */
const RECONNECT_MS = 1000
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
  latencyMs = 0
  /** Since when it is not ok (performance.now()): of one that says nothing, when it last answered. */
  troubledAt = performance.now()
  private readonly options: NodeOptions
  private sample: { offsetUs: number; rttMs: number; at: number } | undefined
  private reachable = false
  private unreachable: string
  /** What went wrong with the present connection, said better than by its end. */
  private lastError: string | undefined
  /** What it answered instead of doing its work; outlives the connection, until a check succeeds. */
  private failure: string | undefined
  private misses = 0
  private failedAt = Number.NEGATIVE_INFINITY
  private reconnectedAt = Number.NEGATIVE_INFINITY
  private answeredAt = performance.now()
  private probing = false
  private timer: NodeJS.Timeout | undefined
  private closed = false
  /** The present connection is not in the database that was asked for, and is being given up. */
  private misplaced = false

  constructor(redis: Redis, name: string, options: NodeOptions) {
    this.redis = redis
    this.name = name
    this.options = options
    this.unreachable = options.detail
    redis.on('ready', () => {
      if (this.misplaced) return
      this.lastError = undefined
      this.answeredAt = performance.now()
      this.probe()
    })
    redis.on('close', () => {
      this.misplaced = false
      this.down(this.lastError ?? 'the connection is closed')
    })
    redis.on('error', (error: Error & { command?: { name: string } }) => {
      if (this.misplaced) return
      this.lastError = reasonOf(error)
      this.down(this.lastError)
      if (error.command?.name !== 'select') return
      // ioredis would go on, in database 0, among what is somebody else's.
      this.misplaced = true
      redis.disconnect(true)
    })
    // A Cluster's node connects with its first command; others are connecting already.
    if (redis.status === 'ready' || redis.status === 'wait') this.probe()
    else this.schedule()
  }

  /** Whether it makes sense to ask. */
  get askable(): boolean {
    return this.reachable
  }

  /** What is wrong, for people. */
  get detail(): string {
    return this.reachable ? (this.failure ?? '') : this.unreachable
  }

  /** Whether it has ever told its time. */
  get hasClock(): boolean {
    return this.sample !== undefined
  }

  /** A moment of ours (performance.now()) in this server's time, µs; never later than it really is. */
  toRedisUs(localMs: number): number {
    return Math.floor(localMs * 1000 + (this.sample?.offsetUs ?? Number.NEGATIVE_INFINITY))
  }

  /** Every answer carries the server's time. A late one shows that it lives, not that it is worth asking. */
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
    this.answeredAt = now
    if (rttMs > this.options.deadlineMs) return
    this.misses = 0
    if (this.reachable || this.closed) return
    this.reachable = true
    this.tell()
  }

  /** It answered, but with an error: it is out of memory, or a replica, or does not let us. */
  failed({ message }: Error): void {
    const now = performance.now()
    this.failedAt = now
    this.failure = message.replace(/ script: [0-9a-f]{40}, on @user_script:\d+\.?$/, '')
    this.tell()
    if (!message.includes('READONLY') || now - this.reconnectedAt < RECONNECT_MS) return
    this.reconnectedAt = now
    this.lastError = message
    this.redis.disconnect(true)
  }

  /** A check was counted: the only proof that what failed does so no more. */
  counted(): void {
    if (this.failure === undefined || performance.now() - this.failedAt < CALM_MS) return
    this.failure = undefined
    this.tell()
  }

  /** Something got no answer in time. */
  missed(): void {
    if (++this.misses >= MISSES) this.down('no answer in time', this.answeredAt)
  }

  /** It answered what carries no time. */
  lives(): void {
    this.answeredAt = performance.now()
  }

  close(): void {
    if (this.reachable) this.down('the connection is closed')
    this.closed = true
    clearTimeout(this.timer)
  }

  private down(detail: string, since?: number): void {
    if (this.closed) return
    this.reachable = false
    this.unreachable = detail
    this.tell(since)
    this.schedule()
  }

  private tell(since = performance.now()): void {
    const state = !this.reachable ? 'down' : this.failure === undefined ? 'ok' : 'failing'
    if (state === this.state) return
    if (this.state === 'ok') this.troubledAt = since
    this.state = state
    this.options.onState(state)
  }

  private schedule(): void {
    if (this.closed || this.timer) return
    this.timer = setTimeout(() => {
      this.timer = undefined
      if (!this.reachable) this.probe()
    }, PROBE_MS)
    this.timer.unref()
  }

  private probe(): void {
    if (this.closed) return
    const { redis } = this
    const now = performance.now()
    // Not one that is being made: ioredis would give it up for good.
    if (now - this.answeredAt > GIVE_UP_MS && (redis.status === 'connect' || redis.status === 'ready')) {
      this.answeredAt = now
      redis.disconnect(true)
    }
    if (!this.probing && !this.misplaced && (redis.status === 'ready' || redis.status === 'wait')) {
      this.probing = true
      redis
        .time()
        .then(([seconds, micros]) => this.answered(now, Number(seconds) * 1_000_000 + Number(micros)))
        .catch((error: Error) => {
          // A connection that is gone has said so itself, and better.
          if (redis.status === 'ready') this.down(reasonOf(error))
        })
        .finally(() => {
          this.probing = false
        })
    }
    this.schedule()
  }
}

/** As part of a sentence. */
const reasonOf = ({ message, code }: Error & { code?: string }) =>
  message.replace(/\.$/, '') || code || 'the connection failed'
