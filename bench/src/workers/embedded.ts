import { createRequire } from 'node:module'
import { createBouncer } from '@api-bouncer/limiter'
import express from 'express'
import { MemoryStore, rateLimit } from 'express-rate-limit'
import { type Cost, costOf, inFlight, random } from '../harness.ts'
import { address, limitsOf, loadInside, storePolicy, withLimit } from '../ours.ts'
import { fastifyLimiter, fastifyRequestOf, flexible } from '../peers.ts'

const { RateLimiterMemory } = createRequire(import.meta.url)(
  'rate-limiter-flexible',
) as typeof import('rate-limiter-flexible')

export type Contender =
  | 'ours'
  | 'ours, never blocking'
  | 'our store'
  | 'our store, fixed_window'
  | 'express-rate-limit'
  | 'rate-limiter-flexible'
  | '@fastify/rate-limit'
  | 'our middleware'
  | 'our middleware, fixed_window'
  | "express-rate-limit's middleware"
  | "rate-limiter-flexible's middleware"

export interface Args {
  readonly contender: Contender
  readonly clients: number
  /** Units a minute and client. */
  readonly limit: number
  /** Whether a client that has used its limit up is replaced by a newcomer. */
  readonly replace: boolean
  readonly seed: number
}

export interface Calls {
  run(count: number): Promise<Cost>
}

export const ROUTE = '/api/data'

const app = express()

/** As much of a request and a response as a limiter looks at; `ip` is Express's own. */
export const requestOf = (ip: string) =>
  Object.assign(Object.create(app.request) as express.Request, {
    method: 'GET',
    url: ROUTE,
    originalUrl: ROUTE,
    headers: { host: 'api.example.com', 'user-agent': 'bench', accept: '*/*' },
    socket: { remoteAddress: ip },
    app,
  })
const response = {
  headersSent: false,
  destroyed: false,
  statusCode: 200,
  setHeader() {
    return this
  },
  getHeader: () => undefined,
  append() {
    return this
  },
  set() {
    return this
  },
  once() {
    return this
  },
  status() {
    return this
  },
  send() {
    return this
  },
  end() {
    return this
  },
}

/** Requests are few at a time and go when they are answered: kept one a client, they would hold what a limiter leaves on them. */
const UNDER_WAY = 64

/** The next request, from that client. */
function requestsFrom(ips: readonly string[]): (k: number) => never {
  const requests = Array.from({ length: UNDER_WAY }, () => {
    const socket = { remoteAddress: '' }
    return { request: Object.assign(requestOf(''), { socket }), socket }
  })
  let i = 0
  return k => {
    const { request, socket } = requests[i++ & (UNDER_WAY - 1)] as (typeof requests)[number]
    socket.remoteAddress = ips[k] as string
    return request as never
  }
}

async function checkOf(contender: Contender, ips: readonly string[], limit: number): Promise<(k: number) => unknown> {
  const request = requestsFrom(ips)
  const next = () => {}
  switch (contender) {
    case 'ours':
    case 'ours, never blocking': {
      const bouncer = createBouncer({
        ...withLimit(limit),
        maxClients: ADDRESSES,
        ...(contender === 'ours, never blocking' && { penalty: false }),
      })
      return k => bouncer.check({ peer: request(k), method: 'GET', path: ROUTE })
    }
    case 'our store':
    case 'our store, fixed_window': {
      const inside = await loadInside()
      const policy = storePolicy(inside, limitsOf(limit), contender === 'our store' ? undefined : 'fixed_window')
      const store = new inside.MemoryStore({ maxClients: ADDRESSES })
      const route = `GET ${ROUTE}`
      return k => store.check({ client: ips[k] as string, policy, cost: 1, route, penalise: true })
    }
    case 'express-rate-limit': {
      const store = new MemoryStore()
      store.init({ windowMs: 60_000 } as never)
      return k => store.increment(ips[k] as string)
    }
    case 'rate-limiter-flexible': {
      const limiter = new RateLimiterMemory({ points: limit, duration: 60 })
      return k => limiter.consume(ips[k] as string)
    }
    case '@fastify/rate-limit': {
      const asked = ips.map(fastifyRequestOf)
      const limiter = await fastifyLimiter({ max: limit, timeWindow: 60_000, cache: ips.length })
      return k => limiter(asked[k] as never)
    }
    case 'our middleware':
    case 'our middleware, fixed_window': {
      const algorithm = contender === 'our middleware' ? 'sliding_window' : 'fixed_window'
      const middleware = createBouncer({ ...withLimit(limit), maxClients: ADDRESSES, algorithm }).express()
      return k => middleware(request(k), response as never, next)
    }
    case "express-rate-limit's middleware": {
      const middleware = rateLimit({ limit, windowMs: 60_000, standardHeaders: 'draft-8', legacyHeaders: true })
      return k => middleware(request(k), response as never, next)
    }
    case "rate-limiter-flexible's middleware": {
      const limiter = new RateLimiterMemory({ points: limit, duration: 60 })
      return k => flexible(limiter, limit, request(k), response, next)
    }
  }
}

/** Addresses in store: with a hundred checks each, more than any run uses up. */
const ADDRESSES = 1 << 17

interface Traffic {
  /** The first requests, one client's after the other's: so many until the clients are in the midst of their turns. */
  readonly before: { readonly count: number; next(): number }
  next(): number
}

/**
 * Traffic of so many clients at a time, in random order. A client that has made `turns` requests is replaced by a newcomer, so
 * that a limit of `turns` refuses nobody; without `turns` the clients stay. It has been going on for a while: each client has made
 * some of its turns, at random how many (of 100,000 clients none more than 40: two million requests in all take long enough).
 */
function traffic(clients: number, turns: number | undefined, seed: number): Traffic {
  const next = random(seed)
  const order = Uint32Array.from({ length: 1 << 18 }, () => Math.floor(next() * clients))
  const who = Uint32Array.from({ length: clients }, (_, i) => i)
  const most = Math.min(turns ?? 0, 4_000_000 / clients)
  const made = Uint32Array.from({ length: clients }, () => Math.floor(next() * most))
  const sofar = Uint32Array.from(made)
  let place = 0
  let newcomer = clients
  let i = 0
  const first = () => {
    while (sofar[place] === 0) place++
    sofar[place] = (sofar[place] as number) - 1
    return place
  }
  return {
    before: { count: made.reduce((sum, turns) => sum + turns, 0), next: first },
    next: () => {
      const place = order[i++ & (order.length - 1)] as number
      if (turns !== undefined && ++(made[place] as number) > turns) {
        made[place] = 1
        who[place] = newcomer++ & (ADDRESSES - 1)
      }
      return who[place] as number
    },
  }
}

export default async function start({ contender, clients, limit, replace, seed }: Args): Promise<Calls> {
  const ips = Array.from({ length: ADDRESSES }, (_, i) => address(i))
  const check = await checkOf(contender, ips, limit)
  const { before, next } = traffic(clients, replace ? limit : undefined, seed)
  await inFlight(() => check(before.next()), 1, before.count)
  return { run: count => costOf(() => inFlight(() => check(next()), 1, count)) }
}
