import {
  type Bench,
  type Context,
  fixed,
  type Goal,
  goalOf,
  interleave,
  median,
  ratios,
  type Section,
  spread,
  type Table,
  thousands,
  Worker,
  whole,
} from '../harness.ts'
import type { Chart } from '../plot.ts'
import { BenchRedis } from '../redis.ts'
import type { Args, Calls, Contender, Setup, Work } from '../workers/redis.ts'

const CLIENTS = 1000
const LIMIT = 100
/** Checks of each client: below the limit, so that everything is allowed. */
const EACH = 50
/** … before anything is measured. */
const WARM_EACH = 95

interface Measured {
  readonly perSecond: number
  /** µs a check, of the whole Node processes and of all redis-servers. */
  readonly node: number
  readonly redis: number
  /** ms; of several processes, the slowest one's. */
  readonly p50: number
  readonly p99: number
  readonly p999: number
}

export interface Scene extends Omit<Work, 'seed'> {
  readonly title: string
  /** So many in each generation. */
  readonly rounds: number
  /** Each contender's checks come from so many processes at once. */
  readonly processes?: number
  /** All clients are in Redis already; without it, none. */
  readonly known?: boolean
}

export type Setups<Name extends string> = Readonly<Record<Name, Setup>>

/** What all do with the same rule. */
export const alike = <Name extends Contender>(contenders: readonly Name[], rule: Partial<Setup> = {}) =>
  Object.fromEntries(contenders.map(contender => [contender, { contender, limit: LIMIT, ...rule }])) as Setups<Name>

interface Rounds {
  /** Processes differ from each other for as long as they live: so often all are started anew. */
  readonly generations: number
  /** Times so many checks of each contender before it is measured. */
  readonly warm: number
  readonly seed: number
}

export type Played<Name extends string> = Record<Name, Measured[]>

/** The same work at once in all processes. */
async function share(workers: readonly Worker<Calls>[], work: Work) {
  const figures = await Promise.all(
    workers.map((worker, i) =>
      worker.call('run', { ...work, each: Math.max(1, Math.floor(work.each / workers.length)), seed: work.seed + i }),
    ),
  )
  const sum = (of: (one: (typeof figures)[number]) => number) => figures.reduce((all, one) => all + of(one), 0)
  const slowest = (of: (one: (typeof figures)[number]) => number) => Math.max(...figures.map(of))
  const count = sum(one => one.count)
  return {
    count,
    perSecond: count / slowest(one => one.seconds),
    node: sum(one => one.cpuMicros) / count,
    p50: slowest(one => one.p50),
    p99: slowest(one => one.p99),
    p999: slowest(one => one.p999),
  }
}

/** All contenders on one Redis in turn, round after round. */
export async function play<Name extends string>(
  redis: BenchRedis,
  setups: Setups<Name>,
  scenes: readonly Scene[],
  { generations, warm, seed }: Rounds,
): Promise<Played<Name>[]> {
  const names = Object.keys(setups) as Name[]
  const results = scenes.map(() => Object.fromEntries(names.map(name => [name, [] as Measured[]])) as Played<Name>)
  const processes = Math.max(...scenes.map(scene => scene.processes ?? 1))
  for (let generation = 0; generation < generations; generation++) {
    await redis.flush()
    const workers = Object.fromEntries(names.map(name => [name, [] as Worker<Calls>[]])) as Record<
      Name,
      Worker<Calls>[]
    >
    try {
      for (const name of names) {
        const args: Args = { ...setups[name], redis: redis.where }
        for (let i = 0; i < processes; i++) workers[name].push(await Worker.start<Calls>('redis', args))
        // What runs once a batch takes many checks to be compiled.
        for (let i = 0; i < warm; i++) {
          await redis.forgetClients()
          await share(workers[name], { clients: CLIENTS, each: WARM_EACH, inFlight: 64, seed })
        }
      }
      for (const [i, scene] of scenes.entries()) {
        if (scene.known) {
          await redis.flush()
          for (const name of names) await share(workers[name], { ...scene, inFlight: 256, count: scene.clients, seed })
        }
        const measured = await interleave(names, scene.rounds, async (name, round) => {
          if (!scene.known) await redis.forgetClients()
          const before = await redis.cpuMicros()
          const work = { ...scene, seed: seed + 100 * generation + 10 * round }
          const { count, ...figures } = await share(workers[name].slice(0, scene.processes ?? 1), work)
          return { ...figures, redis: ((await redis.cpuMicros()) - before) / count }
        })
        for (const name of names) results[i]?.[name].push(...measured[name])
      }
    } finally {
      for (const worker of Object.values<Worker<Calls>[]>(workers).flat()) await worker.stop()
    }
  }
  return results
}

