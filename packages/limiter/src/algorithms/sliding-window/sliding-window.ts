import type { Algorithm } from '../algorithm.ts'
import { Log } from './log.ts'

/** Exact: fewer than `limit` units in the last `window`. A unit leaves when its age exceeds the window. */
export const slidingWindow: Algorithm<Log> = {
  id: 'sliding_window',
  bursts: false,
  fresh: ({ limit, windowUs }, _now, free = () => new Log()) => free().begin(limit, windowUs),
  available(log, { limit, windowUs }, now) {
    log.expire(now - windowUs)
    return Math.max(0, limit - log.size)
  },
  take(log, limit, now, cost) {
    log.expire(now - limit.windowUs)
    return cost === 1 ? log.addOne(now, limit.limit) : log.add(now, cost, limit.limit)
  },
  refund(log, { windowUs }, now, cost, takenAt) {
    log.expire(now - windowUs)
    return log.remove(takenAt, cost)
  },
  wait(log, { limit, windowUs }, now, cost) {
    // Whoever has left and is still in the log would have to leave as well, and has.
    const mustLeave = log.size + cost - limit
    return mustLeave <= 0 ? 0 : Math.max(0, log.at(mustLeave - 1) + windowUs + 1 - now)
  },
  next: (log, limit, now) => log.at(0) + limit.windowUs + 1 - now,
  fullAfter: (log, { windowUs }, now) => (log.size === 0 ? 0 : Math.max(0, log.at(log.size - 1) + windowUs + 1 - now)),
  fullWithin: ({ windowUs }) => windowUs + 1,
}
