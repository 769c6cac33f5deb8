import { createRequire } from 'node:module'
import { createBouncer } from '@api-bouncer/limiter'
import { Cluster, Redis } from 'ioredis'
import { RedisStore as RateLimitRedis } from 'rate-limit-redis'
import { type Cost, costOf, random } from '../harness.ts'
import { address, answering, loadInside, openRedisStore, redisOf, storePolicy, withLimit } from '../ours.ts'
import { ROUTE, requestOf } from './embedded.ts'

const { RateLimiterRedis } = createRequire(import.meta.url)(
  'rate-limiter-flexible',
) as typeof import('rate-limiter-flexible')

export type Contender = 'ours' | 'ours, whole' | 'rate-limiter-flexible' | 'rate-limit-redis' | 'PING'

export interface Args {
  readonly contender: Contender
  readonly redis: { readonly host: string; readonly port: number } | { readonly cluster: string[] }
  /** Units a minute and client. */
  readonly limit: number
  /** Of ours; the peers have one. */
  readonly algorithm?: string
  readonly seed: number
}

export interface Figures extends Cost {
  /** What one check waited, ms. */
  readonly p50: number
  readonly p99: number
}

export interface Calls {
  /** `each` checks of each of `clients` clients in random order, `inFlight` at once. All must be allowed, by Redis. */
  run(clients: number, each: number, inFlight: number): Promise<Figures>
  /** So many checks of one client, some refused. */
  take(client: string, units: number): Promise<void>
}

/** The same client as Redis sees it, whoever asks. */
export const connectTo = (redis: Args['redis']): Redis | Cluster =>
  'cluster' in redis
    ? new Cluster(
        redis.cluster.map(node => ({ host: node.split(':')[0] as string, port: Number(node.split(':')[1]) })),
        {},
      )
    : new Redis(redis.port, redis.host)

type Asked = (client: string) => unknown

/** How to ask about a client, and what an answer looks like that allows it. */
async function checkOf({
  contender,
  redis,
  limit,
  algorithm,
}: Args): Promise<{ ask: Asked; allowed: (answer: never) => boolean }> {
  switch (contender) {
    case 'ours': {
      const store = await openRedisStore(redis)
      const policy = storePolicy(await loadInside(), limit, algorithm)
      const route = `GET ${ROUTE}`
      return {
        ask: client => store.check({ client, policy, cost: 1, route, penalise: true }),
        allowed: ({ outcome }: { outcome: string }) => outcome === 'allowed',
      }
    }
    case 'ours, whole': {
      const bouncer = createBouncer({ ...withLimit(limit), redis: redisOf(redis) })
      await answering(bouncer)
      const requests = new Map<string, ReturnType<typeof requestOf>>()
      return {
        async ask(client) {
          let request = requests.get(client)
          if (!request) {
            request = requestOf(client)
            requests.set(client, request)
          }
          return bouncer.check({ peer: request, method: 'GET', path: ROUTE })
        },
        // The fail mode would have said "degraded-allowed".
        allowed: ({ outcome }: { outcome: string }) => outcome === 'allowed',
      }
    }
    case 'rate-limiter-flexible': {
      const limiter = new RateLimiterRedis({ storeClient: connectTo(redis), points: limit, duration: 60 })
      return { ask: client => limiter.consume(client), allowed: () => true }
    }
    case 'rate-limit-redis': {
      const connection = connectTo(redis)
      const store = new RateLimitRedis({
        sendCommand: (command, ...args) => connection.call(command, ...args) as Promise<never>,
      })
      await store.init({ windowMs: 60_000 } as never)
      return {
        ask: client => store.increment(client),
        allowed: ({ totalHits }: { totalHits: number }) => totalHits <= limit,
      }
    }
    case 'PING': {
      const connection = connectTo(redis)
      return { ask: () => connection.ping(), allowed: (answer: string) => answer === 'PONG' }
    }
  }
}

/** Each of so many clients so many times, in an order that is the same for everyone. */
function order(clients: number, each: number, seed: number): Uint16Array {
  const sequence = Uint16Array.from({ length: clients * each }, (_, i) => i % clients)
  const next = random(seed)
  for (let i = sequence.length - 1; i > 0; i--) {
    const j = Math.floor(next() * (i + 1))
    const held = sequence[i] as number
    sequence[i] = sequence[j] as number
    sequence[j] = held
  }
  return sequence
}

export default async function start(args: Args): Promise<Calls> {
  const { ask, allowed } = await checkOf(args)
  const ips = Array.from({ length: 1000 }, (_, i) => address(i))
  return {
    async run(clients, each, inFlight) {
      const sequence = order(clients, each, args.seed)
      const waited = new Float64Array(sequence.length)
      let next = 0
      async function lane(): Promise<void> {
        while (next < sequence.length) {
          const i = next++
          const asked = performance.now()
          const answer = await ask(ips[sequence[i] as number] as string)
          waited[i] = performance.now() - asked
          if (!allowed(answer as never)) throw new Error(`not allowed by Redis: ${JSON.stringify(answer)}`)
        }
      }
      const cost = await costOf(async () => {
        await Promise.all(Array.from({ length: inFlight }, lane))
      })
      waited.sort()
      const percentile = (p: number) => waited[Math.floor((waited.length * p) / 100)] as number
      return { ...cost, p50: percentile(50), p99: percentile(99) }
    },
    async take(client, units) {
      // A refusal is a rejection at rate-limiter-flexible, and no Error.
      for (let i = 0; i < units; i++) {
        await Promise.resolve(ask(client)).catch((refusal: unknown) => {
          if (refusal instanceof Error) throw refusal
        })
      }
    },
  }
}
