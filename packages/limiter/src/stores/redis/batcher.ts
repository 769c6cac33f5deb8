import type { Verdict } from '../store.ts'
import { decodeBatch, encodeBatch, type Flagged } from './encode.ts'
import { type Evaluator, evaluate, FENCE, isReply, unavailable } from './evaluate.ts'
import type { Keys } from './keys.ts'
import type { RedisNode } from './node.ts'
import { composeScript, onShiftedClock } from './scripts.ts'

/** How far the store's clock runs ahead of Redis': 0 but in tests that turn it. */
export interface Clock {
  shiftUs: number
}

interface Entry {
  readonly check: Flagged
  resolve(verdict: Verdict): void
  reject(error: Error): void
}

/** Measured: larger batches make Node and Redis take turns instead of overlapping. */
const MAX_BATCH = 32

/**
 * Gathers the checks of one turn of the event loop for one node into one EVALSHA of up to 32 (in a Cluster one a client,
 * in one pipeline). An idle node is asked at once. What Redis runs after the deadline writes nothing.
 */
export class Batcher {
  private waiting: Entry[] = []
  private since = 0
  private scheduled = false
  private inFlight = 0
  private readonly node: RedisNode
  private readonly keys: Keys
  private readonly deadlineMs: number
  private readonly cluster: Evaluator | undefined

  private readonly clock: Clock

  /** With `cluster`: a script touches one client only. */
  constructor(node: RedisNode, keys: Keys, deadlineMs: number, cluster: Evaluator | undefined, clock: Clock) {
    this.clock = clock
    this.node = node
    this.keys = keys
    this.deadlineMs = deadlineMs
    this.cluster = cluster
  }

  add(check: Flagged): Promise<Verdict> {
    return new Promise((resolve, reject) => {
      if (this.waiting.length === 0) this.since = performance.now()
      this.waiting.push({ check, resolve, reject })
      if (this.waiting.length >= MAX_BATCH) this.flush()
      else if (!this.scheduled) {
        this.scheduled = true
        if (this.inFlight === 0) process.nextTick(this.flush)
        else setImmediate(this.flush)
      }
    })
  }

  private readonly flush = (): void => {
    this.scheduled = false
    const entries = this.waiting
    if (entries.length === 0) return
    this.waiting = []
    const deadline = this.since + this.deadlineMs
    let open = true
    this.inFlight++
    const end = () => {
      if (!open) return
      open = false
      this.inFlight--
      clearTimeout(timer)
    }
    const expire = () => {
      if (!open) return
      end()
      this.node.missed()
      const error = unavailable(`no answer from Redis within ${this.deadlineMs} ms`)
      for (const entry of entries) entry.reject(error)
    }
    // When it was us who were busy, the answer is here already and is read before setImmediate.
    const timer = setTimeout(() => setImmediate(expire), deadline - performance.now())
    const groups = this.cluster ? byClient(entries) : [entries]
    let unanswered = groups.length
    for (const group of groups) {
      this.ask(group, deadline).finally(() => {
        if (--unanswered === 0) end()
      })
    }
  }

  /** One EVALSHA; settles every entry, and never rejects itself. */
  private async ask(entries: readonly Entry[], deadline: number, retried = false): Promise<void> {
    const checks = entries.map(({ check }) => check)
    const { shiftUs } = this.clock
    const fence = this.node.toRedisUs(deadline - this.deadlineMs * (1 - FENCE)) + shiftUs
    const { blockKeys, algorithms, args } = encodeBatch(checks, this.keys, fence)
    const sent = performance.now()
    let reply: (number | string)[]
    try {
      const script = composeScript('check', algorithms)
      reply = await evaluate(
        this.node.redis,
        shiftUs === 0 ? script : onShiftedClock(script, shiftUs),
        blockKeys,
        args,
        this.cluster,
      )
    } catch (error) {
      if (isReply(error)) this.node.failed(error)
      for (const entry of entries) entry.reject(unavailable((error as Error).message))
      return
    }
    if (reply[0] === -1) {
      this.node.answered(sent, (reply[1] as number) - shiftUs)
      // Nothing was written: the clock we knew may be old, so ask once more while there is time.
      if (!retried && performance.now() < deadline) return this.ask(entries, deadline, true)
      for (const entry of entries) entry.reject(unavailable('Redis came to it too late'))
      return
    }
    this.node.answered(sent, (reply[0] as number) - shiftUs)
    let failure: Error | undefined
    let wrote = false
    for (const [i, verdict] of decodeBatch(reply, checks).entries()) {
      const entry = entries[i] as Entry
      if (verdict instanceof Error) {
        failure = verdict
        entry.reject(unavailable(verdict.message))
      } else {
        if (verdict.receipt) wrote = true
        entry.resolve(verdict)
      }
    }
    if (failure) this.node.failed(failure)
    else if (wrote) this.node.wrote()
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
