import type { Algorithm } from '../algorithm.ts'

/** The log: a ring of the times at which units were taken, oldest first. Grows with use, never beyond what was taken. */
export class Log {
  private ring = new Float64Array(4)
  private head = 0
  size = 0

  at(index: number): number {
    return this.ring[(this.head + index) & (this.ring.length - 1)] as number
  }

  push(time: number): void {
    if (this.size === this.ring.length) this.resize(this.size * 2)
    this.ring[(this.head + this.size++) & (this.ring.length - 1)] = time
  }

  /** Drops what is older than `time`. */
  expire(time: number): void {
    while (this.size > 0 && this.at(0) < time) {
      this.head = (this.head + 1) & (this.ring.length - 1)
      this.size--
    }
    if (this.size === 0 && this.ring.length > 64) this.resize(4)
  }

  /** Drops up to `count` entries that equal `time`, newest first. */
  remove(time: number, count: number): number {
    const kept: number[] = []
    let removed = 0
    for (let i = this.size - 1; i >= 0; i--) {
      const entry = this.at(i)
      if (entry === time && removed < count) removed++
      else kept.push(entry)
    }
    this.size = 0
    for (const entry of kept.reverse()) this.push(entry)
    return removed
  }

  private resize(length: number): void {
    const ring = new Float64Array(length)
    for (let i = 0; i < this.size; i++) ring[i] = this.at(i)
    this.ring = ring
    this.head = 0
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
    return now
  },
  refund(log, { windowUs }, now, cost, stamp) {
    log.expire(now - windowUs)
    return log.remove(stamp, cost)
  },
  wait(log, { limit, windowUs }, now, cost) {
    log.expire(now - windowUs)
    const mustLeave = log.size + cost - limit
    return mustLeave <= 0 ? 0 : log.at(mustLeave - 1) + windowUs + 1 - now
  },
  fullAfter: (log, { windowUs }, now) => (log.size === 0 ? 0 : Math.max(0, log.at(log.size - 1) + windowUs + 1 - now)),
}
