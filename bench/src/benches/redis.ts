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
} from '../harness.ts'
import type { Chart } from '../plot.ts'
import { BenchRedis } from '../redis.ts'
import type { Args, Calls, Contender } from '../workers/redis.ts'

const CLIENTS = 1000
const LIMIT = 100
/** Checks of each client: below the limit, so that everything is allowed. */
const EACH = 95

interface Measured {
  readonly perSecond: number
  /** µs a check, of the whole Node process and of all redis-servers. */
  readonly node: number
  readonly redis: number
  readonly p50: number
  readonly p99: number
}

interface Scene {
  readonly inFlight: number
  readonly each: number
}

interface Rounds {
  /** Processes differ from each other for as long as they live: so often all are started anew. */
  readonly generations: number
  readonly rounds: number
  /** Times 95,000 checks of each contender before it is measured. */
  readonly warm: number
}

/** All contenders on one Redis in turn, round after round. */
export async function play<Name extends Contender>(
  redis: BenchRedis,
  contenders: readonly Name[],
  scenes: readonly Scene[],
  { generations, rounds, warm }: Rounds,
  seed: number,
): Promise<Record<Name, Measured[]>[]> {
  const results = scenes.map(
    () => Object.fromEntries(contenders.map(name => [name, [] as Measured[]])) as Record<Name, Measured[]>,
  )
  for (let generation = 0; generation < generations; generation++) {
    await redis.flush()
    const workers = {} as Record<Name, Worker<Calls>>
    try {
      for (const contender of contenders) {
        const args: Args = { contender, redis: redis.where, limit: LIMIT, seed: seed + generation }
        const worker = await Worker.start<Calls>('redis', args)
        workers[contender] = worker
        // What runs once a batch takes many checks to be compiled.
        for (let i = 0; i < warm; i++) {
          await redis.forgetClients()
          await worker.call('run', CLIENTS, EACH, 64)
        }
      }
      for (const [i, { each, inFlight }] of scenes.entries()) {
        const measured = await interleave(contenders, rounds, async contender => {
          await redis.forgetClients()
          const before = await redis.cpuMicros()
          const { seconds, cpuMicros, p50, p99 } = await workers[contender].call('run', CLIENTS, each, inFlight)
          const count = CLIENTS * each
          const used = ((await redis.cpuMicros()) - before) / count
          return { perSecond: count / seconds, node: cpuMicros / count, redis: used, p50, p99 }
        })
        for (const contender of contenders) results[i]?.[contender].push(...measured[contender])
      }
    } finally {
      for (const worker of Object.values<Worker<Calls>>(workers)) await worker.stop()
    }
  }
  return results
}

/** A table, and who of the peers was fastest. */
export function tell<Name extends Contender>(
  title: string,
  measured: Record<Name, Measured[]>,
  peers: readonly NoInfer<Name>[],
) {
  const of = (name: Name, figure: keyof Measured) => measured[name].map(one => one[figure])
  const rival = [...peers].sort((a, b) => median(of(b, 'perSecond')) - median(of(a, 'perSecond')))[0] as Name
  const against = (name: Name, figure: keyof Measured) => ratios(of(name, figure), of(rival, figure))
  const rows = (Object.keys(measured) as Name[]).map(name => [
    name,
    spread(of(name, 'perSecond'), thousands),
    spread(against(name, 'perSecond'), fixed(2)),
    spread(of(name, 'node'), fixed(1)),
    spread(against(name, 'node'), fixed(2)),
    spread(of(name, 'redis'), fixed(1)),
    spread(against(name, 'redis'), fixed(2)),
    spread(of(name, 'p50'), fixed(2)),
    spread(of(name, 'p99'), fixed(2)),
  ])
  const columns = ['', 'checks/s', '×', 'Node CPU µs', '×', 'Redis CPU µs', '×', 'p50 ms', 'p99 ms']
  const table: Table = { title: `${title} (× ${rival}, the faster peer)`, columns, rows }
  const chart: Chart = {
    title,
    unit: 'checks a second; more is better',
    bars: (Object.keys(measured) as Name[]).map(name => ({ name, values: of(name, 'perSecond') })),
  }
  return { table, rival, against, rows, chart }
}

