import type { Algorithm, Limit } from '../algorithm.ts'

export interface Gcra {
  /** Theoretical arrival time, µs: when the client's allowance is whole again. */
  tat: number
}

/** Half a microsecond: forgives the rounding of doubles near 2^51. Same number in the Lua. */
const EPSILON = 0.5

const interval = ({ windowUs, limit }: Limit) => windowUs / limit
const debt = (state: Gcra, now: number) => Math.max(0, state.tat - now)

/**
 * Generic Cell Rate Algorithm (ITU-T I.371): a token bucket kept as one time. A unit costs window/limit of time; at most
 * capacity × that may be owed.
 */
export const gcra: Algorithm<Gcra> = {
  id: 'gcra',
  bursts: true,
  fresh: (_limit, now) => ({ tat: now }),
  available(state, limit, now) {
    const step = interval(limit)
    const room = limit.capacity * step - debt(state, now) + EPSILON
    return Math.min(limit.capacity, Math.max(0, Math.floor(room / step)))
  },
  take(state, limit, now, cost) {
    state.tat = Math.max(state.tat, now) + cost * interval(limit)
    return now
  },
  refund(state, limit, now, cost) {
    const owed = debt(state, now)
    const back = Math.min(owed, cost * interval(limit))
    state.tat -= back
    return Math.round(back / interval(limit))
  },
  wait(state, limit, now, cost) {
    const step = interval(limit)
    const wait = debt(state, now) - (limit.capacity - cost) * step
    return wait <= EPSILON ? 0 : Math.ceil(wait)
  },
  fullAfter: (state, limit, now) => gcra.wait(state, limit, now, limit.capacity),
}
