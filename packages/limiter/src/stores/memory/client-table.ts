import type { Limit } from '../../algorithms/index.ts'
import { LOG_WORDS, memoryOf } from '../../algorithms/sliding-window/log.ts'
import { Slabs } from '../../algorithms/sliding-window/slabs.ts'
import type { Rare } from './rare.ts'

// A row: a log (the client's first counter, where that is one), and then these. What is asked of it at every check stands before
// the rest.
/** By which limit the first counter counts: its number if the row's log is the state, that less than 0 if not, 0 without one. */
export const LIMIT = LOG_WORDS
/** In eight bytes. */
export const BLOCKED_UNTIL = (LOG_WORDS + 1) / 2
export const PLACED = LOG_WORDS + 3
export const TIER = LOG_WORDS + 4
export const KEPT = LOG_WORDS + 5
export const IDLE_AT = LOG_WORDS + 6
/** Whether there is anything in `rare`: 0 or 1. */
export const RARE = LOG_WORDS + 7
export const OLDER = LOG_WORDS + 8
export const NEWER = LOG_WORDS + 9
/** 64 bytes: a line of memory. */
export const ROW_WORDS = 16

/** A tick: about a second, and a power of two, so that it takes a multiplication to find and not a division. */
export const TICK_US = 2 ** 20

const FIRST_ROWS = 64

/** Limits by their numbers, each as long as some counter counts by it. */
class Limits {
  private readonly used = new Map<number, { readonly limit: Limit; counters: number }>()

  at(number: number): Limit | undefined {
    return this.used.get(number)?.limit
  }

  /** One more counter counts by it. */
  take(limit: Limit): void {
    const used = this.used.get(limit.number)
    if (used) used.counters++
    else this.used.set(limit.number, { limit, counters: 1 })
  }

  /** One counter less. */
  leave(number: number): void {
    const used = this.used.get(number)
    if (used && --used.counters === 0) this.used.delete(number)
  }
}

/** What few rows have beside their numbers: no longer than to the last that ever had it, so that the others do not pay for it. */
class Column<T> {
  private readonly values: (T | undefined)[] = []

  get(row: number): T | undefined {
    return this.values[row]
  }

  set(row: number, value: T): void {
    while (this.values.length < row) this.values.push(undefined)
    this.values[row] = value
  }

  delete(row: number): void {
    if (row < this.values.length) this.values[row] = undefined
  }

  /** Forgets all rows from this one on. */
  cut(row: number): void {
    this.values.length = Math.min(this.values.length, row)
  }
}

/**
 * All clients, a row of numbers each, side by side in one array: with many of them each object that a check has to find, each
 * further line of memory, is in no cache and is waited for. What is no number stands in lists beside it, by row.
 */
export class ClientTable {
  /** Replaced by a longer one when it is full: not to be held on to while clients come. */
  memory = memoryOf(FIRST_ROWS * ROW_WORDS)
  readonly slabs = new Slabs()
  readonly limits = new Limits()
  /** By client. */
  readonly rows = new Map<string, number>()
  /** Whose row it is. */
  readonly ids: (string | undefined)[] = []
  /** Of the first counter, unless that is the row's log. */
  readonly states = new Column<unknown>()
  readonly rare = new Column<Rare>()
  /** Rows that somebody had, and nobody has. */
  private free: number[] = []

  /** How many clients there are. */
  get size(): number {
    return this.rows.size
  }

  /** A row for a client that has none. */
  add(id: string): number {
    const row = this.take(id)
    this.rows.set(id, row)
    return row
  }

  remove(row: number): void {
    this.rows.delete(this.ids[row] as string)
    this.leave(row)
    if (this.rows.size === 0) this.shrink()
  }

  /** A row, for a client or for what is none. Its numbers are 0, or as they were left. */
  take(id?: string): number {
    const row = this.free.pop() ?? this.ids.length
    const { length } = this.memory.words
    if (row * ROW_WORDS === length) this.resize(length * 2)
    this.ids[row] = id
    return row
  }

  /** Gives a row back. */
  leave(row: number): void {
    this.ids[row] = undefined
    this.states.delete(row)
    this.rare.delete(row)
    this.free.push(row)
  }

  private resize(length: number): void {
    const memory = memoryOf(length)
    memory.words.set(this.memory.words.subarray(0, length))
    this.memory = memory
  }

  /** After the last client: what many have needed. */
  private shrink(): void {
    if (this.ids.length <= FIRST_ROWS) return
    this.resize(FIRST_ROWS * ROW_WORDS)
    this.free = this.free.filter(row => row < FIRST_ROWS)
    this.ids.length = FIRST_ROWS
    this.states.cut(FIRST_ROWS)
    this.rare.cut(FIRST_ROWS)
  }
}
