import {
  type Bench,
  type Context,
  cores,
  fixed,
  type Goal,
  goalOf,
  interleave,
  inWorker,
  median,
  ratios,
  type Section,
  spread,
  type Table,
  thousands,
  whole,
} from '../harness.ts'
import type { Chart } from '../plot.ts'
import type { Args, Calls, Contender } from '../workers/embedded.ts'

interface Measured {
  readonly perSecond: number
  readonly cpu: number
}

/** By an exact log, our default, and by a counter in a fixed window, which is what the peers keep. */
const OUR_STORE: readonly Contender[] = ['our store', 'our store, fixed_window']
const OUR_MIDDLEWARE: readonly Contender[] = ['our middleware', 'our middleware, fixed_window']
const PEERS: readonly Contender[] = ['express-rate-limit', 'rate-limiter-flexible', '@fastify/rate-limit']
const MIDDLEWARE_PEERS: readonly Contender[] = ["express-rate-limit's middleware", "rate-limiter-flexible's middleware"]

interface Scene {
  readonly title: string
  readonly contenders: readonly Contender[]
  readonly peers: readonly Contender[]
  readonly clients: number
  /** Units a minute and client; with 100, a client that has used them up is replaced. */
  readonly limit: number
  /** Held to the goal. */
  readonly held: readonly Contender[]
}

/** One record; all in the fast caches; some; none. */
const SIZES = [1, 1000, 10_000, 100_000]

const clientsOf = (clients: number) => `${whole(clients)} client${clients === 1 ? '' : 's'}`

const scenes: readonly Scene[] = [
  ...SIZES.map(
    (clients): Scene => ({
      title: `The whole middleware with its headers, no HTTP, allowed, ${clientsOf(clients)}`,
      contenders: [...OUR_MIDDLEWARE, ...MIDDLEWARE_PEERS],
      peers: MIDDLEWARE_PEERS,
      clients,
      limit: 100,
      held: OUR_MIDDLEWARE,
    }),
  ),
  ...SIZES.map(
    (clients): Scene => ({
      title: `The store alone, allowed, ${clientsOf(clients)}`,
      contenders: [...OUR_STORE, ...PEERS],
      peers: PEERS,
      clients,
      limit: 100,
      held: OUR_STORE,
    }),
  ),
  {
    title: 'The store alone, refused, 1,000 clients',
    contenders: ['ours', 'ours, never blocking', ...OUR_STORE, ...PEERS],
    peers: PEERS,
    clients: 1000,
    limit: 1,
    held: OUR_STORE,
  },
]

export async function measure(args: Args, seconds: number): Promise<Measured> {
  return inWorker<Calls, Measured>('embedded', args, async worker => {
    const [warm, sample] = [300_000, 60_000]
    // Everything is compiled and every client known before it counts.
    await worker.call('run', Math.max(warm, args.clients * 3))
    const trial = await worker.call('run', sample)
    const count = Math.round((sample / trial.seconds) * seconds)
    const cost = await worker.call('run', count)
    return { perSecond: count / cost.seconds, cpu: cost.cpuMicros / count }
  })
}

async function play(
  scene: Scene,
  { quick, seed, log }: Context,
): Promise<{ table: Table; chart: Chart; goals: Goal[] }> {
  const { title, contenders, peers, clients, limit, held } = scene
  const measured = await interleave(contenders, 5, contender =>
    measure({ contender, clients, limit, replace: limit > 1, seed }, quick ? 0.2 : 0.5),
  )
  const speed = (contender: Contender) => measured[contender].map(({ perSecond }) => perSecond)
  const fastest = [...peers].sort((a, b) => median(speed(b)) - median(speed(a)))[0] as Contender
  const rows = contenders.map(contender => [
    contender,
    spread(speed(contender), thousands),
    spread(
      measured[contender].map(({ cpu }) => cpu),
      fixed(2),
    ),
    spread(ratios(speed(contender), speed(fastest)), fixed(2)),
  ])
  const goals = held.map(contender =>
    goalOf(
      `${title}: checks a second of ${contender} against ${fastest}`,
      'at least',
      1,
      ratios(speed(contender), speed(fastest)),
    ),
  )
  log(`  ${title}: ${rows.map(([name, , , ratio]) => `${name} ${ratio}×`).join('; ')}`)
  const chart: Chart = {
    title,
    unit: 'checks a second; more is better',
    bars: contenders.map(name => ({ name, values: speed(name) })),
  }
  return { chart, table: { title, columns: ['', 'checks/s', 'CPU µs a check', `× ${fastest}`], rows }, goals }
}

async function run(context: Context): Promise<Section> {
  const played = []
  for (const scene of scenes) played.push(await play(scene, context))
  return {
    charts: played.filter((_, i) => [1, SIZES.length + 1].includes(i)).map(({ chart }) => chart),
    tables: played.map(({ table }) => table),
    goals: played.flatMap(({ goals }) => goals),
    notes: [
      "**The whole middleware** is what an application pays for a request: each one's own middleware called with a request and a response that only record (64 requests in turn, as if under way: what a limiter leaves on one does not live on); express-rate-limit with `draft-8` and legacy headers, rate-limiter-flexible with the middleware of its documentation. Ours finds the address and the policy, keeps an exact log (or, as the peers do, a counter: **fixed_window**), violations and blocks, statistics for `/metrics` and the live page, and sends both kinds of headers.",
      '**The store alone** is less than a limiter: **our store** is given client and policy and keeps block, exact log (or counter), violation, penalty, in bounded memory. **express-rate-limit** is `await store.increment(key)` of its MemoryStore, a bare counter in a fixed window: finding the key, comparing with the limit and headers are the work of its middleware. **rate-limiter-flexible** is `await limiter.consume(key)` of RateLimiterMemory, a counter in a fixed window with its comparison; a refusal is a rejected promise that is caught. **@fastify/rate-limit** is the function that its `createRateLimit()` returns, on its local store: the key from a request, a counter in a fixed window, the comparison. **ours**, where refused, is `bouncer.check(request)`, the whole decision, for comparison.',
      'One check under way at a time, in a fresh process a figure; what is answered at once is not awaited. Limit 100 a minute, as in the built-in policy; so many clients at a time, in random order, each replaced by a newcomer after its 100 checks, so that all is allowed, and each in the midst of them when it begins to count (of 100,000 clients none beyond the fortieth). Our store has as many places as there are addresses; the peers have no bound. Refused: limit 1 a minute and the same clients throughout; ours blocks a client at its fifth violation ("never blocking": penalty off).',
      `CPU is of the whole process, the garbage collector's threads included, which share ${cores} cores.`,
    ],
  }
}

export const embedded: Bench = { name: 'embedded', title: 'A decision in process (embedded store)', run }