/** A table, and who of the peers was fastest. */
export function tell<Name extends string>(title: string, measured: Played<Name>, peers: readonly NoInfer<Name>[]) {
  const names = Object.keys(measured) as Name[]
  const of = (name: Name, figure: keyof Measured) => measured[name].map(one => one[figure])
  const rival = [...peers].sort((a, b) => median(of(b, 'perSecond')) - median(of(a, 'perSecond')))[0] as Name
  const against = (name: Name, figure: keyof Measured, other = rival) => ratios(of(name, figure), of(other, figure))
  const rows = names.map(name => [
    name,
    spread(of(name, 'perSecond'), thousands),
    spread(against(name, 'perSecond'), fixed(2)),
    spread(of(name, 'node'), fixed(1)),
    spread(against(name, 'node'), fixed(2)),
    spread(of(name, 'redis'), fixed(1)),
    spread(against(name, 'redis'), fixed(2)),
    ...(['p50', 'p99', 'p999'] as const).map(figure => spread(of(name, figure), fixed(2))),
  ])
  const columns = ['', 'checks/s', '×', 'Node CPU µs', '×', 'Redis CPU µs', '×', 'p50 ms', 'p99 ms', 'p99.9 ms']
  const faster = peers.length > 1 ? ', the fastest peer' : ''
  const table: Table = { title: `${title} (× ${rival}${faster})`, columns, rows }
  const chart: Chart = {
    title,
    unit: 'checks a second; more is better',
    bars: names.map(name => ({ name, values: of(name, 'perSecond') })),
  }
  const summary = `${title}: ${rows.map(([name, , ratio]) => `${name} ${ratio}×`).join('; ')}`
  return { table, rival, against, rows, chart, summary }
}

/** How checks a second grow from scene to scene. */
function growth<Name extends string>(title: string, scenes: readonly Scene[], played: readonly Played<Name>[]): Chart {
  const order = [...scenes.keys()].sort((a, b) => placeOf(scenes[a] as Scene) - placeOf(scenes[b] as Scene))
  return {
    title,
    unit: 'checks a second; more is better',
    places: order.map(i => whole(placeOf(scenes[i] as Scene))),
    lines: (Object.keys(played[0] as Played<Name>) as Name[]).map(name => ({
      name,
      values: order.map(i => median((played[i] as Played<Name>)[name].map(one => one.perSecond))),
    })),
  }
}
const placeOf = ({ processes, inFlight }: Scene) => processes ?? inFlight

const PEERS = ['rate-limiter-flexible', 'rate-limit-redis', '@fastify/rate-limit'] as const

/** Where it takes long, with the faster peers only. */
const SHARED = ['ours', 'rate-limiter-flexible', 'rate-limit-redis'] as const

const ALGORITHMS = ['sliding_window', 'sliding_window_counter', 'token_bucket', 'gcra', 'fixed_window'] as const
const ALGORITHM_SETUPS: Setups<string> = Object.fromEntries([
  ...([1, 3] as const).flatMap(limits =>
    ALGORITHMS.map(algorithm => [
      `ours, ${algorithm}${limits === 1 ? '' : ', 3 limits'}`,
      { contender: 'ours', limit: LIMIT, algorithm, limits } satisfies Setup,
    ]),
  ),
  ['rate-limiter-flexible', { contender: 'rate-limiter-flexible', limit: LIMIT } satisfies Setup],
  ['rate-limiter-flexible, 3 limits', { contender: 'rate-limiter-flexible', limit: LIMIT, limits: 3 } satisfies Setup],
])

