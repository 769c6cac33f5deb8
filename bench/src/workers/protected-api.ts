import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { createServer, type IncomingMessage } from 'node:http'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Bouncer, RedisOptions } from '@api-bouncer/limiter'
import * as present from '@api-bouncer/limiter'
import express, { type ErrorRequestHandler, type RequestHandler } from 'express'
import { rateLimit } from 'express-rate-limit'
import { Cluster, Redis } from 'ioredis'
import { RedisStore } from 'rate-limit-redis'
import { held } from '../harness.ts'
import { flexible } from '../peers.ts'
import type { Args, Calls } from '../reliability/apis.ts'
import { LagWatch } from '../reliability/lag.ts'

const { RateLimiterMemory, RateLimiterRedis } = createRequire(import.meta.url)(
  'rate-limiter-flexible',
) as typeof import('rate-limiter-flexible')

const HOUR_MS = 3_600_000

const endpoint = (text: string) => {
  const [host = '', port] = text.split(':')
  return { host, port: Number(port) }
}

/** A peer's connection, with ioredis's own settings unless the peer's documentation has others. */
function connect({ host, port, password, cluster, sentinels, sentinelName }: RedisOptions, more = {}): Redis | Cluster {
  const options = { ...(password !== undefined && { password }), ...more }
  const client = cluster
    ? new Cluster(cluster.map(endpoint), { redisOptions: options, ...more })
    : sentinels
      ? new Redis({ ...options, sentinels: sentinels.map(endpoint), name: sentinelName as string })
      : new Redis({ ...options, host: host as string, port: port as number })
  return client.on('error', () => {})
}

const lines: string[] = []
const note = (line: string) => void lines.push(line)

async function limiterOf({
  api,
  redis,
  limit,
  options,
  limiter,
}: Args): Promise<{ use: RequestHandler; bouncer?: Bouncer }> {
  switch (api) {
    case 'ours, open':
    case 'ours, local':
    case 'ours, embedded': {
      const failMode = api === 'ours, local' ? 'local' : 'open'
      const { createBouncer }: typeof present = limiter === undefined ? present : await import(limiter)
      const bouncer = createBouncer({
        ...(api !== 'ours, embedded' && { redis }),
        policies: [
          { id: 'default', match: '*', limits: [{ limit, window: '1h' }], failMode },
          { id: 'strict', match: '/strict', limits: [{ limit: 1, window: '1h' }], failMode },
        ],
        logger: { info: note, warn: note, error: note },
        ...options,
      })
      return { use: bouncer.express(), bouncer }
    }
    case 'express-rate-limit': {
      const connection = connect(redis)
      const sendCommand = (command: string, ...args: string[]) => connection.call(command, ...args) as Promise<never>
      return {
        use: rateLimit({
          limit,
          windowMs: HOUR_MS,
          standardHeaders: 'draft-8',
          legacyHeaders: true,
          passOnStoreError: true,
          store: new RedisStore({ sendCommand }),
        }),
      }
    }
    case 'rate-limiter-flexible': {
      const counted = { points: limit, duration: HOUR_MS / 1000 }
      const insuranceLimiter = new RateLimiterMemory(counted)
      const storeClient = connect(redis, { enableOfflineQueue: false })
      const limiter = new RateLimiterRedis({ ...counted, storeClient, insuranceLimiter })
      return { use: (req, res, next) => void flexible(limiter, limit, req, res, next) }
    }
  }
}

/** An Express application that a limiter on Redis protects; it says in `x-outcome` what ours decided. */
export default async function start(args: Args): Promise<Calls> {
  const lag = new LagWatch()
  const unhandled: string[] = []
  process.on('unhandledRejection', error => unhandled.push(String(error)))
  const app = express()
  app.set('trust proxy', 'loopback')
  const { use, bouncer } = await limiterOf(args)
  app.use((req, res, next) => {
    const writeHead = res.writeHead.bind(res) as (...args: unknown[]) => typeof res
    res.writeHead = (...args: unknown[]) => {
      if (req.bouncer) res.setHeader('x-outcome', req.bouncer.outcome)
      return writeHead(...args)
    }
    next()
  })
  app.use(use)
  app.get('/*path', (_, res) => void res.json({ items: [1, 2, 3], total: 3 }))
  app.use(express.json(), (_, res) => void res.json({}))
  // A body that breaks off is its sender's affair.
  app.use(((_error, _req, res, _next) => void res.status(400).end()) as ErrorRequestHandler)
  const server = createServer(app).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: () => (server.address() as AddressInfo).port,
    lag: () => lag.take(),
    unhandled: () => unhandled,
    files: () => readdirSync('/proc/self/fd').length,
    async offend(clients, each) {
      for (let i = 0; i < clients; i++) {
        const headers = { 'x-forwarded-for': `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}` }
        const peer = { socket: { remoteAddress: '127.0.0.1' }, headers } as unknown as IncomingMessage
        for (let n = 0; n < each; n++) await bouncer?.check({ method: 'GET', path: '/api/data', peer })
        // Others have their turn.
        if (i % 10 === 0) await nextTurn()
      }
    },
    operate: (what, ...args) => (bouncer?.control[what] as (...args: unknown[]) => unknown)?.(...args),
    close: async () => bouncer?.close(),
    heap: held,
    log: () => lines,
  }
}
