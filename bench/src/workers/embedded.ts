import { createRequire } from 'node:module'
import { createBouncer } from '@api-bouncer/limiter'
import { MemoryStore, rateLimit } from 'express-rate-limit'
import { type Cost, costOf, inFlight, random } from '../harness.ts'
import { address, loadInside, withLimit } from '../ours.ts'

const { RateLimiterMemory } = createRequire(import.meta.url)(
  'rate-limiter-flexible',
) as typeof import('rate-limiter-flexible')

export type Contender =
  | 'ours'
  | 'ours, never blocking'
  | 'our store'
  | 'express-rate-limit'
  | 'rate-limiter-flexible'
  | 'our middleware'
  | "express-rate-limit's middleware"
  | "rate-limiter-flexible's middleware"

export interface Args {
  readonly contender: Contender
  readonly clients: number
  /** Units a minute and client. */
  readonly limit: number
  readonly seed: number
}

export interface Calls {
  run(count: number): Promise<Cost>
}

const ROUTE = '/api/data'

/** As much of a request and a response as a limiter looks at. */
const requestOf = (ip: string) => ({
  ip,
  method: 'GET',
  url: ROUTE,
  originalUrl: ROUTE,
  headers: { host: 'api.example.com', 'user-agent': 'bench', accept: '*/*' },
  socket: { remoteAddress: ip },
  app: { get: () => false },
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

async function checkOf(contender: Contender, ips: readonly string[], limit: number): Promise<(k: number) => unknown> {
  const maxClients = Math.max(100_000, ips.length)
  const requests = ips.map(requestOf)
  const request = (k: number) => requests[k] as never
  const next = () => {}
  switch (contender) {
    case 'ours':
    case 'ours, never blocking': {
      const bouncer = createBouncer({
        ...withLimit(limit),
        maxClients,
        ...(contender === 'ours, never blocking' && { penalty: false }),
      })
      return k => bouncer.check({ peer: request(k), method: 'GET', path: ROUTE })
    }
    case 'our store': {
      const { MemoryStore, compilePolicy, compilePenalty } = await loadInside()
      const policy = compilePolicy(
        { id: 'default', match: ['*'], limits: [{ limit, window: '1m' }], cost: 1, mode: 'enforce' },
        compilePenalty({ threshold: 5, window: '5m', block: ['15m'], memory: '1d' }),
        { algorithm: 'sliding_window', failMode: 'open' },
      )
      const store = new MemoryStore({ maxClients })
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
    case 'our middleware': {
      const middleware = createBouncer({ ...withLimit(limit), maxClients }).express()
      return k => middleware(request(k), response as never, next)
    }
    case "express-rate-limit's middleware": {
      const middleware = rateLimit({ limit, windowMs: 60_000, standardHeaders: 'draft-8', legacyHeaders: true })
      return k => middleware(request(k), response as never, next)
    }
    case "rate-limiter-flexible's middleware": {
      const limiter = new RateLimiterMemory({ points: limit, duration: 60 })
      return k => flexible(limiter, limit, requests[k] as { ip: string }, response, next)
    }
  }
}

interface Response {
  set(headers: object): unknown
  status(code: number): { send(body: string): unknown }
}

/** The middleware of rate-limiter-flexible's own documentation, with the headers that its wiki recommends. */
export const flexible = (
  limiter: InstanceType<typeof RateLimiterMemory>,
  limit: number,
  { ip }: { ip?: string | undefined },
  res: Response,
  next: () => void,
): Promise<void> => {
  const tell = ({ msBeforeNext, remainingPoints }: { msBeforeNext: number; remainingPoints: number }) =>
    res.set({
      'Retry-After': String(msBeforeNext / 1000),
      'X-RateLimit-Limit': String(limit),
      'X-RateLimit-Remaining': String(remainingPoints),
      'X-RateLimit-Reset': String(Math.ceil((Date.now() + msBeforeNext) / 1000)),
    })
  return limiter.consume(ip as string).then(
    answer => {
      tell(answer)
      next()
    },
    refusal => {
      tell(refusal)
      res.status(429).send('Too Many Requests')
    },
  )
}

/** A lone client is another one every so many checks: an exact log of a minute at full speed would be no one's traffic. */
const LONE = 10_000

export default async function start({ contender, clients, limit, seed }: Args): Promise<Calls> {
  const ips = Array.from({ length: clients === 1 ? 4096 : clients }, (_, i) => address(i))
  const check = await checkOf(contender, ips, limit)
  const next = random(seed)
  const order = Uint32Array.from({ length: 1 << 18 }, () => Math.floor(next() * clients))
  let lone = 0
  const one = () => check(Math.floor(lone++ / LONE) % ips.length)
  const many = (i: number) => check(order[i & (order.length - 1)] as number)
  return { run: count => costOf(() => inFlight(clients === 1 ? one : many, 1, count)) }
}
