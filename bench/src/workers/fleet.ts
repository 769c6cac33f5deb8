import { type Bouncer, createBouncer } from '@api-bouncer/limiter'
import { answering, redisOf } from '../ours.ts'
import { requestOf } from './embedded.ts'

export interface Args {
  readonly redis: { readonly host: string; readonly port: number }
  readonly instances: number
  /** Of the whole fleet, a second. */
  readonly decisions: number
  readonly violations: number
}

export interface Calls {
  /** Decisions and refusals since the last call, a second. */
  made(): Promise<{ decisions: number; violations: number }>
  /** So many clients are blocked for an hour. */
  block(count: number): Promise<void>
}

const TICK_MS = 20

/** A whole fleet in one process: real instances on one Redis, kept busy. Their frames and events are what the page shows. */
export default async function start({ redis, instances, decisions, violations }: Args): Promise<Calls> {
  const fleet: Bouncer[] = []
  for (let i = 0; i < instances; i++) {
    const bouncer = createBouncer({
      redis: redisOf(redis),
      instance: `api-${i + 1}`,
      logger: { info() {}, warn() {}, error() {} },
      policies: [
        // Everybody here is over the limit all the time, and never blocked: a violation a request.
        {
          id: 'abused',
          match: ['/abused'],
          limits: [{ limit: 1, window: '1d' }],
          penalty: { threshold: 1000, window: '1s' },
        },
      ],
    })
    await answering(bouncer)
    fleet.push(bouncer)
  }
  // The control plane was there first, and has seeded a default that this load would break.
  const everyone = { id: 'default', match: ['*'], limits: [{ limit: 100_000, window: '1m' }] }
  await (fleet[0] as Bouncer).control.putPolicy(everyone, undefined, { by: 'bench' })
  const peers = Array.from({ length: 2000 }, (_, i) => requestOf(`10.1.${i >> 8}.${i & 255}`) as never)
  const share = violations / decisions
  let [done, refused, turn, owed] = [0, 0, 0, 0]
  let last = performance.now()
  let since = last
  setInterval(() => {
    const now = performance.now()
    owed = Math.min(decisions / 5, owed + ((now - last) / 1000) * decisions)
    last = now
    for (; owed >= 1; owed--) {
      const path = (turn * share) % 1 < share ? '/abused' : '/api/data'
      const bouncer = fleet[turn % instances] as Bouncer
      void Promise.resolve(bouncer.check({ peer: peers[turn++ % peers.length] as never, method: 'GET', path })).then(
        ({ outcome }) => {
          done++
          if (outcome === 'limited') refused++
        },
      )
    }
  }, TICK_MS)
  return {
    async made() {
      const seconds = (performance.now() - since) / 1000
      const rates = { decisions: done / seconds, violations: refused / seconds }
      done = refused = 0
      since = performance.now()
      return rates
    },
    async block(count) {
      const { control } = fleet[0] as Bouncer
      const waiting = Array.from({ length: count }, (_, i) => `172.${16 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}`)
      const lane = async () => {
        for (let client = waiting.pop(); client !== undefined; client = waiting.pop()) {
          await control.block({ client, for: '1h', reason: 'bench' }, { by: 'bench' })
        }
      }
      await Promise.all(Array.from({ length: 32 }, lane))
    },
  }
}
