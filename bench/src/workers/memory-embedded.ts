import { createRequire } from 'node:module'
import { createBouncer } from '@api-bouncer/limiter'
import { MemoryStore as ExpressMemoryStore } from 'express-rate-limit'
import { Redis } from 'ioredis'
import { RedisStore } from 'rate-limit-redis'
import { held, inFlight } from '../harness.ts'
import { address, answering, limitsOf, loadInside, redisOf, storePolicy, withLimit } from '../ours.ts'
import { fastifyLimiter, fastifyRequestOf } from '../peers.ts'

const { RateLimiterMemory, RateLimiterRedis } = createRequire(import.meta.url)(
  'rate-limiter-flexible',
) as typeof import('rate-limiter-flexible')

export interface Args {
  /** An algorithm of ours, `bouncer` (everything) or a peer. */
  readonly contender: string
  /** Of those that have a bound, the bound is as many. */
  readonly clients: number
  /** Counts are kept there (`bouncer` and the peers); without it, in the process. */
  readonly redis?: { readonly host: string; readonly port: number }
}

export interface Calls {
  /** Bytes of heap and buffers that the clients hold on to, after so many units each. */
  bytes(units: number): Promise<number>
}

const LIMIT = 100

/** A function that takes one unit of a client, on a store that is held for as long as the function is. */
async function limiterOf({ contender, clients, redis }: Args): Promise<(client: string) => unknown> {
  switch (contender) {
    case 'express-rate-limit': {
      const connection = redis && new Redis(redis)
      const store = connection
        ? new RedisStore({ sendCommand: (command, ...args) => connection.call(command, ...args) as Promise<never> })
        : new ExpressMemoryStore()
      store.init({ windowMs: 60_000 } as never)
      return client => store.increment(client)
    }
    case 'rate-limiter-flexible': {
      const counted = { points: LIMIT, duration: 60 }
      const limiter = redis
        ? new RateLimiterRedis({ ...counted, storeClient: new Redis(redis) })
        : new RateLimiterMemory(counted)
      return client => limiter.consume(client)
    }
    case '@fastify/rate-limit': {
      const store = redis ? { redis: new Redis(redis) } : { cache: clients + 1 }
      const limiter = await fastifyLimiter({ max: LIMIT, timeWindow: 60_000, ...store })
      return client => limiter(fastifyRequestOf(client))
    }
    case 'bouncer': {
      const store = redis ? { redis: redisOf(redis) } : { maxClients: Math.max(100_000, clients + 1) }
      const bouncer = createBouncer({ ...withLimit(LIMIT), ...store })
      await answering(bouncer)
      return client =>
        bouncer.check({ peer: { headers: {}, socket: { remoteAddress: client } } as never, method: 'GET', path: '/' })
    }
    default: {
      const inside = await loadInside()
      const policy = storePolicy(inside, limitsOf(LIMIT), contender)
      const store = new inside.MemoryStore()
      return client => store.check({ client, policy, cost: 1, route: 'GET /', penalise: true })
    }
  }
}

export default async function start(args: Args): Promise<Calls> {
  const limiter = await limiterOf(args)
  await limiter('192.0.2.1')
  return {
    async bytes(units) {
      const before = await held()
      await inFlight(i => limiter(address(Math.floor(i / units))), args.redis ? 256 : 1, args.clients * units)
      const after = await held()
      // Still held here, or the collector would have had it.
      await limiter('192.0.2.1')
      return after - before
    },
  }
}