/** What ours is held to against the fastest peer: what was asked of it first, and what later. */
const BOUNDS: readonly {
  readonly inFlight: number
  readonly what: string
  readonly figure: keyof Measured
  readonly kind: 'at least' | 'at most'
  readonly bounds: readonly number[]
}[] = [
  { inFlight: 64, what: 'checks a second', figure: 'perSecond', kind: 'at least', bounds: [2.2, 2.8] },
  { inFlight: 64, what: 'Node CPU a check', figure: 'node', kind: 'at most', bounds: [0.35, 0.27] },
  { inFlight: 64, what: 'Redis CPU a check', figure: 'redis', kind: 'at most', bounds: [0.6, 0.48] },
  { inFlight: 256, what: 'checks a second', figure: 'perSecond', kind: 'at least', bounds: [2.5, 3.2] },
  { inFlight: 1, what: 'p50', figure: 'p50', kind: 'at most', bounds: [1.1, 1] },
  ...[64, 256, 1024].map(inFlight => ({
    inFlight,
    what: 'p99.9',
    figure: 'p999' as const,
    kind: 'at most' as const,
    bounds: [1],
  })),
]

async function run({ quick, seed, log }: Context): Promise<Section> {
  const tables: Table[] = []
  const charts: Chart[] = []
  const goals: Goal[] = []
  const each = quick ? 20 : EACH
  const show = ({ table, chart, summary }: { table: Table; chart: Chart | undefined; summary: string }) => {
    tables.push(table)
    if (chart) charts.push(chart)
    log(`  ${summary}`)
  }

  const redis = await BenchRedis.start()
  try {
    const scenes: Scene[] = [
      { inFlight: 64, each, rounds: 3 },
      { inFlight: 256, each, rounds: 3 },
      { inFlight: 1, each: quick ? 2 : 5, rounds: 3 },
      { inFlight: 8, each: quick ? 5 : 10, rounds: 2 },
      { inFlight: 1024, each: quick ? 20 : 30, rounds: 2 },
    ].map(scene => ({ ...scene, clients: CLIENTS, title: `${scene.inFlight.toLocaleString('en')} in flight` }))
    const generations = quick ? 1 : 2
    const contenders = ['ours', 'ours, whole', ...PEERS, 'PING'] as const
    const played = await play(redis, alike(contenders), scenes, { generations, warm: 2, seed })
    for (const [i, { inFlight, title }] of scenes.entries()) {
      const measured = played[i] as (typeof played)[number]
      const told = tell(title, measured, PEERS)
      show({ ...told, chart: undefined })
      for (const { inFlight: at, what, figure, kind, bounds } of BOUNDS) {
        if (at !== inFlight) continue
        for (const [j, bound] of bounds.entries()) {
          const later = j > 0 ? ', later goal' : ''
          const values = told.against('ours', figure)
          goals.push(goalOf(`${title}: ${what} against ${told.rival}${later}`, kind, bound, values))
        }
      }
      if (inFlight !== 64) continue
      const pings = told.against('ours', 'perSecond', 'PING')
      goals.push(goalOf('64 in flight: checks a second against one-by-one PING', 'at least', 2, pings))
    }
    charts.push(growth('Checks under way at once', scenes, played))

    const clients = quick ? 100_000 : 1_000_000
    const crowds: Scene[] = [
      { title: '1 client', clients: 1, each: quick ? 10_000 : 20_000, inFlight: 64, rounds: 3 },
      {
        title: `${whole(clients)} clients, all known to Redis`,
        ...{ clients, each: 1, count: 20_000, inFlight: 64, rounds: 3, known: true },
      },
    ]
    const wide = { limit: 100_000, windowSeconds: 3600 }
    const crowded = await play(redis, alike(SHARED, wide), crowds, { generations: 1, warm: 1, seed })
    for (const [i, { title }] of crowds.entries()) {
      show(tell(`${title}, 64 in flight`, crowded[i] as (typeof crowded)[number], SHARED.slice(1)))
    }

    const [bySetup] = await play(
      redis,
      ALGORITHM_SETUPS,
      [{ title: '', clients: CLIENTS, each: quick ? 20 : 30, inFlight: 64, rounds: 2 }],
      { generations: 1, warm: 1, seed },
    )
    show(tell('Each algorithm, with one limit and with three, 64 in flight', bySetup as Played<string>, [PEERS[0]]))

    const fleets = [1, 2, 4].map(
      (processes): Scene => ({
        title: `${processes} process${processes === 1 ? '' : 'es'} on one Redis, 64 in flight in each`,
        ...{ processes, clients: CLIENTS, each, inFlight: 64, rounds: 2 },
      }),
    )
    const fleet = await play(redis, alike(SHARED), fleets, { generations: 1, warm: 2, seed })
    for (const [i, { title }] of fleets.entries()) {
      show({ ...tell(title, fleet[i] as (typeof fleet)[number], SHARED.slice(1)), chart: undefined })
    }
    charts.push(growth('Processes on one Redis, which all share the machine’s cores', fleets, fleet))
  } finally {
    await redis.stop()
  }

  const cluster = await BenchRedis.cluster()
  try {
    const scene: Scene = { title: '', clients: CLIENTS, each, inFlight: 64, rounds: 3 }
    const setups = alike(['ours', 'rate-limiter-flexible'])
    const [measured] = await play(cluster, setups, [scene], { generations: quick ? 1 : 2, warm: 2, seed })
    const told = tell('Redis Cluster of three masters, 64 in flight', measured as NonNullable<typeof measured>, [
      'rate-limiter-flexible',
    ])
    show(told)
    const values = told.against('ours', 'perSecond')
    goals.push(goalOf('Cluster, 64 in flight: checks a second against rate-limiter-flexible', 'at least', 1, values))
  } finally {
    await cluster.stop()
  }

  return {
    charts,
    tables,
    goals,
    notes: [
      `One redis-server (or Cluster) of the bench's own, without persistence, the same for all; all clients are forgotten before each measurement. ${whole(CLIENTS)} clients, limit ${LIMIT} a minute, up to ${EACH} checks of each in a random order that is the same for all, so that everything is allowed. So many checks are under way at any time; the process does nothing else. With 1 and with 1,000,000 clients the limit is 100,000 an hour; the million were all met before, and those that are checked are drawn at random.`,
      '**ours** is `check` of the Redis store, given client and policy as the peers are: block, sliding window (an exact log of every request), violations, penalty and the fence (nothing is written after the deadline) in one script; the checks of a turn of the event loop share one EVALSHA. **ours, whole** is `bouncer.check(request)`: address and headers, the matching policy, lists, statistics, heartbeats and events too.',
      '**rate-limiter-flexible** is `RateLimiterRedis.consume(key)` (three limits: its `RateLimiterUnion`), **rate-limit-redis** is `RedisStore.increment(key)`, the store of express-rate-limit, **@fastify/rate-limit** is the function that its `createRateLimit()` returns, on its Redis store: each a counter in a fixed window, one script a check and limit, through ioredis with its default settings. **PING** is the plain command, one by one: what a round trip through ioredis costs.',
      "Every answer is looked at: allowed, and by Redis. Ours has a deadline of 5 s here, so that a busy machine cannot turn a check into one that the fail mode allows; an answer of the fail mode would end the bench. CPU is of the whole Node processes and of the redis-server's, from INFO before and after. The generator, the limiter and Redis share the machine's cores: several processes, and a Cluster's three servers, share them too, so they are no faster than one here. Of several processes the percentiles are the slowest one's.",
    ],
  }
}

export const redis: Bench = { name: 'redis', title: 'A decision on Redis', run }
