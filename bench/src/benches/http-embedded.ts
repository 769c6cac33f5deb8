import {
  type Bench,
  type Context,
  fixed,
  type Goal,
  goalOf,
  interleave,
  quartiles,
  ratios,
  type Section,
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
const BARE = 'bare Express'

/** The bare framework that a contender is measured against. */
const bareOf = (contender: Contender): Contender => (contender.includes('astify') ? 'bare Fastify' : BARE)

/** The contenders, all with the same limit; the bare frameworks answer 200 whatever the others do. */
const contenders: readonly Contender[] = [
  BARE,
  'ours',
  'express-rate-limit',
  'rate-limiter-flexible',
  'bare Fastify',
  '@fastify/rate-limit',
]

/** Short enough that all contenders have their turn within a second, so that one slow moment of the machine is everybody's. */
const SLICE = 250
const WARM = 4000
export const FLOOD = 'A flood that is refused (ours: from blocked clients), against the bare framework answering it'

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

/** Some rounds on servers of their own: processes differ from each other for as long as they live. */
async function generation(
  limit: number,
  rounds: number,
  warm: number,
  redis: BenchRedis | undefined,
): Promise<Record<Contender, Slice[]>> {
  await redis?.flush()
  const servers = new Map<Contender, Served>()
  try {
    for (const contender of contenders) {
      const where = redis && { redis: redis.where as { host: string; port: number } }
      const served = await serve({ contender, limit, ...where })
      servers.set(contender, served)
      // Warm, and with a low limit over it (ours: blocked) before anything is measured.
      await served.load.send(PATH, warm)
    }
    return await interleave(contenders, rounds, contender => {
      const status = limit < HIGH && contender !== bareOf(contender) ? 429 : 200
      return slice(servers.get(contender) as Served, SLICE, status)
    })
  } finally {
    for (const served of servers.values()) await close(served)
  }
}

/** The same load on every contender in turn, round after round, on fresh servers every so many rounds. */
export async function compare(
  title: string,
  limit: number,
  { quick, log }: Context,
  redis?: BenchRedis,
): Promise<{ table: Table; chart: Chart; ratio: (contender: Contender) => number[] }> {
  const slices = Object.fromEntries(contenders.map(name => [name, [] as Slice[]])) as Record<Contender, Slice[]>
  for (let i = 0; i < (quick ? 2 : 3); i++) {
    const more = await generation(limit, quick ? 6 : 12, quick ? 1500 : WARM, redis)
    for (const name of contenders) slices[name].push(...more[name])
  }
  const of = (contender: Contender, figure: keyof Slice) => slices[contender].map(slice => slice[figure])
  const ratio = (contender: Contender) => ratios(of(contender, 'cpu'), of(bareOf(contender), 'cpu'))
  const rows = contenders.map(contender => [
    contender,
    quartiles(of(contender, 'cpu'), fixed(1)),
    quartiles(ratio(contender), fixed(3)),
    quartiles(of(contender, 'perSecond'), whole),
  ])
  log(`  ${title}: ${rows.map(([name, , ratio]) => `${name} ${ratio}×`).join('; ')}`)
  const columns = ['', 'server CPU µs a request', '× bare', 'requests/s (for information)']
  const chart: Chart = {
    title: title.replace(/ \(.*/, ''),
    unit: 'server CPU µs a request; less is better',
    bars: contenders.map(name => ({ name, values: of(name, 'cpu') })),
  }
  return { table: { title, columns, rows }, chart, ratio }
}

async function run(context: Context): Promise<Section> {
  const allowed = await compare('Allowed requests', HIGH, context)
  const flood = await compare(FLOOD, 1, context)
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
      `An Express 5 application with one JSON route, in a process of its own; ${CONNECTIONS} keep-alive connections from ${CONNECTIONS} loopback addresses, one request at a time on each. CPU is of the server's process alone. A round sends ${SLICE} requests to each server in turn, all within a second, and its ratios are taken within the round; the figures are the median of all rounds with their quartiles in brackets. After every so many rounds all servers are started anew and warmed with ${whole(WARM)} requests each.`,
      'Ours: default policies with a high limit, sliding window, violations and blocks, statistics, all headers (X-RateLimit-* and the IETF pair). express-rate-limit: memory, `draft-8` and legacy headers. rate-limiter-flexible: RateLimiterMemory with the middleware and headers of its documentation. @fastify/rate-limit: its local store and its headers, against bare Fastify with the same route.',
      "The load generator shares the machine's cores, so requests a second say little; CPU a request is what a limiter costs.",
    ],
  }
}

export const httpEmbedded: Bench = { name: 'http-embedded', title: 'Behind Express (embedded store)', run }
