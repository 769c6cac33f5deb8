import type { Block } from '../../contracts/index.ts'
import { BLOCKED_UNTIL, IDLE_AT, PLACED, ROW_WORDS, TIER } from './client-table.ts'
import { Counters } from './counters.ts'
import { Misdeeds, NEVER } from './rare.ts'
import type { Tier } from './tiers.ts'

/** A client as its row has it, and what stands beside that. Many look at one row, and one may look at another later. */
export class Client extends Counters {
  /** Looks at another client from now on, if the table has not moved. */
  goTo(row: number): this {
    this.first = row * ROW_WORDS
    return this
  }

  /** Follows the table to where it is now. */
  follow(): void {
    const { words, doubles } = this.table.memory
    this.words = words
    this.doubles = doubles
  }

  get id(): string {
    return this.table.ids[this.row] as string
  }

  /** The last one: it may have ended. */
  get block(): Block | undefined {
    return this.rare?.block
  }

  set block(block: Block | undefined) {
    if (block || this.rare) this.ensureRare().block = block
    this.doubles[(this.first >> 1) + BLOCKED_UNTIL] = block ? block.until * 1000 : NEVER
  }

  /** µs; `NEVER` without a block. */
  get blockedUntil(): number {
    return this.doubles[(this.first >> 1) + BLOCKED_UNTIL] as number
  }

  get misdeeds(): Misdeeds | undefined {
    return this.rare?.misdeeds
  }

  ensureMisdeeds(): Misdeeds {
    const rare = this.ensureRare()
    rare.misdeeds ??= new Misdeeds()
    return rare.misdeeds
  }

  /** None of its counters counts any more from this tick on. */
  get idleAt(): number {
    return this.words[this.first + IDLE_AT] as number
  }

  set idleAt(tick: number) {
    this.words[this.first + IDLE_AT] = tick
  }

  /** What placed it last, and when: relinking at every check would cost as much as deciding. */
  get placed(): number {
    return this.words[this.first + PLACED] as number
  }

  set placed(placed: number) {
    this.words[this.first + PLACED] = placed
  }

  get tier(): Tier {
    return this.words[this.first + TIER] as Tier
  }
}
