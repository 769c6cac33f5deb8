import cluster, { type Worker } from 'node:cluster'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Bouncer, Totals } from '@api-bouncer/limiter'
import type { Logger } from 'pino'
import type { Config } from './config.ts'
import { type DataPlane, startDataPlane, type Workers } from './server.ts'
import { ConfigError, isConfigError } from './setting.ts'
import { addTotals } from './totals.ts'

/** What a worker tells of itself: every second, and when it is asked. */
interface Report {
  readonly totals: Totals
  readonly health: ReturnType<Bouncer['health']>
}

type FromWorker = { readonly report: Report } | { readonly serving: string } | { readonly failed: string }
type ToWorker = { readonly ask: true } | { readonly close: number }

const REPORT_MS = 1000
/** A worker that is too busy to answer a scrape is shown as it last was. */
const ASK_MS = 500
/** A worker that ends sooner than this after its start is replaced after this time: crashing in a loop helps nobody. */
const PAUSE_MS = 1000
/** The last words of a worker are read in this time after its end. */
const HEARD_MS = 500

/** In the primary: starts the workers, replaces those that die, and adds up what they count. */
export async function startWorkers(config: Config, log: Logger): Promise<Workers> {
  // Workers accept by themselves. Were the primary to hand connections round, one that is on its way to a worker
  // when that dies would hang for ever, and a flood of them would keep the control plane busy.
  cluster.schedulingPolicy = cluster.SCHED_NONE
  cluster.setupPrimary({ serialization: 'advanced' })
  const pool = new Pool(config, log)
  return {
    ...(await pool.start()),
    totals: () => pool.totals(),
    health: () => pool.health(),
    close: ms => pool.close(ms),
  }
}

class Pool {
  private readonly config: Config
  private readonly log: Logger
  private readonly reports = new Map<Worker, Report>()
  /** What workers counted that are no more. */
  private gone: Totals | undefined
  private asking: Promise<void> | undefined
  private closing = false

  constructor(config: Config, log: Logger) {
    this.config = config
    this.log = log
  }

  /** Resolves when all serve; one that cannot stops the start with its own words. */
  async start(): Promise<{ dataPlane: string }> {
    try {
      const urls = await Promise.all(Array.from({ length: this.config.workers }, () => this.fork()))
      return { dataPlane: urls[0] as string }
    } catch (error) {
      await this.close(0)
      throw error
    }
  }

  async totals(): Promise<Totals> {
    await this.ask()
    return addTotals([...(this.gone ? [this.gone] : []), ...[...this.reports.values()].map(({ totals }) => totals)])
  }

  /** The worst of all. */
  async health(): Promise<Report['health']> {
    await this.ask()
    const all = [...this.reports.values()].map(({ health }) => health)
    const ill = all.find(({ state }) => state !== 'ok')
    const slowest = all.toSorted((a, b) => (b.latencyMs ?? 0) - (a.latencyMs ?? 0))[0]
    return ill ?? slowest ?? { kind: 'redis', state: 'degraded', detail: 'no worker is running' }
  }

  async close(graceMs: number): Promise<void> {
    this.closing = true
    const workers = Object.values(cluster.workers ?? {}).filter(worker => worker !== undefined)
    await Promise.all(
      workers.map(worker => {
        const ended = new Promise<void>(resolve => worker.once('exit', () => resolve()))
        tell(worker, { close: graceMs })
        // It has its grace for requests and a while for Redis.
        const late = setTimeout(() => worker.process.kill('SIGKILL'), graceMs + 3000)
        return ended.finally(() => clearTimeout(late))
      }),
    )
  }

  /** Resolves with where it serves. */
  private fork(): Promise<string> {
    const startedAt = performance.now()
    const worker = cluster.fork()
    return new Promise((resolve, reject) => {
      let served = false
      let failed: string | undefined
      worker.on('message', (message: FromWorker) => {
        if ('report' in message) this.reports.set(worker, message.report)
        else if ('failed' in message) failed = message.failed
        else {
          served = true
          resolve(message.serving)
        }
      })
      void ended(worker).then(end => {
        this.bury(worker)
        const how = failed ?? end
        reject(new ConfigError(failed ?? `WORKERS: a worker ${end} before it served`))
        if (served && !this.closing) void this.replace(worker, how, performance.now() - startedAt)
      })
    })
  }

