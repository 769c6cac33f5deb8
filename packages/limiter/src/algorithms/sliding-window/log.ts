/** Times in a slab, 64 kB; a log that needs more has one of its own. */
const TIMES = 8192

/** An array whose parts, all of one size, are where logs keep their times. */
class Slab {
  readonly size: number
  readonly parts: number
  readonly times: Float64Array
  /** Where the parts begin that nobody has. */
  readonly free: number[]

  constructor(size: number) {
    this.size = size
    this.parts = size === 0 ? 0 : Math.max(1, Math.floor(TIMES / size))
    this.times = new Float64Array(this.parts * size)
    this.free = Array.from({ length: this.parts }, (_, i) => i * size)
  }
}

/** Slabs with parts that nobody has, by the size of a part. */
const open = new Map<number, Slab[]>()

function openOf(size: number): Slab[] {
  const known = open.get(size)
  if (known) return known
  const slabs: Slab[] = []
  open.set(size, slabs)
  return slabs
}

function takePart(size: number): { slab: Slab; start: number } {
  const slabs = openOf(size)
  if (slabs.length === 0) slabs.push(new Slab(size))
  const slab = slabs.at(-1) as Slab
  const start = slab.free.pop() as number
  if (slab.free.length === 0) slabs.pop()
  return { slab, start }
}

function leavePart(slab: Slab, start: number): void {
  const slabs = openOf(slab.size)
  if (slab.free.push(start) === 1) slabs.push(slab)
  // Nobody is left in it; one is kept for who comes next.
  if (slab.free.length === slab.parts && slabs.length > 1) slabs.splice(slabs.indexOf(slab), 1)
}

const FIRST = 16
const GROWTH = 8
const NONE = new Slab(0)

/**
 * The times at which units were taken, epoch µs, oldest first: a ring that grows. In an array a log, on the collector's heap,
 * they would be moved twice and then let go; here they stay where they are until `clear`.
 */
export class Log {
  size = 0
  /** The first of them, here too: a check looks at no other, and seldom has to fetch it. */
  private oldest = Number.POSITIVE_INFINITY
  /** Where its part of the slab begins. */
  private start = 0
  /** Where in its part the oldest is. */
  private head = 0
  private slab = NONE

  /** There will be `most` at most. */
  constructor(most: number) {
    this.grow(most)
  }

  /** An entry, 0 the oldest. */
  at(index: number): number {
    return index === 0 ? this.oldest : (this.slab.times[this.place(index)] as number)
  }

  /** Drops what is older than `time`. */
  expire(time: number): void {
    if (this.oldest < time) this.drop(time)
  }

  /** Adds a time that is no earlier than the others, of which there will be `most` at most. */
  push(time: number, most: number): void {
    if (this.size === this.slab.size) this.grow(most)
    if (this.size === 0) this.oldest = time
    this.slab.times[this.place(this.size)] = time
    this.size++
  }

  /** Drops up to `count` entries that equal `time`, newest first; returns how many went. */
  remove(time: number, count: number): number {
    let end = this.size
    while (end > 0 && this.at(end - 1) > time) end--
    let from = end
    while (from > 0 && end - from < count && this.at(from - 1) === time) from--
    const gone = end - from
    const { times } = this.slab
    for (let i = end; i < this.size; i++) times[this.place(i - gone)] = times[this.place(i)] as number
    this.size -= gone
    this.setOldest()
    return gone
  }

  /** Forgets all and leaves its place to others. */
  clear(): void {
    if (this.slab !== NONE) leavePart(this.slab, this.start)
    this.slab = NONE
    this.start = 0
    this.head = 0
    this.size = 0
    this.setOldest()
  }

  private drop(time: number): void {
    const { times, size } = this.slab
    while (this.size > 0 && (times[this.start + this.head] as number) < time) {
      this.size--
      if (++this.head === size) this.head = 0
    }
    this.setOldest()
  }

  private setOldest(): void {
    this.oldest = this.size === 0 ? Number.POSITIVE_INFINITY : (this.slab.times[this.start + this.head] as number)
  }

  private place(index: number): number {
    const place = this.head + index
    const { size } = this.slab
    return this.start + (place < size ? place : place - size)
  }

  private grow(most: number): void {
    const next = this.slab.size === 0 ? FIRST : this.slab.size * GROWTH
    const { slab, start } = takePart(Math.max(this.size + 1, Math.min(next, most)))
    for (let i = 0; i < this.size; i++) slab.times[start + i] = this.at(i)
    if (this.slab !== NONE) leavePart(this.slab, this.start)
    this.slab = slab
    this.start = start
    this.head = 0
  }
}
