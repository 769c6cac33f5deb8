import type { Algorithm } from '../algorithm.ts'

/** The log: the times at which units were taken, oldest first; what has expired is dropped from the front in bulk. */
export class Log {
  private times: number[] = []
  private head = 0

  get size(): number {
    return this.times.length - this.head
  }

  at(index: number): number {
    return this.times[this.head + index] as number
  }

  push(time: number): void {
    this.times.push(time)
  }

  /** Drops what is older than `time`. */
  expire(time: number): void {
    const { times } = this
    let { head } = this
    while (head < times.length && (times[head] as number) < time) head++
    if (head === this.head) return
    if (head === times.length) {
      this.times = []
      head = 0
    } else if (head >= 32 && head * 2 > times.length) {
      this.times = times.slice(head)
      head = 0
    }
    this.head = head
  }

  /** Drops up to `count` entries that equal `time`, newest first. */
  remove(time: number, count: number): number {
    const end = this.times.lastIndexOf(time) + 1
    let start = end
    while (start > this.head && end - start < count && this.times[start - 1] === time) start--
    this.times.splice(start, end - start)
    return end - start
  }
}

/** Exact: fewer than `limit` units in the last `window`. A unit leaves when its age exceeds the window. */
export const slidingWindow: Algorithm<Log> = {
  id: 'sliding_window',
  bursts: false,
  fresh: () => new Log(),
  available(log, { limit, windowUs }, now) {
    log.expire(now - windowUs)
    return Math.max(0, limit - log.size)
  },
  take(log, _limit, now, cost) {
    for (let i = 0; i < cost; i++) log.push(now)
  },
  refund(log, { windowUs }, now, cost, takenAt) {
    log.expire(now - windowUs)
    return log.remove(takenAt, cost)
  },
  wait(log, { limit, windowUs }, now, cost) {
    log.expire(now - windowUs)
    const mustLeave = log.size + cost - limit
    return mustLeave <= 0 ? 0 : log.at(mustLeave - 1) + windowUs + 1 - now
  },
  fullAfter: (log, { windowUs }, now) => (log.size === 0 ? 0 : Math.max(0, log.at(log.size - 1) + windowUs + 1 - now)),
}