  private async replace(worker: Worker, how: string, livedMs: number): Promise<void> {
    this.log.error(`worker ${worker.process.pid} ${how}; it is replaced`)
    if (livedMs < PAUSE_MS) await sleep(PAUSE_MS)
    while (!this.closing) {
      try {
        await this.fork()
        return
      } catch (error) {
        this.log.error(`no worker in its place: ${(error as Error).message}; trying again`)
        await sleep(PAUSE_MS)
      }
    }
  }

  /** Its counts stay: a counter that falls would look like a restart. */
  private bury(worker: Worker): void {
    const last = this.reports.get(worker)
    this.reports.delete(worker)
    if (last) this.gone = addTotals([...(this.gone ? [this.gone] : []), last.totals])
  }

  /** Lets all workers report; who asks meanwhile waits for the same answers. */
  private ask(): Promise<void> {
    this.asking ??= Promise.race([this.askAll(), sleep(ASK_MS, undefined, { ref: false })]).finally(() => {
      this.asking = undefined
    })
    return this.asking
  }

  private async askAll(): Promise<void> {
    const workers = Object.values(cluster.workers ?? {}).filter(worker => worker !== undefined)
    await Promise.all(
      workers.map(worker => {
        const answered = new Promise<void>(resolve => {
          const listen = (message: FromWorker) => {
            if (!('report' in message)) return
            worker.off('message', listen)
            resolve()
          }
          worker.on('message', listen)
        })
        tell(worker, { ask: true })
        return answered
      }),
    )
  }
}

/** How it ended, when all that it said has been heard. */
function ended(worker: Worker): Promise<string> {
  const disconnected = new Promise<void>(resolve => worker.once('disconnect', resolve))
  return new Promise(resolve => {
    worker.once('exit', async (code, signal) => {
      // Node does not always tell of the disconnect of one that was killed.
      await Promise.race([disconnected, sleep(HEARD_MS)])
      resolve(`ended with ${signal ?? `code ${code}`}`)
    })
    // Where no process could be made there is no exit; whatever else goes wrong with one ends in it.
    worker.on('error', error => {
      if (worker.process.pid === undefined) resolve(`did not start: ${error.message}`)
    })
  })
}

/** One that is just ending hears nothing any more; its end is told by another event. */
function tell(worker: Worker, message: ToWorker): void {
  if (worker.isConnected()) worker.send(message, () => {})
}

/** In a worker: serves the data plane until the primary says to close, and reports to it. Ends the process. */
export async function serveAsWorker(config: Config, log: Logger): Promise<void> {
  // Ctrl-C in a terminal reaches the workers too; the primary closes them.
  process.on('SIGINT', () => {})
  const say = (message: FromWorker, then = () => {}) => void process.send?.(message, undefined, undefined, then)
  let plane: DataPlane
  try {
    plane = await startDataPlane(named(config), log)
  } catch (error) {
    if (!isConfigError(error)) throw error
    return say({ failed: error.message }, () => process.exit(1))
  }
  const { bouncer } = plane
  const report = (then?: () => void) => say({ report: { totals: bouncer.totals(), health: bouncer.health() } }, then)
  const ticker = setInterval(() => report(), REPORT_MS)
  let closing = false
  const close = async (graceMs?: number) => {
    if (closing) return
    closing = true
    await plane.close(graceMs)
    clearInterval(ticker)
    report(() => process.exit(0))
  }
  process.on('message', (message: ToWorker) => {
    if ('ask' in message) report()
    else void close(message.close)
  })
  process.on('SIGTERM', () => void close())
  report()
  say({ serving: plane.url })
}

/** Workers of an instance that has a name are told apart. */
const named = (config: Config): Config =>
  config.instance === undefined ? config : { ...config, instance: `${config.instance}#${cluster.worker?.id}` }
