import type { Algorithm } from '../algorithm.ts'

/**
 * The times at which units were taken, oldest first, in one array: a further object a client is a further cache miss a check.
 * The first element says where the oldest is; what has expired is dropped from the front in bulk.
 */
export type Log = number[]

export const emptyLog = (): Log => [1]

/** How many entries there are. */
export const sizeOf = (log: Log): number => log.length - (log[0] as number)

/** An entry, 0 the oldest. */
export const entryAt = (log: Log, index: number): number => log[(log[0] as number) + index] as number

/** Drops what is older than `time`. */
export function expire(log: Log, time: number): void {
  let head = log[0] as number
  if (head >= log.length || (log[head] as number) >= time) return
  do head++
  while (head < log.length && (log[head] as number) < time)
  if (head === log.length) {
    log.length = 1
    head = 1
  } else if (head > 32 && head * 2 > log.length) {
    log.splice(1, head - 1)
    head = 1
  }
  log[0] = head
}

/** Drops up to `count` entries that equal `time`, newest first; returns how many went. */
export function remove(log: Log, time: number, count: number): number {
  const head = log[0] as number
  const end = log.lastIndexOf(time) + 1
  let start = end
  while (start > head && end - start < count && log[start - 1] === time) start--
  log.splice(start, end - start)
  return end - start
}

/** Exact: fewer than `limit` units in the last `window`. A unit leaves when its age exceeds the window. */
export const slidingWindow: Algorithm<Log> = {
  id: 'sliding_window',
  bursts: false,
  fresh: emptyLog,
  available(log, { limit, windowUs }, now) {
    expire(log, now - windowUs)
    return Math.max(0, limit - sizeOf(log))
  },
  take(log, { limit }, now, cost) {
    for (let i = 0; i < cost; i++) log.push(now)
    return Math.max(0, limit - sizeOf(log))
  },
  refund(log, { windowUs }, now, cost, takenAt) {
    expire(log, now - windowUs)
    return remove(log, takenAt, cost)
  },
  wait(log, { limit, windowUs }, now, cost) {
    expire(log, now - windowUs)
    const mustLeave = sizeOf(log) + cost - limit
    return mustLeave <= 0 ? 0 : entryAt(log, mustLeave - 1) + windowUs + 1 - now
  },
  fullAfter: (log, { windowUs }, now) =>
    sizeOf(log) === 0 ? 0 : Math.max(0, (log[log.length - 1] as number) + windowUs + 1 - now),
  fullWithin: ({ windowUs }) => windowUs + 1,
}
