import type { Algorithm, Limit } from '../../algorithms/index.ts'
import type { LimitVerdict } from '../../contracts/index.ts'
import type { CompiledPolicy } from '../../policies/table.ts'
import type { Counters } from './counters.ts'

/** Rounded up: for half an hour in integers, which V8 divides by a multiplication. */
export const toMs = (us: number) => (us < 2 ** 31 - 1000 ? (((us | 0) + 999) / 1000) | 0 : Math.ceil(us / 1000))

/** Whether a request fits. */
export const fits = (limits: readonly LimitVerdict[]): boolean => limits.every(({ retryAfterMs }) => retryAfterMs === 0)

/** What the limits of a policy say about a request, without charging. */
export function measure(
  policy: CompiledPolicy,
  counters: Counters | undefined,
  now: number,
  cost: number,
): LimitVerdict[] {
  const { algorithm, limits, only } = policy
  // A flood of a blocked client comes this way: no closure, no walk.
  if (only) return [verdictOf(algorithm, counters?.get(only), only, now, cost)]
  return limits.map(limit => verdictOf(algorithm, counters?.get(limit), limit, now, cost))
}

/**
 * Charges all limits of a policy, by the reference algorithms, and returns what each says about the next request; undefined, and
 * charges none, where one of them does not allow this one.
 */
export function takeAll(
  policy: CompiledPolicy,
  counters: Counters,
  now: number,
  cost: number,
): LimitVerdict[] | undefined {
  const { algorithm, limits } = policy
  const has = (limit: Limit) => {
    const state = counters.get(limit)
    return state === undefined || algorithm.available(state, limit, now) >= cost
  }
  if (cost > policy.maxCost || !limits.every(has)) return undefined
  const states = limits.map(limit => counters.get(limit) ?? counters.start(algorithm, limit, now))
  const left = limits.map((limit, i) => algorithm.take(states[i], limit, now, cost))
  // `next` is of something taken.
  if (cost === 0) return measure(policy, counters, now, 0)
  return limits.map((limit, i) => taken(algorithm, states[i], limit, now, left[i] as number))
}

/** What a limit says about the next request, once units were taken and so many are left. */
function taken(algorithm: Algorithm, state: unknown, limit: Limit, now: number, remaining: number): LimitVerdict {
  const resetAfterMs = toMs(algorithm.next(state, limit, now, remaining))
  return { limit: limit.capacity, windowMs: limit.windowMs, remaining, resetAfterMs, retryAfterMs: 0 }
}

function verdictOf(algorithm: Algorithm, state: unknown, limit: Limit, now: number, cost: number): LimitVerdict {
  const { capacity, windowMs } = limit
  const remaining = state === undefined ? capacity : algorithm.available(state, limit, now)
  const resetAfterMs = remaining >= capacity ? 0 : toMs(algorithm.wait(state, limit, now, remaining + 1))
  if (cost > limit.maxCost) return { limit: capacity, windowMs, remaining, resetAfterMs }
  if (remaining >= cost) return { limit: capacity, windowMs, remaining, resetAfterMs, retryAfterMs: 0 }
  const retryAfterMs = cost === remaining + 1 ? resetAfterMs : toMs(algorithm.wait(state, limit, now, cost))
  return { limit: capacity, windowMs, remaining, resetAfterMs, retryAfterMs }
}