async function run({ quick, seed, log }: Context): Promise<Section> {
  const tables: Table[] = []
  const charts: Chart[] = []
  const goals: Goal[] = []
  const rounds = quick ? { generations: 1, rounds: 2, warm: 2 } : { generations: 2, rounds: 3, warm: 3 }
  const peers = ['rate-limiter-flexible', 'rate-limit-redis'] as const
  const scenes: Scene[] = [
    { inFlight: 64, each: quick ? 20 : EACH },
    { inFlight: 256, each: quick ? 20 : EACH },
    { inFlight: 1, each: quick ? 2 : 10 },
  ]

  const redis = await BenchRedis.start()
  try {
    const contenders = ['ours', 'ours, whole', ...peers, 'PING'] as const
    const played = await play(redis, contenders, scenes, rounds, seed)
    for (const [i, { inFlight }] of scenes.entries()) {
      const measured = played[i] as (typeof played)[number]
      const { table, rival, against, rows, chart } = tell(`${inFlight} in flight`, measured, peers)
      tables.push(table)
      charts.push(chart)
      log(`  ${inFlight} in flight: ${rows.map(([name, , ratio]) => `${name} ${ratio}×`).join('; ')}`)
      const goal = (what: string, kind: 'at most' | 'at least', bound: number, figure: keyof Measured) =>
        goals.push(goalOf(`${inFlight} in flight: ${what} against ${rival}`, kind, bound, against('ours', figure)))
      if (inFlight === 64) {
        goal('checks a second', 'at least', 2.2, 'perSecond')
        goal('Node CPU a check', 'at most', 0.35, 'node')
        goal('Redis CPU a check', 'at most', 0.6, 'redis')
      } else if (inFlight === 256) goal('checks a second', 'at least', 2.5, 'perSecond')
      else goal('p50', 'at most', 1.1, 'p50')
    }
  } finally {
    await redis.stop()
  }

  const cluster = await BenchRedis.cluster()
  try {
    const scene = { inFlight: 64, each: quick ? 20 : EACH }
    const [measured] = await play(cluster, ['ours', 'rate-limiter-flexible'] as const, [scene], rounds, seed)
    const { table, against, rows, chart } = tell(
      'Redis Cluster of three masters, 64 in flight',
      measured as NonNullable<typeof measured>,
      ['rate-limiter-flexible'],
    )
    tables.push(table)
    charts.push(chart)
    log(`  Cluster: ${rows.map(([name, , ratio]) => `${name} ${ratio}×`).join('; ')}`)
    goals.push(
      goalOf(
        'Cluster, 64 in flight: checks a second against rate-limiter-flexible',
        'at least',
        1,
        against('ours', 'perSecond'),
      ),
    )
  } finally {
    await cluster.stop()
  }

  return {
    charts,
    tables,
    goals,
    notes: [
      `One redis-server (or Cluster) of the bench's own, without persistence, the same for all; all clients are forgotten before each measurement. ${CLIENTS.toLocaleString('en')} clients, limit ${LIMIT} a minute, ${EACH} checks of each in a random order that is the same for all (10 with 1 in flight), so that everything is allowed. So many checks are under way at any time; the process does nothing else.`,
      '**ours** is `check` of the Redis store, given client and policy as the peers are: block, sliding window (an exact log of every request), violations, penalty and the fence (nothing is written after the deadline) in one script; the checks of a turn of the event loop share one EVALSHA. **ours, whole** is `bouncer.check(request)`: address and headers, the matching policy, lists, statistics, heartbeats and events too.',
      '**rate-limiter-flexible** is `RateLimiterRedis.consume(key)`, **rate-limit-redis** is `RedisStore.increment(key)`, the store of express-rate-limit: each a counter in a fixed window, one script a check, through ioredis with its default settings. **PING** is the plain command, one by one: what a round trip through ioredis costs.',
      "Every answer is looked at: allowed, and by Redis. Ours has a deadline of 5 s here, so that a busy machine cannot turn a check into one that the fail mode allows; an answer of the fail mode would end the bench. CPU is of the whole Node process and of the redis-server's, from INFO before and after. The generator, the limiter and Redis share the machine's cores; a Cluster's three servers do too, so it is no faster than one here.",
    ],
  }
}

export const redis: Bench = { name: 'redis', title: 'A decision on Redis', run }
