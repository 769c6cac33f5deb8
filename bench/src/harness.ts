import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { availableParallelism } from 'node:os'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Chart } from './plot.ts'

/** What a bench is given. */
export interface Context {
  /** Shorter: fewer rounds, less work; the figures are for a look, not for the report. */
  readonly quick: boolean
  /** Every random sequence starts here, so that all contenders see the same one and a run can be repeated. */
  readonly seed: number
  /** Without the peers. */
  readonly oursOnly: boolean
  log(line: string): void
}

/** A table of the report; cells are ready to print. */
export interface Table {
  readonly title: string
  readonly columns: readonly string[]
  readonly rows: readonly (readonly string[])[]
}

export interface Goal {
  readonly what: string
  readonly goal: string
  readonly measured: string
  readonly met: boolean
  /** The rounds differ so much that another run might well say otherwise. */
  readonly unsure?: boolean
}

/** A goal that holds or does not, in words. */
export const goal = (what: string, wanted: string, measured: string, met: boolean): Goal => ({
  what,
  goal: wanted,
  measured,
  met,
})

/** What a bench found: its part of the report. */
export interface Section {
  /** Drawn above the tables. */
  readonly charts?: readonly Chart[]
  readonly tables: readonly Table[]
  readonly goals: readonly Goal[]
  /** How it was measured, and what the figures do not say. */
  readonly notes: readonly string[]
}

export interface Bench {
  readonly name: string
  readonly title: string
  /** Takes long: only when it is asked for by name. */
  readonly long?: true
  run(context: Context): Promise<Section>
}

/** mulberry32: small, fast, the same everywhere. Answers numbers from 0 to below 1. */
export function random(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296
  }
}

/** Interleaved rounds, A B C, C B A …: what the machine does to one contender in a round, it does to all, and a drift cancels out. */
export async function interleave<Name extends string, T>(
  names: readonly Name[],
  rounds: number,
  measure: (name: Name, round: number) => Promise<T>,
): Promise<Record<Name, T[]>> {
  const results = Object.fromEntries(names.map(name => [name, [] as T[]])) as Record<Name, T[]>
  for (let round = 0; round < rounds; round++) {
    for (const name of round % 2 === 0 ? names : [...names].reverse()) results[name].push(await measure(name, round))
  }
  return results
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1
    ? (sorted[middle] as number)
    : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2
}

/** Where the median lies with 95% confidence, by order statistics; of six rounds or fewer, their whole range. */
function confidence(values: readonly number[]): [number, number] {
  const sorted = [...values].sort((a, b) => a - b)
  const rank = Math.max(0, Math.floor(sorted.length / 2 - 0.98 * Math.sqrt(sorted.length)) - 1)
  return [sorted[rank] as number, sorted[sorted.length - 1 - rank] as number]
}

/** Each round's own ratio, so that a slow moment of the machine cancels out; take the median of these. */
export const ratios = (values: readonly number[], to: readonly number[]): number[] =>
  values.map((value, round) => value / (to[round] as number))

/** `1.23 (1.10–1.40)`: the median and the spread, least to greatest. */
export function spread(values: readonly number[], format: (value: number) => string): string {
  return `${format(median(values))} (${format(Math.min(...values))}–${format(Math.max(...values))})`
}

/** `1.23 (1.20–1.26)`: the median and the quartiles, where rounds are many and short. */
export function quartiles(values: readonly number[], format: (value: number) => string): string {
  const sorted = [...values].sort((a, b) => a - b)
  const at = (share: number) => format(sorted[Math.round((sorted.length - 1) * share)] as number)
  return `${format(median(values))} (${at(0.25)}–${at(0.75)})`
}

export const fixed = (digits: number) => (value: number) => value.toFixed(digits)
export const thousands = (value: number) => `${Math.round(value / 1000).toLocaleString('en')}k`
export const whole = (value: number) => Math.round(value).toLocaleString('en')

/** A goal of the kind "at most" or "at least" so much. */
export function goalOf(
  what: string,
  kind: 'at most' | 'at least',
  bound: number,
  values: readonly number[],
  unit = '×',
): Goal {
  const measured = median(values)
  const [low, high] = confidence(values)
  return {
    what,
    goal: `${kind} ${bound}${unit}`,
    // Of many short rounds the extremes say little.
    measured: `${(values.length > 20 ? quartiles : spread)(values, fixed(2))}${unit}`,
    met: kind === 'at most' ? measured <= bound : measured >= bound,
    unsure: low < bound && bound < high,
  }
}

