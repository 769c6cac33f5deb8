import type { IncomingHttpHeaders } from 'node:http'
import { type Dispatcher, Pool } from 'undici'
import { mayBeRefusal, outcomeOf, retryAfterOf } from './answer.ts'
import { addressOf, type Crowd } from './clients.ts'
import { Measurements } from './measurements.ts'
import type { Schedule } from './schedule.ts'
import { ADMITTED, type Outcome, Trace } from './trace.ts'

/** So many may be unanswered at once; what is due beyond is dropped, and reported. Each has a connection of its own. */
export const MAX_IN_FLIGHT = 1000

/** An answer may take so long, ms. */
export const ANSWER_MS = 10_000

/** Nearer than this to what is due next, ms, the loop takes naps: a timer is a millisecond late as a rule. */
const NAP_BEFORE_MS = 1.2
/** A nap, ms: the thread sleeps, answers wait for so long; turning without sleep would rob the server of a processor. */
const NAP_MS = 0.1
const pillow = new Int32Array(new SharedArrayBuffer(4))

/** Of a refusal so much is read, bytes: enough for its type. */
const KEPT_BODY = 2048

export interface Traffic {
  readonly schedule: Schedule
  readonly crowd: Crowd
  readonly url: URL
  readonly method: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer | undefined
}

/** A run under way. */
export interface Run {
  readonly seen: Measurements
  readonly trace: Trace
  /** ms since the first request was due. */
  elapsed(): number
  /** When the schedule was over, or was cut short, ms after the start. */
  readonly endedAfter: number | undefined
  /** Sends nothing more; what is in flight has a second to be answered. */
  stop(): void
  readonly done: Promise<void>
}

const nowMicros = () => (performance.timeOrigin + performance.now()) * 1000

/** Sends what a schedule says when it says, whatever became of what was sent before (an open loop). */
export function start({ schedule, crowd, url, method, headers, body }: Traffic): Run {
  const seen = new Measurements()
  const trace = new Trace(schedule.count)
  const pool = new Pool(url.origin, {
    connections: MAX_IN_FLIGHT,
    pipelining: 1,
    headersTimeout: ANSWER_MS,
    bodyTimeout: ANSWER_MS,
    connect: { timeout: ANSWER_MS },
  })
  const path = url.pathname + url.search
  const idle = new Waiter()
  let startedAt = 0
  let endedAfter: number | undefined
  let stopped = false
  let wake = () => {}

  const elapsed = () => performance.now() - startedAt
  const settled = () => {
    seen.inFlight--
    if (seen.inFlight === 0) idle.wake()
  }

  const send = (plannedMs: number) => {
    seen.offered++
    const client = crowd.next()
    const now = elapsed()
    if (crowd.waits(client, now)) {
      seen.heldBack++
      return
    }
    if (seen.inFlight >= MAX_IN_FLIGHT) {
      seen.dropped++
      return
    }
    const index = trace.sent(client, nowMicros())
    seen.sentAfter(now - plannedMs)
    const request = { path, method: method as Dispatcher.HttpMethod, body: body ?? null }
    const forwarded = { ...headers, 'x-forwarded-for': addressOf(client) }
    try {
      pool.dispatch({ ...request, headers: forwarded }, new Exchange(client, index, plannedMs))
    } catch (error) {
      seen.failed(codeOf(error))
      trace.neverSent(index)
      settled()
    }
  }

  /** One request and its answer. */
  class Exchange implements Dispatcher.DispatchHandler {
    private readonly client: number
    private readonly index: number
    private readonly plannedMs: number
    private status = 0
    private headers: IncomingHttpHeaders = {}
    private kept = ''
    private over = false

    constructor(client: number, index: number, plannedMs: number) {
      this.client = client
      this.index = index
      this.plannedMs = plannedMs
    }

    onRequestStart(): void {}

    onResponseStart(_: unknown, status: number, headers: IncomingHttpHeaders): void {
      if (status < 200) return
      trace.answered(this.index, nowMicros(), ADMITTED)
      this.status = status
      this.headers = headers
      if (headers.ratelimit !== undefined || headers['x-ratelimit-limit'] !== undefined) seen.counted++
    }

    onResponseData(_: unknown, chunk: Buffer): void {
      if (mayBeRefusal(this.status) && this.kept.length < KEPT_BODY) this.kept += chunk.toString('latin1')
    }

    onResponseEnd(): void {
      const at = elapsed()
      seen.answeredAfter(at - this.plannedMs, this.status)
      this.decide(at)
      this.end()
    }

    onResponseError(_: unknown, error: Error): void {
      if (this.over) return
      const code = codeOf(error)
      seen.failed(code)
      // Nobody listened: nothing was counted. Of any other failure nobody knows.
      if (code === 'ECONNREFUSED') trace.neverSent(this.index)
      else if (this.status !== 0) this.decide(elapsed())
      this.end()
    }

    private decide(at: number): void {
      const outcome: Outcome = outcomeOf(this.status, this.headers, this.kept)
      trace.outcome[this.index] = outcome
      seen.decided(this.client, outcome, at)
      if (outcome === ADMITTED) return
      const wait = retryAfterOf(this.headers)
      if (wait !== undefined) crowd.refused(this.client, at, wait)
    }

    private end(): void {
      this.over = true
      settled()
    }
  }

  async function sendAll(): Promise<void> {
    const { count } = schedule
    for (let next = 0; next < count && !stopped; ) {
      for (let due = schedule.at(next); due <= elapsed(); due = schedule.at(next)) {
        send(due)
        if (++next === count || stopped) return
      }
      const untilDue = schedule.at(next) - elapsed()
      await new Promise<void>(resolve => {
        wake = resolve
        if (untilDue > NAP_BEFORE_MS) setTimeout(resolve, Math.max(1, Math.floor(untilDue - 1)))
        else {
          Atomics.wait(pillow, 0, 0, Math.min(NAP_MS, untilDue))
          setImmediate(resolve)
        }
      })
    }
  }

  async function all(): Promise<void> {
    startedAt = performance.now()
    await sendAll()
    const lastSent = elapsed()
    if (!stopped) await new Waiter().wait(schedule.durationMs - elapsed(), resume => (wake = resume))
    endedAfter = stopped ? Math.min(elapsed(), schedule.durationMs) : Math.max(lastSent, schedule.durationMs)
    if (seen.inFlight > 0) await idle.wait(stopped ? 1000 : ANSWER_MS + 2000)
    await pool.destroy()
    // What is still open has been told of the end by now.
    await new Promise(resolve => setImmediate(resolve))
    trace.endedAt = nowMicros()
  }

  return {
    seen,
    trace,
    elapsed,
    get endedAfter() {
      return endedAfter
    },
    stop() {
      stopped = true
      wake()
    },
    done: all(),
  }
}

/** A promise that is kept by a call or by the clock. */
class Waiter {
  private resume = () => {}

  wait(ms: number, tell: (resume: () => void) => void = () => {}): Promise<void> {
    return new Promise(resolve => {
      const timer = setTimeout(resolve, Math.max(0, ms))
      this.resume = () => {
        clearTimeout(timer)
        resolve()
      }
      tell(this.resume)
    })
  }

  wake(): void {
    this.resume()
  }
}

/** `ECONNREFUSED`, `UND_ERR_HEADERS_TIMEOUT`: what a failure is counted as. */
function codeOf(error: unknown): string {
  const { code, name } = error as { code?: string; name?: string }
  return code ?? name ?? 'unknown'
}
