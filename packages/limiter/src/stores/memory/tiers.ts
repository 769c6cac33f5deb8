import { type ClientTable, NEWER, OLDER, ROW_WORDS, TIER } from './client-table.ts'

/** How much it would hurt to forget a client: light, near a limit or with violations, blocked for them, blocked by an operator. */
export const COLD = 0
export const HOT = 1
export const BLOCKED = 2
export const BANNED = 3
export type Tier = typeof COLD | typeof HOT | typeof BLOCKED | typeof BANNED

/**
 * A list a tier in order of last use, so that what is forgotten first is always at hand. Its links are in the clients' rows; its
 * ends are rows, too.
 */
export class Tiers {
  /** How many are in each tier. */
  readonly sizes: [number, number, number, number] = [0, 0, 0, 0]
  private readonly table: ClientTable
  private readonly ends: readonly number[]

  constructor(table: ClientTable) {
    this.table = table
    this.ends = this.sizes.map(() => table.take())
    for (const end of this.ends) this.link(end, end)
  }

  /** Puts a new client last in a tier's order: used just now. */
  add(row: number, tier: Tier): void {
    const end = this.ends[tier] as number
    this.sizes[tier]++
    this.set(row, TIER, tier)
    this.link(this.word(end, OLDER), row)
    this.link(row, end)
  }

  /** Puts a client last in a tier's order. */
  move(row: number, tier: Tier): void {
    if (this.word(row, NEWER) === this.ends[tier]) return
    this.remove(row)
    this.add(row, tier)
  }

  remove(row: number): void {
    this.sizes[this.word(row, TIER) as Tier]--
    this.link(this.word(row, OLDER), this.word(row, NEWER))
  }

  /** A tier's clients, least recently used first; removing the one in hand is fine. */
  *of(tier: Tier): Generator<number> {
    const end = this.ends[tier] as number
    for (let row = this.word(end, NEWER); row !== end; ) {
      const next = this.word(row, NEWER)
      yield row
      row = next
    }
  }

  /** Least recently used of a tier. */
  oldest(tier: Tier): number | undefined {
    const end = this.ends[tier] as number
    const row = this.word(end, NEWER)
    return row === end ? undefined : row
  }

  private link(older: number, newer: number): void {
    this.set(older, NEWER, newer)
    this.set(newer, OLDER, older)
  }

  private word(row: number, at: number): number {
    return this.table.memory.words[row * ROW_WORDS + at] as number
  }

  private set(row: number, at: number, value: number): void {
    this.table.memory.words[row * ROW_WORDS + at] = value
  }
}
