import { once } from 'node:events'
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { type Bouncer, createBouncer } from '@api-bouncer/limiter'
import express, { type RequestHandler } from 'express'
import { rateLimit } from 'express-rate-limit'
import { Redis } from 'ioredis'
import { RedisStore } from 'rate-limit-redis'
import { answering, redisOf, withLimit } from '../ours.ts'
import { fastifyApp, flexible } from './embedded.ts'

const { RateLimiterMemory, RateLimiterRedis } = createRequire(import.meta.url)(
  'rate-limiter-flexible',
) as typeof import('rate-limiter-flexible')

export type Contender =
  | 'bare Express'
  | 'ours'
  | 'ours, in front'
  | 'express-rate-limit'
  | 'rate-limiter-flexible'
  | 'bare Fastify'
  | '@fastify/rate-limit'

export interface Args {
  readonly contender: Contender
  /** Units an hour and client: no window ends while it is measured. */
  readonly limit: number
  /** Counts are kept there; without it, in the process. */
  readonly redis?: { readonly host: string; readonly port: number }
}

export interface Calls {
  port(): number
  /** Requests that ours answered without its store. */
  degraded(): number
}

async function expressLimiterOf({
  contender,
  limit,
  redis,
}: Args): Promise<{ use?: RequestHandler; bouncer?: Bouncer }> {
  switch (contender) {
    case 'ours':
    case 'ours, in front': {
      const bouncer = createBouncer({ ...withLimit(limit, '1h'), ...(redis && { redis: redisOf(redis) }) })
      await answering(bouncer)
      return { use: bouncer.express(), bouncer }
    }
    case 'express-rate-limit': {
      const connection = redis && new Redis(redis)
      const store =
        connection &&
        new RedisStore({ sendCommand: (command, ...args) => connection.call(command, ...args) as Promise<never> })
      const windowMs = 3_600_000
      return {
        use: rateLimit({ limit, windowMs, standardHeaders: 'draft-8', legacyHeaders: true, ...(store && { store }) }),
      }
    }
    case 'rate-limiter-flexible': {
      const counted = { points: limit, duration: 3600 }
      const limiter = redis
        ? new RateLimiterRedis({ ...counted, storeClient: new Redis(redis) })
        : new RateLimiterMemory(counted)
      return { use: (req, res, next) => void flexible(limiter, limit, req, res, next) }
    }
    default:
      return {}
  }
}

const ANSWER = { items: [1, 2, 3], total: 3 }

async function serveFastify({ contender, limit, redis }: Args): Promise<Calls> {
  const limiter = { max: limit, timeWindow: 3_600_000, ...(redis && { redis: new Redis(redis) }) }
  const app = await fastifyApp(contender === 'bare Fastify' ? undefined : limiter)
  app.get('/api/data', async () => ANSWER)
  await app.listen({ port: 0, host: '127.0.0.1' })
  return { port: () => (app.server.address() as AddressInfo).port, degraded: () => 0 }
}

/** An application of Express or Fastify with one route and, in front of it, one limiter or none. */
export default async function start(args: Args): Promise<Calls> {
  if (args.contender === 'bare Fastify' || args.contender === '@fastify/rate-limit') return serveFastify(args)
  const app = express()
  const { use, bouncer } = await expressLimiterOf(args)
  const wrapped = args.contender === 'ours, in front' && bouncer?.wrap(app)
  if (use && !wrapped) app.use(use)
  app.get('/api/data', (_req, res) => void res.json(ANSWER))
  const server = createServer(wrapped || app).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { port: () => (server.address() as AddressInfo).port, degraded: () => bouncer?.totals().degraded ?? 0 }
}
