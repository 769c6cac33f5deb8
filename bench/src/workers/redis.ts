import { createRequire } from 'node:module'
import { createBouncer } from '@api-bouncer/limiter'
import { Cluster, Redis } from 'ioredis'
import { RedisStore as RateLimitRedis } from 'rate-limit-redis'
import { type Cost, costOf, random } from '../harness.ts'
import { address, answering, limitsOf, loadInside, openRedisStore, redisOf, storePolicy, withLimit } from '../ours.ts'
import { fastifyLimiter, fastifyRequestOf } from '../peers.ts'
import { ROUTE, requestOf } from './embedded.ts'

const { RateLimiterRedis, RateLimiterUnion } = createRequire(import.meta.url)(
  'rate-limiter-flexible',
) as typeof import('rate-limiter-flexible')

export type Contender =
  | 'ours'
  | 'ours, whole'
  | 'rate-limiter-flexible'
  | 'rate-limit-redis'
  | '@fastify/rate-limit'
  | 'PING'

/** What checks, and by what rule. */
export interface Setup {
  readonly contender: Contender
  /** Units a window and client. */
  readonly limit: number
  /** By default a minute. */
  readonly windowSeconds?: number
  /** So many limits in the policy; all but the first are wide. */
  readonly limits?: 1 | 3
  /** Of ours; the peers have one. */
  readonly algorithm?: string
}

export interface Args extends Setup {
  readonly redis: { readonly host: string; readonly port: number } | { readonly cluster: string[] }
}

/** What is checked. */
export interface Work {
  readonly clients: number
  /** Of each client, in random order that is the same for everyone. */
  readonly each: number
  readonly inFlight: number
  /** Only the first so many of these checks. */
  readonly count?: number
  readonly seed: number
}

export interface Figures extends Cost {
  /** What one check waited, ms. */
  readonly p50: number
  readonly p99: number
  readonly p999: number
  readonly count: number
}

export interface Calls {
  /** All must be allowed, by Redis. */
  run(work: Work): Promise<Figures>
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
  windowSeconds = 60,
  limits = 1,
  algorithm,
}: Args): Promise<{ ask: Asked; allowed: (answer: never) => boolean }> {
  switch (contender) {
    case 'ours': {
      const store = await openRedisStore(redis)
      const policy = storePolicy(await loadInside(), limitsOf(limit, `${windowSeconds}s`, limits), algorithm)
      const route = `GET ${ROUTE}`
      return {
        ask: client => store.check({ client, policy, cost: 1, route, penalise: true }),
        allowed: ({ outcome }: { outcome: string }) => outcome === 'allowed',
      }
    }
    case 'ours, whole': {
      const bouncer = createBouncer({ ...withLimit(limit, `${windowSeconds}s`), redis: redisOf(redis) })
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
      const storeClient = connectTo(redis)
      const limiter = (points: number, duration: number) =>
        new RateLimiterRedis({
          storeClient,
          points,
          duration,
          keyPrefix: `rlflx${duration === windowSeconds ? '' : duration}`,
        })
      const one = limiter(limit, windowSeconds)
      const all =
        limits === 1 ? one : new RateLimiterUnion(one, limiter(limit * 20, 7200), limiter(limit * 100, 86_400))
      return { ask: client => all.consume(client), allowed: () => true }
    }
    case 'rate-limit-redis': {
      const connection = connectTo(redis)
      const store = new RateLimitRedis({
        sendCommand: (command, ...args) => connection.call(command, ...args) as Promise<never>,
      })
      await store.init({ windowMs: windowSeconds * 1000 } as never)
      return {
        ask: client => store.increment(client),
        allowed: ({ totalHits }: { totalHits: number }) => totalHits <= limit,
      }
    }
    case '@fastify/rate-limit': {
      const store = connectTo(redis)
      const limiter = await fastifyLimiter({ max: limit, timeWindow: windowSeconds * 1000, redis: store })
      return {
        ask: client => limiter(fastifyRequestOf(client)),
        allowed: (answer: { isExceeded?: boolean }) => answer.isExceeded === false,
      }
    }
    case 'PING': {
      const connection = connectTo(redis)
      return { ask: () => connection.ping(), allowed: (answer: string) => answer === 'PONG' }
    }
  }
}

/** Each of so many clients so many times, in an order that is the same for everyone. */
function order({ clients, each, count = clients * each, seed }: Work): Uint32Array {
  const sequence = Uint32Array.from({ length: clients * each }, (_, i) => i % clients)
  const next = random(seed)
  for (let i = 0; i < count; i++) {
    const j = i + Math.floor(next() * (sequence.length - i))
    const held = sequence[i] as number
    sequence[i] = sequence[j] as number
    sequence[j] = held
  }
  return sequence.subarray(0, count)
}

export default async function start(args: Args): Promise<Calls> {
  const { ask, allowed } = await checkOf(args)
  const ips: string[] = []
  return {
    async run(work) {
      for (let i = ips.length; i < work.clients; i++) ips.push(address(i))
      const sequence = order(work)
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
        await Promise.all(Array.from({ length: work.inFlight }, lane))
      })
      waited.sort()
      const percentile = (p: number) => waited[Math.floor((waited.length * p) / 100)] as number
      return { ...cost, count: waited.length, p50: percentile(50), p99: percentile(99), p999: percentile(99.9) }
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
