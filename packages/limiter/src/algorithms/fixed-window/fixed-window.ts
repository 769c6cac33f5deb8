import type { Algorithm, Limit } from '../algorithm.ts'

export interface Window {
  /** When the window began, µs: with the first unit counted in it. */
  start: number
  count: number
}

const used = (state: Window, { windowUs }: Limit, now: number) => (now - state.start >= windowUs ? 0 : state.count)

/** At most `limit` units in a window that begins with its first request. Up to twice the limit across the edge of two. */
export const fixedWindow: Algorithm<Window> = {
  id: 'fixed_window',
  bursts: false,
  fresh: (_limit, now) => ({ start: now, count: 0 }),
  available: (state, limit, now) => Math.max(0, limit.limit - used(state, limit, now)),
  take(state, limit, now, cost) {
    if (used(state, limit, now) === 0) {
      state.start = now
      state.count = 0
    }
    const left = Math.max(0, limit.limit - state.count) - cost
    if (left < 0) return -1
    state.count += cost
    return left
  },
  refund(state, limit, now, cost, takenAt) {
    if (takenAt < state.start) return 0
    const back = Math.min(used(state, limit, now), cost)
    state.count -= back
    return back
  },
  wait(state, limit, now, cost) {
    return limit.limit - used(state, limit, now) >= cost ? 0 : state.start + limit.windowUs - now
  },
  next: (state, limit, now) => state.start + limit.windowUs - now,
  fullAfter: (state, limit, now) => (used(state, limit, now) === 0 ? 0 : state.start + limit.windowUs - now),
  fullWithin: ({ windowUs }) => windowUs,
}
