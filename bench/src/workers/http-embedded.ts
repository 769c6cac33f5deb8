import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Bouncer } from '@api-bouncer/limiter'
import express, { type RequestHandler } from 'express'
import { answering, redisOf, withLimit } from '../ours.ts'
import { fastifyApp, flexible } from '../peers.ts'

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

/** Each loads what it needs and no more: a bare server carries no limiter, and what one loads can slow down everything else. */
async function expressLimiterOf({
  contender,
  limit,
  redis,
}: Args): Promise<{ use?: RequestHandler; bouncer?: Bouncer }> {
  switch (contender) {
    case 'ours':
    case 'ours, in front': {
      const { createBouncer } = await import('@api-bouncer/limiter')
      const bouncer = createBouncer({ ...withLimit(limit, '1h'), ...(redis && { redis: redisOf(redis) }) })
      await answering(bouncer)
      return { use: bouncer.express(), bouncer }
    }
    case 'express-rate-limit': {
      const { rateLimit } = await import('express-rate-limit')
      const settings = { limit, windowMs: 3_600_000, standardHeaders: 'draft-8', legacyHeaders: true } as const
      if (!redis) return { use: rateLimit(settings) }
      const { RedisStore } = await import('rate-limit-redis')
      const connection = await connectionTo(redis)
      const store = new RedisStore({
        sendCommand: (command, ...args) => connection.call(command, ...args) as Promise<never>,
      })
      return { use: rateLimit({ ...settings, store }) }
    }
    case 'rate-limiter-flexible': {
      const { RateLimiterMemory, RateLimiterRedis } = (await import('rate-limiter-flexible')).default
      const counted = { points: limit, duration: 3600 }
      const limiter = redis
        ? new RateLimiterRedis({ ...counted, storeClient: await connectionTo(redis) })
        : new RateLimiterMemory(counted)
      return { use: (req, res, next) => void flexible(limiter, limit, req, res, next) }
    }
    default:
      return {}
  }
}

async function connectionTo(redis: NonNullable<Args['redis']>) {
  const { Redis } = await import('ioredis')
  return new Redis(redis)
}

const ANSWER = { items: [1, 2, 3], total: 3 }

async function serveFastify({ contender, limit, redis }: Args): Promise<Calls> {
  const limiter = { max: limit, timeWindow: 3_600_000, ...(redis && { redis: await connectionTo(redis) }) }
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
