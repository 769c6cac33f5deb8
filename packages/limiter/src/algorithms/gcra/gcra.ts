import type { Algorithm, Limit } from '../algorithm.ts'

export interface Gcra {
  /** Theoretical arrival time, whole µs: when the client's allowance is whole again. */
  tat: number
  /** The fraction of a µs beyond `tat`: near 2^51 a double holds quarters only, and 1,000,000 per 100 ms owes tenths. */
  part: number
}

/** Units, as a share of the capacity: far below one, far above the rounding of doubles. Same number in the Lua. */
const SLACK = 1e-12

const interval = ({ windowUs, limit }: Limit) => windowUs / limit

function owe(state: Gcra, now: number, us: number): void {
  const whole = Math.floor(us)
  state.tat = now + whole
  state.part = us - whole
}

/** A lowered limit or burst clamps what was owed under the old one, for good: else the client would wait in vain. */
function debt(state: Gcra, limit: Limit, now: number): number {
  const most = limit.capacity * interval(limit)
  const owed = state.tat - now + state.part
  if (owed > most) owe(state, now, most)
  return Math.min(most, Math.max(0, owed))
}

/**
 * Generic Cell Rate Algorithm (ITU-T I.371): a token bucket kept as one time. A unit costs window/limit of time; at most
 * capacity × that may be owed.
 */
export const gcra: Algorithm<Gcra> = {
  id: 'gcra',
  bursts: true,
  fresh: (_limit, now) => ({ tat: now, part: 0 }),
  available(state, limit, now) {
    const room = limit.capacity * (1 + SLACK) - debt(state, limit, now) / interval(limit)
    return Math.max(0, Math.floor(room))
  },
  take(state, limit, now, cost) {
    if (gcra.available(state, limit, now) < cost) return -1
    owe(state, now, debt(state, limit, now) + cost * interval(limit))
    return gcra.available(state, limit, now)
  },
  refund(state, limit, now, cost) {
    const owed = debt(state, limit, now)
    const back = Math.min(owed, cost * interval(limit))
    owe(state, now, owed - back)
    return Math.round(back / interval(limit))
  },
  wait(state, limit, now, cost) {
    // Half the slack, so that whoever waits this long is surely admitted.
    const may = (limit.capacity * (1 + SLACK / 2) - cost) * interval(limit)
    return Math.max(0, Math.ceil(debt(state, limit, now) - may))
  },
  next: (state, limit, now, remaining) => gcra.wait(state, limit, now, remaining + 1),
  fullAfter: (state, limit, now) => gcra.wait(state, limit, now, limit.capacity),
  fullWithin: ({ capacity, limit, windowUs }) => Math.ceil((capacity * windowUs) / limit),
}
