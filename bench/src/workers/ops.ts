import { type Bouncer, createBouncer } from '@api-bouncer/limiter'
import { answering, redisOf } from '../ours.ts'
import { requestOf } from './embedded.ts'

export interface Args {
  readonly redis: { readonly host: string; readonly port: number }
  readonly instances: number
  /** Decisions a second of the whole fleet, all the while. */
  readonly load: number
}

export interface Calls {
  /** From the change that an operator makes to the moment at which the last instance decides by it, ms each. */
  policyChanges(rounds: number): Promise<number[]>
  /** From an unblock to the moment at which the last instance serves the client, ms each. */
  unblocks(rounds: number): Promise<number[]>
  /** A client breaks its limit: when (epoch ms). */
  violate(client: string): Promise<number>
}

const turn = () => new Promise(resolve => setTimeout(resolve, 1))

/** A fleet in one process, kept busy, whose operator measures how long a change takes to reach all of it. */
export default async function start({ redis, instances, load }: Args): Promise<Calls> {
  const fleet = Array.from({ length: instances }, (_, i) =>
    createBouncer({
      redis: redisOf(redis),
      instance: `api-${i + 1}`,
      logger: { info() {}, warn() {}, error() {} },
      policies: [{ id: 'strict', match: '/strict', limits: [{ limit: 1, window: '1d' }], penalty: false }],
    }),
  )
  await Promise.all(fleet.map(answering))
  const [first] = fleet as [Bouncer]
  const { control } = first
  const by = { by: 'bench' }
  // The control plane was there first, and has seeded a default that this load would break.
  await control.putPolicy({ id: 'default', match: '*', limits: [{ limit: 100_000, window: '1m' }] }, undefined, by)
  const ask = (bouncer: Bouncer, client: string, path = '/api/data') =>
    Promise.resolve(bouncer.check({ peer: requestOf(client) as never, method: 'GET', path }))
  let asked = 0
  setInterval(() => {
    for (let i = 0; i < load / 100; i++) void ask(fleet[asked++ % instances] as Bouncer, `10.2.0.${asked % 250}`)
  }, 10)
  /** Until it holds of every instance. */
  const all = async (holds: (bouncer: Bouncer) => boolean | Promise<boolean>) => {
    await Promise.all(
      fleet.map(async bouncer => {
        while (!(await holds(bouncer))) await turn()
      }),
    )
  }
  const times = async (rounds: number, one: (round: number) => Promise<number>) => {
    const took: number[] = []
    for (let round = 0; round < rounds; round++) took.push(await one(round))
    return took
  }
  return {
    policyChanges: rounds =>
      times(rounds, async round => {
        const limit = 1000 + round
        const started = performance.now()
        await control.putPolicy({ id: 'moving', match: '/moving', limits: [{ limit, window: '1m' }] }, undefined, by)
        await all(async bouncer => (await ask(bouncer, `10.3.0.${round % 250}`, '/moving')).limit === limit)
        return performance.now() - started
      }),
    unblocks: rounds =>
      times(rounds, async round => {
        const client = `10.4.${round >> 8}.${round & 255}`
        await control.block({ client, for: '1h' }, by)
        await all(async bouncer => (await ask(bouncer, client)).outcome === 'blocked')
        const started = performance.now()
        await control.unblock(client, {}, by)
        await all(async bouncer => (await ask(bouncer, client)).outcome === 'allowed')
        return performance.now() - started
      }),
    async violate(client) {
      const bouncer = fleet[asked % instances] as Bouncer
      while ((await ask(bouncer, client, '/strict')).outcome !== 'limited');
      return performance.timeOrigin + performance.now()
    },
  }
}
