import {
  type Bench,
  type Context,
  fixed,
  type Goal,
  goalOf,
  interleave,
  median,
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
/** The contenders, all with the same limit. */
const contenders: readonly Contender[] = [
  'ours',
  'ours, in front',
  'express-rate-limit',
  'rate-limiter-flexible',
  '@fastify/rate-limit',
]

/** The bare framework that a contender is measured against; it answers 200 whatever the other does. */
const bareOf = (contender: Contender): Contender =>
  contender === '@fastify/rate-limit' ? 'bare Fastify' : 'bare Express'

/** A server that idles for seconds loses its warmth (V8 shrinks its heap, caches go): the two take turns in a tenth of one. */
const SLICE = 500
const ROUNDS = 12
/** Two processes of the same code differ by more than the rounds of one do. */
const GENERATIONS = 4
const WARM = 3000
export const FLOOD = 'A flood that is refused (ours: from blocked clients), against the bare framework answering it'

/** The goals of both ways to be used, each against bare Express. */
export const goalsOf = (
  wanted: readonly (readonly [what: string, atMost: number])[],
  ratio: (contender: Contender) => number[],
): Goal[] =>
  (
    [
      ['ours', 'as middleware'],
      ['ours, in front', 'in front of the application'],
    ] as const
  ).flatMap(([contender, how]) =>
    wanted.map(([what, atMost]) => goalOf(`${what}, ${how}`, 'at most', atMost, ratio(contender))),
  )

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

interface Pair {
  readonly bare: Slice[]
  readonly limited: Slice[]
}

/** A contender and a bare server of its own, in turn. Processes differ for as long as they live: both are new each time. */
async function pair(
  contender: Contender,
  limit: number,
  { rounds, warm, redis }: { rounds: number; warm: number; redis: BenchRedis | undefined },
): Promise<Pair> {
  await redis?.flush()
  const where = redis && { redis: redis.where as { host: string; port: number } }
  const servers: Served[] = []
  try {
    const bare = await serve({ contender: bareOf(contender), limit })
    servers.push(bare)
    const limited = await serve({ contender, limit, ...where })
    servers.push(limited)
    // Over a low limit, and ours blocked, before anything is measured.
    for (const { load } of servers) await load.send(PATH, warm)
    return await interleave(['bare', 'limited'], rounds, name =>
      name === 'bare' ? slice(bare, SLICE, 200) : slice(limited, SLICE, limit < HIGH ? 429 : 200),
    )
  } finally {
    for (const served of servers) await close(served)
  }
}

const cpu = (slices: readonly Slice[]) => slices.map(slice => slice.cpu)
const ratioOf = ({ bare, limited }: Pair) => ratios(cpu(limited), cpu(bare))

/** Every contender against the bare framework, in pairs that are started anew several times. */
export async function compare(
  title: string,
  limit: number,
  { quick, log }: Context,
  redis?: BenchRedis,
): Promise<{ table: Table; chart: Chart; ratio: (contender: Contender) => number[] }> {
  const pairs = new Map(contenders.map(name => [name, [] as Pair[]]))
  for (let i = 0; i < (quick ? 1 : GENERATIONS); i++) {
    for (const [contender, measured] of pairs) {
      measured.push(await pair(contender, limit, { rounds: quick ? 8 : ROUNDS, warm: quick ? 1500 : WARM, redis }))
    }
  }
  const ratio = (contender: Contender) => (pairs.get(contender) as Pair[]).flatMap(ratioOf)
  const rows = [...pairs].map(([contender, measured]) => {
    const limited = measured.flatMap(pair => pair.limited)
    return [
      contender,
      quartiles(cpu(limited), fixed(1)),
      quartiles(cpu(measured.flatMap(pair => pair.bare)), fixed(1)),
      quartiles(ratio(contender), fixed(3)),
      quartiles(
        limited.map(slice => slice.perSecond),
        whole,
      ),
    ]
  })
  log(`  ${title}: ${rows.map(([name, , , ratio]) => `${name} ${ratio}×`).join('; ')}`)
  const columns = ['', 'server CPU µs a request', 'bare beside it', '× bare', 'requests/s (for information)']
  const chart: Chart = {
    title: title.replace(/ \(.*/, ''),
    unit: 'server CPU a request, × the bare framework; less is better; the line: the least and the greatest pair',
    bars: [...pairs].map(([name, measured]) => ({ name, values: measured.map(pair => median(ratioOf(pair))) })),
  }
  return { table: { title, columns, rows }, chart, ratio }
}

async function run(context: Context): Promise<Section> {
  const allowed = await compare('Allowed requests', HIGH, context)
  const flood = await compare(FLOOD, 1, context)
  const goals = [
    ...goalsOf(
      [
        ['Server CPU a request against bare Express', 1.12],
        ['The same, later goal', 1.06],
      ],
      allowed.ratio,
    ),
    ...goalsOf([['A flood from blocked clients, later goal', 1.05]], flood.ratio),
  ]
  return {
    charts: [allowed.chart, flood.chart],
    tables: [allowed.table, flood.table],
    goals,
    notes: [
      `An Express 5 application with one JSON route, in a process of its own; ${CONNECTIONS} keep-alive connections from ${CONNECTIONS} loopback addresses, one request at a time on each. CPU is of the server's process alone. Each contender has a bare server beside it; a round sends ${SLICE} requests to each of the two in turn, within a fifth of a second, and its ratio is taken within the round; the figures are the median of all rounds with their quartiles in brackets. There are ${GENERATIONS} pairs of each, of new processes, warmed with ${whole(WARM)} requests each. (Before, all servers had their turn within a second and a half; one that idles so long loses its warmth, and the bare one first, so that a limiter looked like less than it costs.)`,
      'As middleware, ours mends something of Express itself before Node.js 24 (docs/profiling.md, "The response as a table"), which no peer does: a middleware that did only that was at 0.77 to 0.80 of bare Express, ours without it at 1.15 to 1.18. It is the application’s cost that is less, and counted as such.',
      'Ours: default policies with a high limit, sliding window, violations and blocks, statistics, all headers (X-RateLimit-* and the IETF pair); as middleware (`app.use(bouncer.express())`) and **in front** of the application (`createServer(bouncer.wrap(app))`), where Express takes no step for it and never sees a refused request. express-rate-limit: memory, `draft-8` and legacy headers. rate-limiter-flexible: RateLimiterMemory with the middleware and headers of its documentation. @fastify/rate-limit: its local store and its headers, against bare Fastify with the same route.',
      "The load generator shares the machine's cores, so requests a second say little; CPU a request is what a limiter costs.",
    ],
  }
}

export const httpEmbedded: Bench = { name: 'http-embedded', title: 'Behind Express (embedded store)', run }
