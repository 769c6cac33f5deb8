import type { Algorithm, Limit } from '../../algorithms/index.ts'
import type { LimitVerdict } from '../../contracts/index.ts'
import type { CompiledPolicy } from '../../policies/table.ts'
import type { Counters } from './counters.ts'

export interface Decided {
  /** What each limit says about a further request; after a charge, about the next one. */
  readonly limits: LimitVerdict[]
  /** One a limit, for a refund; absent when refused. */
  readonly stamps: number[] | undefined
}

const toMs = (us: number) => Math.ceil(us / 1000)

/**
 * All limits of a policy or none, by the reference algorithms; charges them when all allow. On the hot path: a state is
 * looked up once, and nothing is allocated but the answer.
 */
export function decide(policy: CompiledPolicy, counters: Counters, now: number, cost: number): Decided {
  const { algorithm, limits } = policy
  const only = limits[0]
  if (limits.length !== 1 || only === undefined) return decideAll(policy, counters, now, cost)
  const known = counters.get(only.counter)
  if (cost > only.maxCost || (known !== undefined && algorithm.available(known, only, now) < cost)) {
    return { limits: [verdictOf(algorithm, known, only, now, cost, false)], stamps: undefined }
  }
  const state = known ?? freshIn(counters, algorithm, only, now)
  const stamps = [algorithm.take(state, only, now, cost)]
  return { limits: [verdictOf(algorithm, state, only, now, cost, true)], stamps }
}

/** What `decide` would say about the limits, without charging. */
export function measure(policy: CompiledPolicy, counters: Counters, now: number, cost: number): LimitVerdict[] {
  const { algorithm, limits } = policy
  return limits.map(limit => verdictOf(algorithm, counters.get(limit.counter), limit, now, cost, false))
}

function decideAll(policy: CompiledPolicy, counters: Counters, now: number, cost: number): Decided {
  const { algorithm, limits } = policy
  const fits = (limit: Limit) => {
    const state = counters.get(limit.counter)
    return state === undefined || algorithm.available(state, limit, now) >= cost
  }
  if (cost > policy.maxCost || !limits.every(fits)) {
    return { limits: measure(policy, counters, now, cost), stamps: undefined }
  }
  const states = limits.map(limit => counters.get(limit.counter) ?? freshIn(counters, algorithm, limit, now))
  const stamps = limits.map((limit, i) => algorithm.take(states[i], limit, now, cost))
  return { limits: limits.map((limit, i) => verdictOf(algorithm, states[i], limit, now, cost, true)), stamps }
}

function freshIn(counters: Counters, algorithm: Algorithm, limit: Limit, now: number): unknown {
  const state = algorithm.fresh(limit, now)
  counters.set(limit.counter, state)
  return state
}

function verdictOf(
  algorithm: Algorithm,
  state: unknown,
  limit: Limit,
  now: number,
  cost: number,
  charged: boolean,
): LimitVerdict {
  const { capacity, windowMs } = limit
  const remaining = state === undefined ? capacity : algorithm.available(state, limit, now)
  const resetAfterMs = remaining >= capacity ? 0 : toMs(algorithm.wait(state, limit, now, remaining + 1))
  if (cost > limit.maxCost) return { limit: capacity, windowMs, remaining, resetAfterMs }
  if (charged || remaining >= cost) return { limit: capacity, windowMs, remaining, resetAfterMs, retryAfterMs: 0 }
  const retryAfterMs = cost === remaining + 1 ? resetAfterMs : toMs(algorithm.wait(state, limit, now, cost))
  return { limit: capacity, windowMs, remaining, resetAfterMs, retryAfterMs }
}
