/** Bytes of a slab; a log that needs more has one of its own. */
const BYTES = 65_536

/** Times within less than so many µs (71 minutes) of the oldest are known by their last 32 bits. */
const SHORT_US = 2 ** 32

/** Slabs of one kind. */
class Room {
  slabs = 0
  /** Those with parts that nobody has. */
  readonly open: Slab[] = []
  readonly size: number
  readonly long: boolean

  constructor(size: number, long: boolean) {
    this.size = size
    this.long = long
  }
}

/** An array whose parts, all of one size, are where logs keep their times: whole, or the last 32 bits of them. */
class Slab {
  readonly room: Room
  readonly size: number
  readonly parts: number
  readonly times: Float64Array | Uint32Array
  /** Where the parts begin that nobody has. */
  readonly free: number[]

  constructor(room: Room) {
    const { size } = room
    const Times = room.long ? Float64Array : Uint32Array
    this.room = room
    room.slabs++
    this.size = size
    this.parts = size === 0 ? 0 : Math.max(1, Math.floor(BYTES / Times.BYTES_PER_ELEMENT / size))
    this.times = new Times(this.parts * size)
    this.free = Array.from({ length: this.parts }, (_, i) => i * size)
  }
}

const rooms = new Map<number, Room>()
/** The size of a part, negative where times are whole. */
const keyOf = (size: number, long: boolean) => (long ? -size : size)

/** So many slabs that nobody is in are kept for who comes next, the last ones: there may have been many limits, a kind each. */
const SPARE = 4
const spare = new Set<Slab>()

function roomOf(size: number, long: boolean): Room {
  const key = keyOf(size, long)
  const known = rooms.get(key)
  if (known) return known
  const room = new Room(size, long)
  rooms.set(key, room)
  return room
}

function takePart(room: Room): { slab: Slab; start: number } {
  const { open } = room
  if (open.length === 0) open.push(new Slab(room))
  const slab = open.at(-1) as Slab
  const start = slab.free.pop() as number
  if (slab.free.length === 0) open.pop()
  return { slab, start }
}

function leavePart(slab: Slab, start: number): void {
  const { open } = slab.room
  if (slab.free.push(start) === 1) open.push(slab)
  if (slab.free.length < slab.parts) return
  spare.delete(slab)
  spare.add(slab)
  const [first] = spare
  if (spare.size <= SPARE || !first) return
  spare.delete(first)
  // Somebody may have come since.
  if (first.free.length === first.parts) letGo(first)
}

function letGo(slab: Slab): void {
  const { room } = slab
  room.open.splice(room.open.indexOf(slab), 1)
  if (--room.slabs === 0) rooms.delete(keyOf(room.size, room.long))
}

const FIRST = 16
const GROWTH = 8
const NONE = new Slab(new Room(0, false))

/** The low part of a time, µs. */
const LOW = 2 ** 21

/**
 * The times at which units were taken, epoch µs, oldest first: a ring that grows. In an array a log, on the collector's heap,
 * they would be moved twice and then let go; here they stay where they are until `end`. Between `begin` and `end` it has a
 * place for them.
 */
export class Log {
  size = 0
  /**
   * The first of them, whole: from it the others are known by their last bits, and a check looks at no other. In two small
   * integers: V8 keeps other numbers in a place of their own, which is one more line of memory to wait for.
   */
  private oldestHigh = 0
  private oldestLow = 0
  /** Where its part of the slab begins. */
  private start = 0
  /** Where in its part the oldest is. */
  private head = 0
  private slab = NONE
  private long = false

  /** There will be `most` at most (at least 1), none of them `windowUs` older than the newest. */
  begin(most: number, windowUs: number): this {
    this.long = windowUs >= SHORT_US
    this.grow(most)
    return this
  }

  /** Has not begun, or has ended. */
  get isFree(): boolean {
    return this.slab === NONE
  }

  /** An entry, 0 the oldest. */
  at(index: number): number {
    return index === 0 ? this.oldest : this.timeAt(this.place(index))
  }

  /** Drops what is older than `time`. */
  expire(time: number): void {
    if (this.oldest < time) this.drop(time)
  }

  /** Adds a time that is no earlier than the others, of which there will be `most` at most. */
  push(time: number, most: number): void {
    if (this.size === this.slab.size) this.grow(most)
    if (this.size === 0) this.oldest = time
    // A Uint32Array keeps the last 32 bits of it.
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
  end(): void {
    if (!this.isFree) leavePart(this.slab, this.start)
    this.slab = NONE
    this.start = 0
    this.head = 0
    this.size = 0
  }

  private drop(time: number): void {
    while (this.size > 0 && this.oldest < time) {
      this.size--
      if (++this.head === this.slab.size) this.head = 0
      this.setOldest()
    }
  }

  private get oldest(): number {
    return this.oldestHigh * LOW + this.oldestLow
  }

  private set oldest(time: number) {
    this.oldestHigh = Math.floor(time / LOW)
    this.oldestLow = time - this.oldestHigh * LOW
  }

  private setOldest(): void {
    if (this.size > 0) this.oldest = this.timeAt(this.start + this.head)
  }

  private timeAt(place: number): number {
    const kept = this.slab.times[place] as number
    return this.long ? kept : this.oldest + ((kept - this.oldest) >>> 0)
  }

  private place(index: number): number {
    const place = this.head + index
    const { size } = this.slab
    return this.start + (place < size ? place : place - size)
  }

  private grow(most: number): void {
    const next = this.slab.size === 0 ? FIRST : this.slab.size * GROWTH
    const { slab, start } = takePart(roomOf(Math.max(this.size + 1, Math.min(next, most)), this.long))
    for (let i = 0; i < this.size; i++) slab.times[start + i] = this.slab.times[this.place(i)] as number
    if (!this.isFree) leavePart(this.slab, this.start)
    this.slab = slab
    this.start = start
    this.head = 0
  }
}
