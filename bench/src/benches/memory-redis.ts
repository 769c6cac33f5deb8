import type { Redis } from 'ioredis'
import { type Bench, type Context, type Goal, inWorker, type Section, type Worker, whole } from '../harness.ts'
import { BenchRedis } from '../redis.ts'
import type { Calls, Contender, Setup } from '../workers/redis.ts'
import { bytes, mebibytes } from './memory-embedded.ts'

const ALGORITHMS = ['sliding_window', 'sliding_window_counter', 'token_bucket', 'gcra', 'fixed_window'] as const
const PEERS: readonly Contender[] = ['rate-limiter-flexible', 'rate-limit-redis', '@fastify/rate-limit']
/** Of whom the heap is looked at: whole limiters. */
const SERVERS = ['bouncer', 'express-rate-limit', 'rate-limiter-flexible', '@fastify/rate-limit'] as const
/** A minute; and after how many requests a client is looked at, all allowed and not yet forgotten. */
const LIMITS = [
  { limit: 100, requests: [1, 10, 100] },
  { limit: 10_000, requests: [1000, 10_000] },
] as const
const REQUESTS = LIMITS.flatMap(({ requests }) => requests as readonly number[])
const IPV4 = '203.0.113.195'
const IPV6 = '2001:db8:85a3:8d3::/64'

/** Bytes a client at most. */
const BOUNDS: Record<string, number> = { token_bucket: 200, gcra: 128 }

async function run({ quick, log }: Context): Promise<Section> {
  const redis = await BenchRedis.start()
  const connection = redis.connections[0] as Redis
  const where = redis.where as { host: string; port: number }

  /** What a client holds after so many units: bytes by key. */
  async function held(worker: Worker<Calls>, client: string, units: number): Promise<Map<string, number>> {
    await redis.flush()
    await worker.call('take', client, units)
    return usage()
  }
  async function usage(): Promise<Map<string, number>> {
    const bytes = new Map<string, number>()
    for (const key of (await connection.keys('*')).sort()) {
      bytes.set(key, (await connection.memory('USAGE', key, 'SAMPLES', 0)) as number)
    }
    return bytes
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
    const logs: string[][] = []
    const setups: readonly (Omit<Setup, 'limit'> & { name: string })[] = [
      ...ALGORITHMS.map(algorithm => ({ name: `ours, ${algorithm}`, contender: 'ours' as const, algorithm })),
      ...PEERS.map(contender => ({ name: contender, contender })),
    ]
    for (const { name, ...setup } of setups) {
      const sizes = new Map<number, number>()
      let [key, six] = ['', 0]
      for (const { limit, requests } of LIMITS) {
        await inWorker<Calls, void>('redis', { ...setup, limit, redis: where }, async worker => {
          for (const count of requests) {
            const [name, size] = only(await held(worker, IPV4, count))
            key = name
            sizes.set(count, size)
          }
          if (limit === 100) [, six] = only(await held(worker, IPV6, limit))
        })
      }
      const all = [...sizes.values()]
      perClient.push([name, ...all.map(whole), whole(six), `\`${key}\``])
      log(`  ${name}: ${[...sizes].map(([count, size]) => `${size} B after ${count}`).join(', ')}`)
      const bound = BOUNDS[setup.algorithm ?? '']
      if (bound !== undefined) {
        atMost(`${setup.algorithm}, a client`, bound, Math.max(...all))
        atMost(`${setup.algorithm}, a client that is an IPv6 network`, bound, six)
      }
      if (setup.algorithm !== 'sliding_window') continue
      const first = sizes.get(1) as number
      for (const [count, size] of sizes) {
        if (count === 1) continue
        const [further, share] = [(size - first) / (count - 1), size / count]
        logs.push([whole(count), whole(size), further.toFixed(1), share.toFixed(1)])
        if (count < 100) continue
        atMost(`sliding_window, ${whole(count)} requests: a request, all of the key included`, 20, share)
        atMost('… the same, later goal', 12, share)
        atMost('… each further request in the log, later goal', 12, further)
      }
    }

    const heaps: string[][] = []
    const clients = quick ? 100_000 : 1_000_000
    for (const contender of SERVERS) {
      await redis.flush()
      heaps.push([
        contender === 'bouncer' ? 'ours, everything' : contender,
        mebibytes(await bytes({ contender, clients, redis: where })),
      ])
      log(`  heap after ${whole(clients)} clients: ${heaps.at(-1)?.join(' ')}`)
    }
    await redis.flush()

    const limited: Setup = { contender: 'ours', limit: 100 }
    const blocked = await inWorker<Calls, Map<string, number>>('redis', { ...limited, redis: where }, async worker => {
      await held(worker, IPV4, 110)
      // Refusals are written down after the answer.
      await new Promise(resolve => setTimeout(resolve, 1500))
      return usage()
    })
    return {
      tables: [
        {
          title:
            'Bytes a client, after so many requests: up to 100 of a limit of 100 a minute, above of 10,000 a minute',
          columns: ['', ...REQUESTS.map(whole), '100, IPv6 network', 'key'],
          rows: perClient,
        },
        {
          title: 'sliding_window: the log of a client',
          columns: ['requests', 'bytes', 'each further request', 'a request, all of the key included'],
          rows: logs,
        },
        {
          title: `Heap of a server on Redis that has met ${whole(clients)} clients`,
          columns: ['', ''],
          rows: heaps,
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
        '`MEMORY USAGE key SAMPLES 0` of every key that the client leaves, under the names that are really used; Redis counts the value, the name and its entry in the table of keys, not the entry that every key with an expiry has besides. No rounds: the figures are the same every time. What a client holds follows from its requests, not from the number in the limit.',
        'sliding_window is exact: it keeps the time of every request in the window. What a request costs with all of the key included is more than what each further one costs, because the key itself (its name, its entry in the table of keys, the head of the list), which is as large for a short log as for a long one, is shared among the requests; the fewer they are, the more it weighs. The peers keep a counter of a fixed window, as our fixed_window does.',
        'Heap: as in the embedded store’s section; every client is met once, 256 requests under way at a time. What is on Redis is not on the heap; what is left are caches with a bound of their own.',
      ],
    }
  } finally {
    await redis.stop()
  }
}

export const memoryRedis: Bench = { name: 'memory-redis', title: 'Memory in Redis', run }