/**
 * Calls `check` `count` times with `inFlight` of them under way at once; an answer that is there at once is not awaited. The
 * event loop gets its turn every 1,024 checks, so that everyone's timers run and are paid for. A rejection with anything but
 * an Error is a refusal (rate-limiter-flexible's way), not a failure.
 */
export async function inFlight(check: (i: number) => unknown, inFlight: number, count: number): Promise<void> {
  let next = 0
  async function lane(): Promise<void> {
    while (next < count) {
      const i = next++
      if ((i & 1023) === 1023) await nextTurn()
      try {
        const answer = check(i)
        if (answer instanceof Promise) await answer
      } catch (refusal) {
        if (refusal instanceof Error) throw refusal
      }
    }
  }
  await Promise.all(Array.from({ length: inFlight }, lane))
}

/** Bytes of heap and buffers that this process holds on to, by forced collections. */
export async function held(): Promise<number> {
  for (let i = 0; i < 3; i++) {
    globalThis.gc?.()
    await nextTurn()
  }
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

export interface Cost {
  readonly seconds: number
  /** Of this process, all threads: the garbage collector's too. */
  readonly cpuMicros: number
}

/** What `work` costs this process. */
export async function costOf(work: () => Promise<void>): Promise<Cost> {
  const before = process.cpuUsage()
  const started = performance.now()
  await work()
  const { user, system } = process.cpuUsage(before)
  return { seconds: (performance.now() - started) / 1000, cpuMicros: user + system }
}

/**
 * What a worker module (bench/src/workers/) exports as default: sets up one contender and returns what can be asked of it. It
 * runs in a process of its own, as compiled JavaScript without a loader, on the built packages: as users run them.
 */
export type WorkerModule<Args, Calls> = (args: Args) => Calls | Promise<Calls>

export interface WorkerOptions {
  /** From source, where speed is not what is measured: nothing has to be built. */
  readonly source?: boolean
  /** What it prints is not shown. */
  readonly quiet?: boolean
}

/** A contender in a process of its own. */
export class Worker<Calls extends object> {
  private readonly process: ChildProcess

  private constructor(process: ChildProcess) {
    this.process = process
  }

  static async start<Calls extends object>(
    module: string,
    args: unknown,
    { source = false, quiet = false }: WorkerOptions = {},
  ): Promise<Worker<Calls>> {
    const child = new URL(source ? 'child.ts' : '../dist/child.js', import.meta.url)
    const process = fork(child, [module, JSON.stringify(args)], {
      execArgv: ['--expose-gc', ...(source ? ['--import', 'tsx', '--conditions=@api-bouncer/source'] : [])],
      env: { ...globalThis.process.env, NODE_ENV: 'production' },
      ...(quiet && { stdio: 'ignore' }),
    })
    const worker = new Worker<Calls>(process)
    await worker.answer()
    return worker
  }

  async call<Name extends keyof Calls & string>(
    name: Name,
    ...args: Calls[Name] extends (...args: infer A) => unknown ? A : never
  ): Promise<Calls[Name] extends (...args: never[]) => infer R ? Awaited<R> : never> {
    this.process.send({ name, args })
    return (await this.answer()) as never
  }

  /** CPU that the process has used since its start, µs. */
  async cpuMicros(): Promise<number> {
    this.process.send({ name: 'cpuMicros', args: [] })
    return (await this.answer()) as number
  }

  async stop(): Promise<void> {
    if (!this.process.connected) return
    const gone = once(this.process, 'exit')
    this.process.disconnect()
    await gone
  }

  /** Ends it as a crash would. */
  kill(): void {
    this.process.kill('SIGKILL')
  }

  private async answer(): Promise<unknown> {
    const exited = new AbortController()
    try {
      return await Promise.race([
        once(this.process, 'message', { signal: exited.signal }).then(([message]) => {
          const { value, error } = message as { value?: unknown; error?: string }
          if (error !== undefined) throw new Error(`in the worker: ${error}`)
          return value
        }),
        once(this.process, 'exit', { signal: exited.signal }).then(([code]) => {
          throw new Error(`a worker ended with ${code} instead of answering`)
        }),
      ])
    } finally {
      exited.abort()
    }
  }
}

/** One measurement in a fresh process. */
export async function inWorker<Calls extends object, T>(
  module: string,
  args: unknown,
  measure: (worker: Worker<Calls>) => Promise<T>,
  options: WorkerOptions = {},
): Promise<T> {
  const worker = await Worker.start<Calls>(module, args, options)
  try {
    return await measure(worker)
  } finally {
    await worker.stop()
  }
}

export const cores = availableParallelism()
