/** Where a log's times lie: a part of an array that many logs share. */
interface Room {
  readonly times: Float64Array
  readonly start: number
  readonly size: number
}

/** How many times a shared array has room for, 64 kB; what takes an eighth of that has an array of its own. */
const SHARED = 8192
const OWN = SHARED / 8

const NONE: Room = { times: new Float64Array(0), start: 0, size: 0 }

/** Rooms that were left, by size, for the next log that wants one: no more memory is used than ever was at one time. */
const left = new Map<number, Room[]>()
let shared = NONE.times
let used = 0

function take(size: number): Room {
  const known = left.get(size)?.pop()
  if (known) return known
  if (size >= OWN) return { times: new Float64Array(size), start: 0, size }
  if (used + size > shared.length) {
    shared = new Float64Array(SHARED)
    used = 0
  }
  used += size
  return { times: shared, start: used - size, size }
}

function leave(room: Room): void {
  if (room.size === 0 || room.size >= OWN) return
  const known = left.get(room.size)
  if (known) known.push(room)
  else left.set(room.size, [room])
}

const FIRST = 16
const GROWTH = 8

/**
 * The times at which units were taken, epoch µs, oldest first: a ring that grows. In an array a log, on the collector's heap,
 * they would be moved twice and then let go; here they stay where they are until `clear`.
 */
export class Log {
  size = 0
  private times = NONE.times
  private start = 0
  private capacity = 0
  /** Where in its room the oldest is. */
  private head = 0

  /** An entry, 0 the oldest. */
  at(index: number): number {
    return this.times[this.place(index)] as number
  }

  /** Drops what is older than `time`. */
  expire(time: number): void {
    while (this.size > 0 && (this.times[this.start + this.head] as number) < time) {
      this.size--
      if (++this.head === this.capacity) this.head = 0
    }
  }

  /** Adds a time that is no earlier than the others, of which there will be `most` at most. */
  push(time: number, most: number): void {
    if (this.size === this.capacity) this.grow(most)
    this.times[this.place(this.size)] = time
    this.size++
  }

  /** Drops up to `count` entries that equal `time`, newest first; returns how many went. */
  remove(time: number, count: number): number {
    let end = this.size
    while (end > 0 && this.at(end - 1) > time) end--
    let from = end
    while (from > 0 && end - from < count && this.at(from - 1) === time) from--
    const gone = end - from
    for (let i = end; i < this.size; i++) this.times[this.place(i - gone)] = this.at(i)
    this.size -= gone
    return gone
  }

  /** Forgets all and leaves its room. */
  clear(): void {
    this.size = 0
    this.move(NONE)
  }

  private place(index: number): number {
    const place = this.head + index
    return this.start + (place < this.capacity ? place : place - this.capacity)
  }

  private grow(most: number): void {
    const next = this.capacity === 0 ? FIRST : this.capacity * GROWTH
    this.move(take(Math.max(this.size + 1, Math.min(next, most))))
  }

  private move(room: Room): void {
    const { times, start, capacity: size } = this
    for (let i = 0; i < this.size; i++) room.times[room.start + i] = this.at(i)
    leave({ times, start, size })
    this.times = room.times
    this.start = room.start
    this.capacity = room.size
    this.head = 0
  }
}
