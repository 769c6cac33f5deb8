import { parentPort } from 'node:worker_threads'
import { crowd, generator } from './clients.ts'
import type { Snapshot } from './measurements.ts'
import { start } from './run.ts'
import { type Stage, schedule } from './schedule.ts'
import type { TraceData } from './trace.ts'
import { warmUp } from './warm-up.ts'

/** What a run is, as plain data. */
export interface Orders {
  readonly stages: readonly Stage[]
  readonly clients: number
  readonly attackers: number | undefined
  readonly seed: number
  readonly url: string
  readonly method: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: Uint8Array | undefined
  /** How often somebody wants to know how it goes, ms; absent: only when it is over. */
  readonly tellEveryMs: number | undefined
}

export type Order = { readonly type: 'start'; readonly orders: Orders } | { readonly type: 'stop' }

export type Message =
  | { readonly type: 'seen'; readonly seen: Snapshot }
  | { readonly type: 'done'; readonly seen: Snapshot; readonly trace: TraceData; readonly endedAfter: number }

// Sends on a thread of its own: whatever is drawn meanwhile makes no request late.
const port = parentPort
if (!port) throw new Error('worker.ts is run as a worker')
let stopped = false
let stop = () => {
  stopped = true
}
port.on('message', async (order: Order) => {
  if (order.type === 'stop') return stop()
  const { stages, clients, attackers, seed, url, method, headers, body, tellEveryMs } = order.orders
  await warmUp()
  const run = start({
    schedule: schedule(stages),
    crowd: crowd(clients, attackers, generator(seed)),
    url: new URL(url),
    method,
    headers,
    body: body && Buffer.from(body),
  })
  stop = run.stop
  if (stopped) run.stop()
  const seen = () => run.seen.snapshot(run.elapsed())
  const tell = (message: Message) => port.postMessage(message)
  const timer =
    tellEveryMs === undefined ? undefined : setInterval(() => tell({ type: 'seen', seen: seen() }), tellEveryMs)
  await run.done
  clearInterval(timer)
  const { count, endedAt, client, sentAt, answeredAt, outcome } = run.trace
  const trace = { count, endedAt, client, sentAt, answeredAt, outcome }
  tell({ type: 'done', seen: seen(), trace, endedAfter: run.endedAfter ?? run.elapsed() })
  port.close()
})
