import type { Redis } from 'ioredis'
import type { Check, Verdict } from '../store.ts'
import { type Asked, decodeBatch, encodeBatch, type Flagged } from './encode.ts'
import { type Evaluator, evaluateFor, FENCE, isReply, unavailable } from './evaluate.ts'
import type { Keys } from './keys.ts'
import type { RedisNode } from './node.ts'
import { onShiftedClock } from './scripts.ts'

/** How far the store's clock runs ahead of Redis': 0 but in tests that turn it. */
export interface Clock {
  shiftUs: number
}

/** Is told of every answer before whoever asked is; called back, since a promise more a check costs. */
export interface Listener {
  /** Taken down with the question, and given with the answer. */
  readonly generation: number
  heard(check: Check, verdict: Verdict, generation: number): void
  /** What is known though there was no answer. */
  withoutAnswer(check: Check): Verdict | undefined
}

interface Entry extends Asked {
  readonly generation: number
  resolve(verdict: Verdict): void
  reject(error: Error): void
}

interface Batch {
  readonly entries: readonly Entry[]
  /** performance.now() at which the fail mode decides instead. */
  readonly deadline: number
  /** Groups still to be answered. */
  unanswered: number
  /** Nobody waits for it any more. */
  late: boolean
}

/** Measured: larger batches make Node and Redis take turns instead of overlapping. */
const MAX_BATCH = 32

/**
 * Gathers the checks of one turn of the event loop for one node into one EVALSHA of up to 32 (in a Cluster one a client,
 * in one pipeline). Who is alone is not kept waiting for the turn's end. What Redis runs after the deadline writes nothing.
 */
export class Batcher {
  private waiting: Entry[] = []
  private since = 0
  private scheduled = false
  private inFlight = 0
  /** The last batch held one check: whoever asks now is probably alone again. */
  private alone = true
  private readonly watched: Batch[] = []
  private watching = false
  private readonly node: RedisNode
  private readonly keys: Keys
  private readonly deadlineMs: number
  private readonly cluster: Evaluator | undefined
  private readonly clock: Clock
  private readonly listener: Listener | undefined

  /** With `cluster`: a script touches one client only. */
  constructor(
    node: RedisNode,
    keys: Keys,
    deadlineMs: number,
    cluster: Evaluator | undefined,
    clock: Clock,
    listener?: Listener,
  ) {
    this.clock = clock
    this.listener = listener
    this.node = node
    this.keys = keys
    this.deadlineMs = deadlineMs
    this.cluster = cluster
  }

  add(check: Flagged): Promise<Verdict> {
    return new Promise((resolve, reject) => {
      if (this.waiting.length === 0) this.since = performance.now()
      this.waiting.push({ check, generation: this.listener?.generation ?? 0, resolve, reject })
      if (this.waiting.length >= MAX_BATCH) this.flush()
      else if (!this.scheduled) {
        this.scheduled = true
        if (this.alone && this.inFlight === 0) process.nextTick(this.flush)
        else setImmediate(this.flush)
      }
    })
  }

  private readonly flush = (): void => {
    this.scheduled = false
    const entries = this.waiting
    if (entries.length === 0) return
    this.waiting = []
    this.alone = entries.length === 1
    const groups = this.cluster ? byClient(entries) : [entries]
    const batch: Batch = { entries, deadline: this.since + this.deadlineMs, unanswered: groups.length, late: false }
    this.inFlight++
    this.watch(batch)
    this.ask(groups, batch, false)
  }

  /** One timer for all: the deadlines fall due in the order of the batches. */
  private watch(batch: Batch): void {
    this.watched.push(batch)
    if (this.watching) return
    this.watching = true
    this.wake(batch.deadline - performance.now())
  }

  private wake(ms: number): void {
    // When it was us who were busy, the answer is here already and is read before setImmediate.
    setTimeout(() => setImmediate(this.expire), Math.max(1, ms))
  }

  private readonly expire = (): void => {
    const now = performance.now()
    let oldest = this.watched[0]
    while (oldest && (oldest.unanswered === 0 || oldest.deadline <= now)) {
      this.watched.shift()
      if (oldest.unanswered > 0) {
        this.node.missed()
        oldest.late = true
        this.fail(oldest.entries, unavailable(`no answer from Redis within ${this.deadlineMs} ms`))
      }
      oldest = this.watched[0]
    }
    this.watching = oldest !== undefined
    if (oldest) this.wake(oldest.deadline - now)
  }

  /** One EVALSHA a group, all in one write; settles every entry. */
  private ask(groups: readonly (readonly Entry[])[], batch: Batch, retried: boolean): void {
    const { shiftUs } = this.clock
    const { redis } = this.node
    const fence = this.node.toRedisUs(batch.deadline - this.deadlineMs * (1 - FENCE)) + shiftUs
    const sent = performance.now()
    // Absent while it is not connected.
    const stream = groups.length > 1 ? (redis.stream as Redis['stream'] | undefined) : undefined
    stream?.cork()
    for (const group of groups) {
      const question = encodeBatch(group, this.keys, fence)
      evaluateFor(
        redis,
        shiftUs === 0 ? question : { ...question, script: onShiftedClock(question.script, shiftUs) },
        this.cluster,
        reply => {
          this.node.answered(sent, (reply[reply[0] === -1 ? 1 : 0] as number) - shiftUs)
          if (reply[0] !== -1) this.settle(group, batch, decodeBatch(reply, group))
          // Nothing was written: the clock we knew may be old, so ask once more while there is time.
          else if (!retried && performance.now() < batch.deadline) return this.ask([group], batch, true)
          else this.fail(group, unavailable('Redis came to it too late'))
          this.answered(batch)
        },
        error => {
          if (isReply(error)) this.node.failed(error)
          this.fail(group, unavailable(error.message))
          this.answered(batch)
        },
      )
    }
    stream?.uncork()
  }

  private answered(batch: Batch): void {
    if (--batch.unanswered > 0) return
    this.inFlight--
    while (this.watched[0]?.unanswered === 0) this.watched.shift()
  }

  private settle(entries: readonly Entry[], { late }: Batch, verdicts: readonly (Verdict | Error)[]): void {
    const { listener } = this
    let failure: Error | undefined
    let counted = false
    for (let i = 0; i < entries.length; i++) {
      const entry = entries[i] as Entry
      const verdict = verdicts[i] as Verdict | Error
      if (verdict instanceof Error) {
        failure = verdict
        this.fail([entry], unavailable(verdict.message))
      } else {
        if (verdict.taken) counted = true
        if (!late) listener?.heard(entry.check, verdict, entry.generation)
        entry.resolve(verdict)
      }
    }
    if (failure) this.node.failed(failure)
    else if (counted) this.node.counted()
  }

  private fail(entries: readonly Entry[], error: Error): void {
    for (const { check, resolve, reject } of entries) {
      const known = this.listener?.withoutAnswer(check)
      if (known) resolve(known)
      else reject(error)
    }
  }
}

function byClient(entries: readonly Entry[]): Entry[][] {
  const groups = new Map<string, Entry[]>()
  for (const entry of entries) {
    const group = groups.get(entry.check.client)
    if (group) group.push(entry)
    else groups.set(entry.check.client, [entry])
  }
  return [...groups.values()]
}
