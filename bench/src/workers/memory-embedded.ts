import { createRequire } from 'node:module'
import { createBouncer } from '@api-bouncer/limiter'
import { MemoryStore as ExpressMemoryStore } from 'express-rate-limit'
import { address, loadInside, storePolicy, withLimit } from '../ours.ts'

const { RateLimiterMemory } = createRequire(import.meta.url)(
  'rate-limiter-flexible',
) as typeof import('rate-limiter-flexible')

export interface Args {
  /** An algorithm of ours, `bouncer` (everything) or a peer. */
  readonly contender: string
}

export interface Calls {
  /** Bytes of heap and buffers that `clients` clients of `units` units each hold on to. */
  bytes(clients: number, units: number): Promise<number>
}

const LIMIT = 100

/** A function that takes one unit of a client, on a store that is held for as long as the function is. */
async function limiterOf(contender: string): Promise<(client: string) => unknown> {
  if (contender === 'express-rate-limit') {
    const store = new ExpressMemoryStore()
    store.init({ windowMs: 60_000 } as never)
    return client => store.increment(client)
  }
  if (contender === 'rate-limiter-flexible') {
    const limiter = new RateLimiterMemory({ points: LIMIT, duration: 60 })
    return client => limiter.consume(client)
  }
  if (contender === 'bouncer') {
    const bouncer = createBouncer(withLimit(LIMIT))
    return client =>
      bouncer.check({ peer: { headers: {}, socket: { remoteAddress: client } } as never, method: 'GET', path: '/' })
  }
  const inside = await loadInside()
  const policy = storePolicy(inside, LIMIT, contender)
  const store = new inside.MemoryStore()
  return client => store.check({ client, policy, cost: 1, route: 'GET /', penalise: true })
}

async function held(): Promise<number> {
  for (let i = 0; i < 3; i++) {
    globalThis.gc?.()
    await new Promise(resolve => setImmediate(resolve))
  }
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

export default async function start({ contender }: Args): Promise<Calls> {
  const limiter = await limiterOf(contender)
  await limiter('192.0.2.1')
  return {
    async bytes(clients, units) {
      const before = await held()
      for (let i = 0; i < clients; i++) {
        const client = address(i)
        for (let unit = 0; unit < units; unit++) await limiter(client)
      }
      const after = await held()
      // Still held here, or the collector would have had it.
      await limiter('192.0.2.1')
      return after - before
    },
  }
}
