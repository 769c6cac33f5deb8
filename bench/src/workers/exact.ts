import { inFlight, random } from '../harness.ts'
import { loadInside, openRedisStore } from '../ours.ts'

export interface Args {
  readonly redis: { readonly host: string; readonly port: number } | { readonly cluster: string[] }
  /** How far this process's clock is off, ms. */
  readonly skewMs: number
  readonly policies: readonly object[]
  readonly clients: number
  readonly seed: number
}

export interface Calls {
  /** Asks so many times, many at once; answers when units were taken, by policy and client, µs of the store's clock, and how often each policy refused. */
  run(decisions: number): Promise<{ taken: Record<string, number[]>; refused: number[] }>
}

/** One of several processes that share a store and whose clocks differ: asks at random, and tells all that it was allowed. */
export default async function start({ redis, skewMs, policies, clients, seed }: Args): Promise<Calls> {
  // Before the limiter is loaded: no part of it may keep the true clock.
  const now = Date.now
  Date.now = () => now() + skewMs
  Object.defineProperty(performance, 'timeOrigin', { value: performance.timeOrigin + skewMs })
  const { compilePolicy } = await loadInside()
  const store = await openRedisStore(redis)
  const compiled = policies.map(policy =>
    compilePolicy({ match: ['*'], cost: 1, mode: 'enforce', ...policy }, undefined, {
      algorithm: 'sliding_window',
      failMode: 'open',
    }),
  )
  const chance = random(seed)
  return {
    async run(decisions) {
      const taken: Record<string, number[]> = {}
      const refused = compiled.map(() => 0)
      await inFlight(
        async () => {
          const [p, client] = [Math.floor(chance() * compiled.length), `c${Math.floor(chance() * clients)}`]
          const check = { client, policy: compiled[p], cost: 1, route: '', penalise: false }
          const { taken: was, now } = await store.check(check)
          if (!was) refused[p] = (refused[p] as number) + 1
          else {
            const key = `${p} ${client}`
            taken[key] ??= []
            taken[key].push(now)
          }
        },
        64,
        decisions,
      )
      return { taken, refused }
    },
  }
}
