import { PART_MASK, type Slab, Slabs } from './slabs.ts'

/** Times within less than so many µs (71 minutes) of the oldest are known by their last 32 bits. */
const SHORT_US = 2 ** 32

const FIRST = 16
const GROWTH = 8

// A log's numbers, four bytes each, and the first of its times, eight bytes.
/** In eight bytes: from the first time, whole, the others are known by their last bits, and a check looks at no other. */
const OLDEST = 0
const SIZE = 2
/** Which slab, and where in it its part begins. 0 without one. */
const PART = 3
/** Where in its part the oldest is. */
const HEAD = 4
/** So many numbers of four bytes are a log. */
export const LOG_WORDS = 5

/** The same bytes, as integers and as floating-point numbers. */
export interface Memory {
  readonly words: Int32Array
  readonly doubles: Float64Array
}

/** So many words, an even number, all 0. */
export function memoryOf(words: number): Memory {
  const buffer = new ArrayBuffer(words * Int32Array.BYTES_PER_ELEMENT)
  return { words: new Int32Array(buffer), doubles: new Float64Array(buffer) }
}

/**
 * The times at which units were taken, epoch µs, oldest first: a ring that grows. Between `begin` and `end` it has a place for
 * them. What else is known of it stands in an array from `first` on, maybe among others' numbers: side by side these are one line of
 * memory to wait for, where an object and its fields are several.
 */
export class Log {
  protected words: Int32Array
  protected doubles: Float64Array
  /** Even. */
  protected first: number
  protected readonly slabs: Slabs

  constructor(slabs = new Slabs(), { words, doubles }: Memory = memoryOf(LOG_WORDS + 1), first = 0) {
    this.words = words
    this.doubles = doubles
    this.first = first
    this.slabs = slabs
  }

  /** There will be `most` at most (at least 1), none of them `windowUs` older than the newest. */
  begin(most: number, windowUs: number): this {
    this.grow(0, most, windowUs >= SHORT_US)
    return this
  }

  /** Has not begun, or has ended. */
  get isFree(): boolean {
    return this.words[this.first + PART] === 0
  }

  /** An entry, 0 the oldest. */
  at(index: number): number {
    return index === 0 ? this.oldest : this.timeAt(this.place(index))
  }

  /** Drops what is older than `time`. */
  expire(time: number): void {
    if (this.oldest < time) this.drop(time)
  }

  /**
   * Adds a time that is no earlier than the others, `count` times, if there are no more than `most` then, and there never will be.
   * Returns how many more there might be; -1 where nothing was added.
   */
  add(time: number, count: number, most: number): number {
    const { size } = this
    const left = Math.max(0, most - size) - count
    if (left < 0) return -1
    if (size === 0) this.oldest = time
    for (let index = size; index < size + count; index++) this.put(index, time, most)
    this.size = size + count
    return left
  }

  /** The same as `add` of one: nearly every request, and short enough for V8 to put in place. */
  addOne(time: number, most: number): number {
    const { words, first } = this
    const size = words[first + SIZE] as number
    if (size >= most) return -1
    const part = words[first + PART] as number
    const slab = this.slabs.of(part)
    if (size === 0 || size === slab.size) return this.add(time, 1, most)
    const place = (words[first + HEAD] as number) + size
    slab.times[(part & PART_MASK) + (place < slab.size ? place : place - slab.size)] = time
    words[first + SIZE] = size + 1
    return most - size - 1
  }

  /** Drops up to `count` entries that equal `time`, newest first; returns how many went. */
  remove(time: number, count: number): number {
    const { size, slab } = this
    let end = size
    while (end > 0 && this.at(end - 1) > time) end--
    let from = end
    while (from > 0 && end - from < count && this.at(from - 1) === time) from--
    const gone = end - from
    for (let i = end; i < size; i++) slab.times[this.place(i - gone)] = slab.times[this.place(i)] as number
    this.size = size - gone
    this.setOldest()
    return gone
  }

  /** Forgets all and leaves its place to others. */
  end(): void {
    if (!this.isFree) this.slabs.leave(this.part)
    this.part = 0
    this.head = 0
    this.size = 0
  }

  private put(index: number, time: number, most: number): void {
    let { part } = this
    let slab = this.slabs.of(part)
    if (index === slab.size) {
      part = this.grow(index, most, slab.long)
      slab = this.slabs.of(part)
    }
    const place = this.head + index
    // A Uint32Array keeps the last 32 bits of it.
    slab.times[(part & PART_MASK) + (place < slab.size ? place : place - slab.size)] = time
  }

  private drop(time: number): void {
    while (this.size > 0 && this.oldest < time) {
      const head = this.head + 1
      this.head = head === this.slab.size ? 0 : head
      this.size--
      this.setOldest()
    }
  }

  private setOldest(): void {
    if (this.size > 0) this.oldest = this.timeAt(this.place(0))
  }

  private timeAt(place: number): number {
    const { times, long } = this.slab
    const kept = times[place] as number
    return long ? kept : this.oldest + ((kept - this.oldest) >>> 0)
  }

  private place(index: number): number {
    const place = this.head + index
    const { size } = this.slab
    return (this.part & PART_MASK) + (place < size ? place : place - size)
  }

  /** Takes a larger part for `size` times and those to come; returns it. */
  private grow(size: number, most: number, long: boolean): number {
    const { part: from, slab } = this
    const next = slab.size === 0 ? FIRST : slab.size * GROWTH
    const part = this.slabs.take(Math.max(size + 1, Math.min(next, most)), long)
    const { times } = this.slabs.of(part)
    const to = part & PART_MASK
    const start = from & PART_MASK
    for (let i = 0, at = this.head; i < size; i++) {
      times[to + i] = slab.times[start + at] as number
      if (++at === slab.size) at = 0
    }
    if (from !== 0) this.slabs.leave(from)
    this.part = part
    this.head = 0
    return part
  }

  // V8 puts in place whatever is as short as these.

  get size(): number {
    return this.words[this.first + SIZE] as number
  }

  private set size(size: number) {
    this.words[this.first + SIZE] = size
  }

  private get oldest(): number {
    return this.doubles[(this.first >> 1) + OLDEST] as number
  }

  private set oldest(time: number) {
    this.doubles[(this.first >> 1) + OLDEST] = time
  }

  private get slab(): Slab {
    return this.slabs.of(this.part)
  }

  private get part(): number {
    return this.words[this.first + PART] as number
  }

  private set part(part: number) {
    this.words[this.first + PART] = part
  }

  private get head(): number {
    return this.words[this.first + HEAD] as number
  }

  private set head(place: number) {
    this.words[this.first + HEAD] = place
  }
}
