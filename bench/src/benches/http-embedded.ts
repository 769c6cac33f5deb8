import {
  type Bench,
  type Context,
  fixed,
  type Goal,
  goalOf,
  interleave,
  ratios,
  type Section,
  spread,
  type Table,
  Worker,
  whole,
} from '../harness.ts'
import { Load } from '../load.ts'
import type { Chart } from '../plot.ts'
import type { BenchRedis } from '../redis.ts'
import type { Args, Calls, Contender } from '../workers/http-embedded.ts'

export const CONNECTIONS = 32
export const PATH = '/api/data'
export const HIGH = 100_000
export const BARE = 'bare Express'

/** Server CPU of one slice of load. */
interface Slice {
  /** µs a request. */
  readonly cpu: number
  readonly perSecond: number
}

export interface Served {
  readonly worker: Worker<Calls>
  readonly load: Load
}

export async function serve(args: Args, addresses = CONNECTIONS): Promise<Served> {
  const worker = await Worker.start<Calls>('http-embedded', args)
  return { worker, load: new Load(await worker.call('port'), CONNECTIONS, addresses) }
}

export async function close({ worker, load }: Served): Promise<void> {
  const degraded = await worker.call('degraded')
  await load.close()
  await worker.stop()
  if (degraded > 0) throw new Error(`${degraded} requests were answered without the store`)
}

async function slice({ worker, load }: Served, count: number, status: number): Promise<Slice> {
  const before = await worker.cpuMicros()
  const { statuses, seconds } = await load.send(PATH, count)
  const cpu = ((await worker.cpuMicros()) - before) / count
  if (statuses[status] !== count) throw new Error(`not ${count} × ${status} but ${JSON.stringify(statuses)}`)
  return { cpu, perSecond: count / seconds }
}

/** Contenders, each with its limit and the status that it answers. */
export type Limited = readonly (readonly [Contender, number, number])[]

/** Some rounds on servers of their own: processes differ from each other for as long as they live. */
async function generation(
  limited: Limited,
  rounds: number,
  count: number,
  redis: BenchRedis | undefined,
): Promise<Record<Contender, Slice[]>> {
  await redis?.flush()
  const servers = new Map<Contender, Served & { status: number }>()
  try {
    for (const [contender, limit, status] of limited) {
      const served = await serve({
        contender,
        limit,
        ...(redis && { redis: redis.where as { host: string; port: number } }),
      })
      servers.set(contender, { ...served, status })
      // Warm, and with a low limit over it (ours: blocked) before anything is measured.
      await served.load.send(PATH, count * 3)
    }
    return await interleave([...servers.keys()], rounds, contender => {
      const served = servers.get(contender) as Served & { status: number }
      return slice(served, count, served.status)
    })
  } finally {
    for (const served of servers.values()) await close(served)
  }
}

/** The same load on every contender in turn, round after round, on fresh servers every few rounds. */
export async function compare(
  title: string,
  limited: Limited,
  { quick, log }: Context,
  redis?: BenchRedis,
): Promise<{ table: Table; chart: Chart; ratio: (contender: Contender) => number[] }> {
  const names = limited.map(([contender]) => contender)
  const slices = new Map<Contender, Slice[]>(names.map(name => [name, []]))
  for (let i = 0; i < (quick ? 2 : 5); i++) {
    const more = await generation(limited, quick ? 3 : 5, quick ? 800 : 2500, redis)
    for (const name of names) slices.get(name)?.push(...more[name])
  }
  const of = (contender: Contender) => slices.get(contender) as Slice[]
  const cpu = (contender: Contender) => of(contender).map(slice => slice.cpu)
  const ratio = (contender: Contender) => ratios(cpu(contender), cpu(BARE))
  const rows = names.map(contender => [
    contender,
    spread(cpu(contender), fixed(1)),
    spread(ratio(contender), fixed(3)),
    spread(
      of(contender).map(slice => slice.perSecond),
      whole,
    ),
  ])
  log(`  ${title}: ${rows.map(([name, , ratio]) => `${name} ${ratio}×`).join('; ')}`)
  const columns = ['', 'server CPU µs a request', `× ${BARE}`, 'requests/s (for information)']
  const chart: Chart = {
    title: title.replace(/ \(.*/, ''),
    unit: 'server CPU µs a request; less is better',
    bars: names.map(name => ({ name, values: cpu(name) })),
  }
  return { table: { title, columns, rows }, chart, ratio }
}

async function run(context: Context): Promise<Section> {
  const allowed = await compare(
    'Allowed requests',
    [
      [BARE, 0, 200],
      ['ours', HIGH, 200],
      ['express-rate-limit', HIGH, 200],
      ['rate-limiter-flexible', HIGH, 200],
    ],
    context,
  )
  const flood = await compare(
    'A flood that is refused (ours: from blocked clients), against bare Express answering it',
    [
      [BARE, 0, 200],
      ['ours', 1, 429],
      ['express-rate-limit', 1, 429],
      ['rate-limiter-flexible', 1, 429],
    ],
    context,
  )
  const goals: Goal[] = [
    goalOf('Server CPU a request against bare Express', 'at most', 1.12, allowed.ratio('ours')),
    goalOf('The same, later goal', 'at most', 1.06, allowed.ratio('ours')),
    goalOf('A flood from blocked clients, later goal', 'at most', 1.05, flood.ratio('ours')),
  ]
  return {
    charts: [allowed.chart, flood.chart],
    tables: [allowed.table, flood.table],
    goals,
    notes: [
      `An Express 5 application with one JSON route, in a process of its own; ${CONNECTIONS} keep-alive connections from ${CONNECTIONS} loopback addresses, one request at a time on each. CPU is of the server's process alone. Each round sends the same number of requests to each server in turn, and its ratio is taken within the round; after every five rounds all servers are started anew.`,
      'Ours: default policies with a high limit, sliding window, violations and blocks, statistics, all headers (X-RateLimit-* and the IETF pair). express-rate-limit: memory, `draft-8` and legacy headers. rate-limiter-flexible: RateLimiterMemory with the middleware and headers of its documentation.',
      "The load generator shares the machine's cores, so requests a second say little; CPU a request is what a limiter costs.",
    ],
  }
}

export const httpEmbedded: Bench = { name: 'http-embedded', title: 'Behind Express (embedded store)', run }
