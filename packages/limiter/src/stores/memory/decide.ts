import type { Algorithm, Limit } from '../../algorithms/index.ts'
import type { LimitVerdict } from '../../contracts/index.ts'
import type { CompiledPolicy } from '../../policies/table.ts'
import type { Counters } from './counters.ts'

const toMs = (us: number) => Math.ceil(us / 1000)

/** Whether a request fits: no limit asks it to wait. */
export function fits(limits: readonly LimitVerdict[]): boolean {
  for (let i = 0; i < limits.length; i++) if (limits[i]?.retryAfterMs !== 0) return false
  return true
}

/**
 * All limits of a policy or none, by the reference algorithms; charges them when all allow. Returns what each says about this
 * request when it is refused, about the next one after a charge. On the hot path: a state is looked up once, and nothing is
 * allocated but the answer.
 */
export function decide(policy: CompiledPolicy, counters: Counters, now: number, cost: number): LimitVerdict[] {
  const { algorithm, limits } = policy
  const only = limits[0]
  if (limits.length !== 1 || only === undefined) return decideAll(policy, counters, now, cost)
  const known = counters.get(only.counter)
  if (cost > only.maxCost || (known !== undefined && algorithm.available(known, only, now) < cost)) {
    return [verdictOf(algorithm, known, only, now, cost)]
  }
  const state = known ?? freshIn(counters, algorithm, only, now)
  return [charge(algorithm, state, only, now, cost)]
}

/** What `decide` would say about the limits, without charging. */
export function measure(policy: CompiledPolicy, counters: Counters, now: number, cost: number): LimitVerdict[] {
  const { algorithm, limits } = policy
  const only = limits[0]
  // A flood of a blocked client comes this way: no closure, no walk.
  if (limits.length === 1 && only) return [verdictOf(algorithm, counters.get(only.counter), only, now, cost)]
  return limits.map(limit => verdictOf(algorithm, counters.get(limit.counter), limit, now, cost))
}

function decideAll(policy: CompiledPolicy, counters: Counters, now: number, cost: number): LimitVerdict[] {
  const { algorithm, limits } = policy
  const has = (limit: Limit) => {
    const state = counters.get(limit.counter)
    return state === undefined || algorithm.available(state, limit, now) >= cost
  }
  if (cost > policy.maxCost || !limits.every(has)) return measure(policy, counters, now, cost)
  const states = limits.map(limit => counters.get(limit.counter) ?? freshIn(counters, algorithm, limit, now))
  return limits.map((limit, i) => charge(algorithm, states[i], limit, now, cost))
}

function freshIn(counters: Counters, algorithm: Algorithm, limit: Limit, now: number): unknown {
  const state = algorithm.fresh(limit, now)
  counters.set(limit.counter, state)
  return state
}

const resetOf = (algorithm: Algorithm, state: unknown, limit: Limit, now: number, remaining: number) =>
  remaining >= limit.capacity ? 0 : toMs(algorithm.wait(state, limit, now, remaining + 1))

/** Takes the units; what is left for the next request. */
function charge(algorithm: Algorithm, state: unknown, limit: Limit, now: number, cost: number): LimitVerdict {
  const remaining = algorithm.take(state, limit, now, cost)
  const resetAfterMs = resetOf(algorithm, state, limit, now, remaining)
  return { limit: limit.capacity, windowMs: limit.windowMs, remaining, resetAfterMs, retryAfterMs: 0 }
}

function verdictOf(algorithm: Algorithm, state: unknown, limit: Limit, now: number, cost: number): LimitVerdict {
  const { capacity, windowMs } = limit
  const remaining = state === undefined ? capacity : algorithm.available(state, limit, now)
  const resetAfterMs = resetOf(algorithm, state, limit, now, remaining)
  if (cost > limit.maxCost) return { limit: capacity, windowMs, remaining, resetAfterMs }
  if (remaining >= cost) return { limit: capacity, windowMs, remaining, resetAfterMs, retryAfterMs: 0 }
  const retryAfterMs = cost === remaining + 1 ? resetAfterMs : toMs(algorithm.wait(state, limit, now, cost))
  return { limit: capacity, windowMs, remaining, resetAfterMs, retryAfterMs }
}
