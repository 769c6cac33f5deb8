import type { Algorithm, Limit } from '../algorithm.ts'

export interface TwoBuckets {
  /** Start of the current bucket, µs; buckets are aligned to multiples of the window. */
  start: number
  current: number
  previous: number
}

/** Units, as a share of the limit: far below one, far above the rounding of doubles. Same number in the Lua. */
const SLACK = 1e-12

function roll(state: TwoBuckets, { windowUs }: Limit, now: number): TwoBuckets {
  const start = Math.floor(now / windowUs) * windowUs
  if (start > state.start) {
    state.previous = start === state.start + windowUs ? state.current : 0
    state.current = 0
    state.start = start
  }
  return state
}

/** Where in the current bucket `weight` × (what is left of the bucket) has fallen to `room`. */
const fallsTo = (weight: number, room: number, windowUs: number) => Math.ceil((windowUs * (weight - room)) / weight)

/**
 * The estimate of Cloudflare's "counting things": the previous bucket, weighted by how much of it still lies in the
 * window, plus the current one. Constant memory; assumes that the previous bucket's requests were evenly spread.
 */
export const slidingWindowCounter: Algorithm<TwoBuckets> = {
  id: 'sliding_window_counter',
  bursts: false,
  fresh: ({ windowUs }, now) => ({ start: Math.floor(now / windowUs) * windowUs, current: 0, previous: 0 }),
  available(state, limit, now) {
    const { start, current, previous } = roll(state, limit, now)
    const estimate = current + (previous * (limit.windowUs - (now - start))) / limit.windowUs
    return Math.max(0, Math.floor(limit.limit * (1 + SLACK) - estimate))
  },
  take(state, limit, now, cost) {
    if (slidingWindowCounter.available(state, limit, now) < cost) return -1
    state.current += cost
    return slidingWindowCounter.available(state, limit, now)
  },
  refund(state, limit, now, cost, takenAt) {
    roll(state, limit, now)
    const from = Math.floor(takenAt / limit.windowUs) * limit.windowUs
    const bucket = from === state.start ? 'current' : from === state.start - limit.windowUs ? 'previous' : undefined
    if (!bucket) return 0
    const back = Math.min(state[bucket], cost)
    state[bucket] -= back
    return back
  },
  wait(state, limit, now, cost) {
    if (slidingWindowCounter.available(state, limit, now) >= cost) return 0
    const { start, current, previous } = state
    const room = limit.limit - current - cost
    const elapsed = now - start
    if (room >= 0 && previous > 0) return fallsTo(previous, room, limit.windowUs) - elapsed
    // The current bucket alone leaves no room: wait until it has become the previous one and faded enough.
    return limit.windowUs - elapsed + Math.max(0, fallsTo(current, limit.limit - cost, limit.windowUs))
  },
  next: (state, limit, now, remaining) => slidingWindowCounter.wait(state, limit, now, remaining + 1),
  fullAfter(state, limit, now) {
    const { start, current, previous } = roll(state, limit, now)
    if (current > 0) return start + 2 * limit.windowUs - now
    return previous > 0 ? start + limit.windowUs - now : 0
  },
  fullWithin: ({ windowUs }) => 2 * windowUs,
}
