import { once } from 'node:events'
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { createBouncer } from '@api-bouncer/limiter'
import express, { type RequestHandler } from 'express'
import { rateLimit } from 'express-rate-limit'
import { withLimit } from '../ours.ts'
import { flexible } from './embedded.ts'

const { RateLimiterMemory } = createRequire(import.meta.url)(
  'rate-limiter-flexible',
) as typeof import('rate-limiter-flexible')

export type Contender = 'bare Express' | 'ours' | 'express-rate-limit' | 'rate-limiter-flexible'

export interface Args {
  readonly contender: Contender
  /** Units an hour and client: no window ends while it is measured. */
  readonly limit: number
}

export interface Calls {
  port(): number
}

function limiterOf(contender: Contender, limit: number): RequestHandler | undefined {
  switch (contender) {
    case 'bare Express':
      return undefined
    case 'ours':
      return createBouncer(withLimit(limit, '1h')).express()
    case 'express-rate-limit':
      return rateLimit({ limit, windowMs: 3_600_000, standardHeaders: 'draft-8', legacyHeaders: true })
    case 'rate-limiter-flexible': {
      const limiter = new RateLimiterMemory({ points: limit, duration: 3600 })
      return (req, res, next) => void flexible(limiter, limit, req, res, next)
    }
  }
}

/** An Express application with one route and, in front of it, one limiter or none. */
export default async function start({ contender, limit }: Args): Promise<Calls> {
  const app = express()
  const limiter = limiterOf(contender, limit)
  if (limiter) app.use(limiter)
  app.get('/api/data', (_req, res) => void res.json({ items: [1, 2, 3], total: 3 }))
  const server = createServer(app).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { port: () => (server.address() as AddressInfo).port }
}
