import type { Algorithm, Limit } from '../../algorithms/index.ts'
import type { LimitVerdict } from '../../contracts/index.ts'
import type { CompiledPolicy } from '../../policies/table.ts'
import type { Counters } from './counters.ts'

const toMs = (us: number) => Math.ceil(us / 1000)

const asksNoWait = ({ retryAfterMs }: LimitVerdict) => retryAfterMs === 0

/** Whether a request fits. Nearly every policy has one limit, and then nothing is called for each. */
export const fits = (limits: readonly LimitVerdict[]): boolean =>
  limits.length === 1 ? asksNoWait(limits[0] as LimitVerdict) : limits.every(asksNoWait)

/**
 * All limits of a policy or none, by the reference algorithms; charges them when all allow. Returns what each says about this
 * request when it is refused, about the next one after a charge. On the hot path: a state is looked up once, and nothing is
 * allocated but the answer.
 */
export function decide(policy: CompiledPolicy, counters: Counters, now: number, cost: number): LimitVerdict[] {
  const { algorithm, limits } = policy
  const only = limits[0] as Limit
  if (limits.length !== 1 || cost > only.maxCost) return decideAll(policy, counters, now, cost)
  const state = counters.get(only) ?? counters.start(algorithm, only, now)
  const remaining = algorithm.take(state, only, now, cost)
  return [remaining < 0 ? verdictOf(algorithm, state, only, now, cost) : taken(algorithm, state, only, now, remaining)]
}

/** What `decide` would say about the limits, without charging. */
export function measure(
  policy: CompiledPolicy,
  counters: Counters | undefined,
  now: number,
  cost: number,
): LimitVerdict[] {
  const { algorithm, limits } = policy
  const only = limits[0]
  // A flood of a blocked client comes this way: no closure, no walk.
  if (limits.length === 1 && only) return [verdictOf(algorithm, counters?.get(only), only, now, cost)]
  return limits.map(limit => verdictOf(algorithm, counters?.get(limit), limit, now, cost))
}

function decideAll(policy: CompiledPolicy, counters: Counters, now: number, cost: number): LimitVerdict[] {
  const { algorithm, limits } = policy
  const has = (limit: Limit) => {
    const state = counters.get(limit)
    return state === undefined || algorithm.available(state, limit, now) >= cost
  }
  if (cost > policy.maxCost || !limits.every(has)) return measure(policy, counters, now, cost)
  const states = limits.map(limit => counters.get(limit) ?? counters.start(algorithm, limit, now))
  return limits.map((limit, i) => taken(algorithm, states[i], limit, now, algorithm.take(states[i], limit, now, cost)))
}

const resetOf = (algorithm: Algorithm, state: unknown, limit: Limit, now: number, remaining: number) =>
  remaining >= limit.capacity ? 0 : toMs(algorithm.wait(state, limit, now, remaining + 1))

/** What is left for the next request, once units were taken. */
function taken(algorithm: Algorithm, state: unknown, limit: Limit, now: number, remaining: number): LimitVerdict {
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
