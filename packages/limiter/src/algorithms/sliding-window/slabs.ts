/** Bytes of a slab; a log that needs more has one of its own. */
const BYTES = 65_536
/**
 * A part is known by one integer: the number of its slab and, in the last bits, where in that it begins. (Of a slab that is longer
 * the one part begins at 0.)
 */
const PART_BITS = 14
export const PART_MASK = 2 ** PART_BITS - 1

/** So many slabs that nobody is in are kept for who comes next, the last ones: there may have been many limits, a kind each. */
const SPARE = 4

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

/** An array whose parts, all of one size, are where logs keep their times: whole (`long`), or the last 32 bits of them. */
export class Slab {
  readonly room: Room
  /** Its place in `Slabs.all`. */
  readonly number: number
  readonly size: number
  readonly long: boolean
  readonly parts: number
  readonly times: Float64Array | Uint32Array
  /** Where the parts begin that nobody has. */
  readonly free: number[]

  constructor(room: Room, number: number) {
    const { size, long } = room
    const Times = long ? Float64Array : Uint32Array
    this.room = room
    this.number = number
    this.size = size
    this.long = long
    this.parts = size === 0 ? 0 : Math.max(1, Math.floor(BYTES / Times.BYTES_PER_ELEMENT / size))
    this.times = new Times(this.parts * size)
    this.free = Array.from({ length: this.parts }, (_, i) => i * size)
  }
}

/** The size of a part, negative where times are whole. */
const keyOf = (size: number, long: boolean) => (long ? -size : size)

/**
 * The times of many logs. In an array a log, on the collector's heap, they would be moved twice and then let go; here they stay
 * where they are until their log ends.
 */
export class Slabs {
  /** By their numbers; 0 is one without room for anything. */
  private readonly all: Slab[] = [new Slab(new Room(0, false), 0)]
  private readonly numbers: number[] = []
  private readonly rooms = new Map<number, Room>()
  private readonly spare = new Set<Slab>()

  of(part: number): Slab {
    return this.all[part >>> PART_BITS] as Slab
  }

  /** A part for `size` times. */
  take(size: number, long: boolean): number {
    const room = this.roomOf(size, long)
    const { open } = room
    const slab = open.at(-1) ?? this.add(room)
    const start = slab.free.pop() as number
    if (slab.free.length === 0) open.pop()
    return (slab.number << PART_BITS) | start
  }

  leave(part: number): void {
    const { spare } = this
    const slab = this.of(part)
    if (slab.free.push(part & PART_MASK) === 1) slab.room.open.push(slab)
    if (slab.free.length < slab.parts) return
    spare.delete(slab)
    spare.add(slab)
    const [first] = spare
    if (spare.size <= SPARE || !first) return
    spare.delete(first)
    // Somebody may have come since.
    if (first.free.length === first.parts) this.remove(first)
  }

  private roomOf(size: number, long: boolean): Room {
    const key = keyOf(size, long)
    const known = this.rooms.get(key)
    if (known) return known
    const room = new Room(size, long)
    this.rooms.set(key, room)
    return room
  }

  private add(room: Room): Slab {
    const slab = new Slab(room, this.numbers.pop() ?? this.all.length)
    this.all[slab.number] = slab
    room.slabs++
    room.open.push(slab)
    return slab
  }

  private remove({ room, number }: Slab): void {
    room.open.splice(room.open.indexOf(this.all[number] as Slab), 1)
    if (--room.slabs === 0) this.rooms.delete(keyOf(room.size, room.long))
    this.all[number] = this.all[0] as Slab
    this.numbers.push(number)
  }
}
