import { Worker } from 'node:worker_threads'
import { Measurements, type Snapshot } from './measurements.ts'
import type { TraceData } from './trace.ts'
import type { Message, Order, Orders } from './worker.ts'

/** What a run has come to. */
export interface Result {
  readonly seen: Snapshot
  readonly trace: TraceData
  readonly endedAfter: number
}

/** A run on a thread of its own. */
export interface Sender {
  /** The newest there is; not more often than it was asked to be told. */
  seen(): Snapshot
  /** Sends nothing more; what is in flight has a second to be answered. */
  stop(): void
  readonly result: Promise<Result>
}

/** Built, or from source: a thread does not inherit what lets Node read TypeScript. */
function thread(): Worker {
  if (!import.meta.url.endsWith('.ts')) return new Worker(new URL('./worker.js', import.meta.url))
  const [tsx, source] = [import.meta.resolve('tsx/esm/api'), new URL('./worker.ts', import.meta.url).href]
  const code = `import(${JSON.stringify(tsx)}).then(({ register }) => { register(); return import(${JSON.stringify(source)}) })`
  return new Worker(code, { eval: true, execArgv: ['--conditions=@api-bouncer/source'] })
}

export function send(orders: Orders): Sender {
  const worker = thread()
  const tell = (order: Order) => worker.postMessage(order)
  let newest: Snapshot = new Measurements().snapshot(0)
  const result = new Promise<Result>((resolve, reject) => {
    worker.on('message', (message: Message) => {
      newest = message.seen
      if (message.type === 'done') resolve(message)
    })
    worker.once('error', reject)
    worker.once('exit', code => reject(new Error(`the sending thread ended (${code})`)))
  })
  tell({ type: 'start', orders })
  return { seen: () => newest, stop: () => tell({ type: 'stop' }), result }
}
