import type { Redis } from 'ioredis'
import { type Bench, type Context, type Goal, inWorker, type Section, whole } from '../harness.ts'
import { BenchRedis } from '../redis.ts'
import type { Args, Calls, Contender } from '../workers/redis.ts'

const ALGORITHMS = ['sliding_window', 'sliding_window_counter', 'token_bucket', 'gcra', 'fixed_window'] as const
const PEERS: readonly Contender[] = ['rate-limiter-flexible', 'rate-limit-redis']
const IPV4 = '203.0.113.195'
const IPV6 = '2001:db8:85a3:8d3::/64'

/** Bytes a client at most. */
const BOUNDS: Record<string, number> = { token_bucket: 200, gcra: 128 }

type Setup = Omit<Args, 'redis' | 'seed'>

async function run({ seed, log }: Context): Promise<Section> {
  const redis = await BenchRedis.start()
  const connection = redis.connections[0] as Redis

  /** What a client holds after so many units: bytes by key. */
  async function held(setup: Setup, client: string, units: number): Promise<Map<string, number>> {
    await redis.flush()
    return inWorker<Calls, Map<string, number>>('redis', { ...setup, redis: redis.where, seed }, async worker => {
      await worker.call('take', client, units)
      // Refusals are written down after the answer.
      await new Promise(resolve => setTimeout(resolve, units > setup.limit ? 1500 : 0))
      const bytes = new Map<string, number>()
      for (const key of (await connection.keys('*')).sort()) {
        bytes.set(key, (await connection.memory('USAGE', key, 'SAMPLES', 0)) as number)
      }
      return bytes
    })
  }
  const only = (bytes: Map<string, number>): [string, number] => {
    if (bytes.size !== 1) throw new Error(`not one key but ${[...bytes.keys()].join(', ')}`)
    return [...bytes][0] as [string, number]
  }

  try {
    const goals: Goal[] = []
    const atMost = (what: string, bound: number, bytes: number) => {
      goals.push({ what, goal: `at most ${bound} B`, measured: `${bytes.toFixed(1)} B`, met: bytes <= bound })
    }

    const perClient: string[][] = []
    const setups: (Setup & { name: string })[] = [
      ...ALGORITHMS.map(algorithm => ({
        name: `ours, ${algorithm}`,
        contender: 'ours' as const,
        limit: 100,
        algorithm,
      })),
      ...PEERS.map(contender => ({ name: contender, contender, limit: 100 })),
    ]
    for (const { name, ...setup } of setups) {
      const [key, one] = only(await held(setup, IPV4, 1))
      const [, all] = only(await held(setup, IPV4, 100))
      const [, six] = only(await held(setup, IPV6, 100))
      perClient.push([name, whole(one), whole(all), whole(six), `\`${key}\``])
      log(`  ${name}: ${one} B after 1, ${all} B after 100`)
      const bound = BOUNDS[setup.algorithm ?? '']
      if (bound === undefined) continue
      atMost(`${setup.algorithm}, a client`, bound, Math.max(one, all))
      atMost(`${setup.algorithm}, a client that is an IPv6 network`, bound, six)
    }

    const logs: string[][] = []
    for (const limit of [100, 10_000]) {
      const [, bytes] = only(await held({ contender: 'ours', limit }, IPV4, limit))
      logs.push([whole(limit), whole(bytes), (bytes / limit).toFixed(1)])
      log(`  sliding_window, limit ${limit}: ${(bytes / limit).toFixed(1)} B a logged request`)
      atMost(`sliding_window, a logged request at limit ${whole(limit)}`, 20, bytes / limit)
    }

    const blocked = await held({ contender: 'ours', limit: 100 }, IPV4, 110)
    return {
      tables: [
        {
          title: 'Bytes a client, limit 100 a minute',
          columns: ['', 'after 1 request', 'after 100', 'after 100, IPv6 network', 'key'],
          rows: perClient,
        },
        {
          title: 'sliding_window: the log of a client at its limit',
          columns: ['limit', 'bytes', 'a logged request'],
          rows: logs,
        },
        {
          title: 'All keys of a blocked client (sliding_window, limit 100, 110 requests)',
          columns: ['key', 'bytes'],
          rows: [
            ...[...blocked].map(([key, bytes]) => [`\`${key}\``, whole(bytes)]),
            ['together', whole([...blocked.values()].reduce((sum, bytes) => sum + bytes, 0))],
          ],
        },
      ],
      goals,
      notes: [
        '`MEMORY USAGE key SAMPLES 0` of every key that the client leaves, under the names that are really used; Redis counts the value, the name and its entry in the table of keys, not the entry that every key with an expiry has besides. No rounds: the figures are the same every time.',
        'sliding_window is exact: it keeps the time of every request in the window. The peers keep a counter of a fixed window, as our fixed_window does.',
      ],
    }
  } finally {
    await redis.stop()
  }
}

export const memoryRedis: Bench = { name: 'memory-redis', title: 'Memory in Redis', run }
