import type { LimitVerdict } from '../../contracts/index.ts'
import type { CompiledPolicy } from '../../policies/table.ts'

/** Counter states of one client, by Limit.counter. */
export type Counters = Map<string, unknown>

const toMs = (us: number) => Math.ceil(us / 1000)

/**
 * All limits of a policy or none, by the reference algorithms. `take` charges them when all allow. Returns the stamps
 * for a refund, or `undefined` when refused.
 */
export function charge(policy: CompiledPolicy, counters: Counters, now: number, cost: number): number[] | undefined {
  const { algorithm, limits } = policy
  if (cost > policy.maxCost) return undefined
  for (const limit of limits) {
    const state = counters.get(limit.counter)
    if (state !== undefined && algorithm.available(state, limit, now) < cost) return undefined
  }
  const stamps: number[] = []
  for (const limit of limits) {
    let state = counters.get(limit.counter)
    if (state === undefined) {
      state = algorithm.fresh(limit, now)
      counters.set(limit.counter, state)
    }
    stamps.push(algorithm.take(state, limit, now, cost))
  }
  return stamps
}

/** What each limit says now about a further request of `cost`; after a charge, about the next one. */
export function measure(
  policy: CompiledPolicy,
  counters: Counters,
  now: number,
  cost: number,
  charged: boolean,
): LimitVerdict[] {
  const { algorithm, limits } = policy
  return limits.map(limit => {
    const state = counters.get(limit.counter)
    const { capacity, windowMs } = limit
    if (state === undefined) {
      const full = { limit: capacity, windowMs, remaining: capacity, resetAfterMs: 0 }
      return cost > limit.maxCost ? full : { ...full, retryAfterMs: 0 }
    }
    const remaining = algorithm.available(state, limit, now)
    const resetAfterMs = remaining >= capacity ? 0 : toMs(algorithm.wait(state, limit, now, remaining + 1))
    if (cost > limit.maxCost) return { limit: capacity, windowMs, remaining, resetAfterMs }
    if (charged || remaining >= cost) return { limit: capacity, windowMs, remaining, resetAfterMs, retryAfterMs: 0 }
    const retryAfterMs = cost === remaining + 1 ? resetAfterMs : toMs(algorithm.wait(state, limit, now, cost))
    return { limit: capacity, windowMs, remaining, resetAfterMs, retryAfterMs }
  })
}
