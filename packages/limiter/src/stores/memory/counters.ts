import { type Algorithm, algorithms, type Limit } from '../../algorithms/index.ts'
import { Log } from '../../algorithms/sliding-window/log.ts'
import { type ClientTable, IDLE_AT, KEPT, LIMIT, RARE, ROW_WORDS, TICK_US } from './client-table.ts'
import type { Counter, Rare } from './rare.ts'

/** So many ticks after its last use a counter may count still; of a bucket that takes longer than 35 years to fill, so long. */
const ticksOf = ({ forgetAfterUs }: Limit) => Math.min(2 ** 30, Math.ceil(forgetAfterUs / TICK_US) + 1)

const isFull = ({ limit, state }: Counter, now: number) =>
  algorithms[limit.algorithm].fullAfter(state, limit, now) === 0

/** A client's counters, by Limit. Nearly every client has one only: if that is a log, it is the row itself. */
export class Counters extends Log {
  protected readonly table: ClientTable

  constructor(table: ClientTable, row: number) {
    super(table.slabs, table.memory, row * ROW_WORDS)
    this.table = table
  }

  get row(): number {
    return this.first / ROW_WORDS
  }

  /** Whether the row's log is the state of this limit: nearly always. */
  isLogOf(limit: Limit): boolean {
    return this.limitNumber === limit.number
  }

  /** The state of a limit that is counted by; else undefined. */
  get(limit: Limit): unknown {
    if (this.isLogOf(limit)) return this
    return this.limitNumber === -limit.number ? this.table.states.get(this.row) : this.find(limit)
  }

  /** Some counter may count for so many ticks after its last use; 0 without one. */
  get kept(): number {
    return this.words[this.first + KEPT] as number
  }

  /** Begins to count by a limit that has no state yet; returns its first. */
  start(algorithm: Algorithm, limit: Limit, now: number): unknown {
    const { table, row } = this
    this.keep(limit)
    if (this.limit !== undefined) {
      const state = algorithm.fresh(limit, now, () => new Log(table.slabs))
      const rare = this.ensureRare()
      rare.counters ??= new Map()
      rare.counters.set(limit.counter, { limit, state })
      return state
    }
    const state = algorithm.fresh(limit, now, () => this)
    if (state !== this) table.states.set(row, state)
    this.limit = limit
    return state
  }

  *all(): Generator<Counter> {
    const { limit } = this
    if (limit) yield { limit, state: this.state }
    if (this.others) yield* this.others.values()
  }

  /** Whether there was one of that name. */
  delete(name: string): boolean {
    if (this.limit?.counter === name) {
      this.leaveFirst()
      return true
    }
    const other = this.others?.get(name)
    if (!other) return false
    this.leaveOther(other)
    return true
  }

  clear(): void {
    this.leaveFirst()
    for (const other of this.others?.values() ?? []) this.leaveOther(other)
    this.words[this.first + KEPT] = 0
  }

  /** Lets go of what counts nothing any more: a window or a policy may be gone for good. */
  trim(now: number): void {
    const { limit, state, others } = this
    let kept = 0
    if (limit) {
      if (isFull({ limit, state }, now)) this.leaveFirst()
      else kept = ticksOf(limit)
    }
    for (const other of others?.values() ?? []) {
      if (isFull(other, now)) this.leaveOther(other)
      else kept = Math.max(kept, ticksOf(other.limit))
    }
    this.words[this.first + KEPT] = kept
  }

  protected get rare(): Rare | undefined {
    return this.words[this.first + RARE] === 0 ? undefined : this.table.rare.get(this.row)
  }

  protected ensureRare(): Rare {
    const { rare } = this
    if (rare) return rare
    const made = {}
    this.words[this.first + RARE] = 1
    this.table.rare.set(this.row, made)
    return made
  }

  private get limitNumber(): number {
    return this.words[this.first + LIMIT] as number
  }

  private set limitNumber(number: number) {
    this.words[this.first + LIMIT] = number
  }

  private get limit(): Limit | undefined {
    return this.table.limits.at(Math.abs(this.limitNumber))
  }

  private set limit(limit: Limit | undefined) {
    const { limits } = this.table
    if (this.limitNumber !== 0) limits.leave(Math.abs(this.limitNumber))
    if (limit) limits.take(limit)
    const number = limit?.number ?? 0
    this.limitNumber = this.isFree ? -number : number
  }

  private get state(): unknown {
    return this.isFree ? this.table.states.get(this.row) : this
  }

  private get others(): Map<string, Counter> | undefined {
    return this.rare?.counters
  }

  /** Of a policy that was changed, and that has a limit of that name still, the counter goes on. */
  private find(limit: Limit): unknown {
    if (this.limit?.counter === limit.counter) {
      this.limit = limit
      this.keep(limit)
      return this.state
    }
    const other = this.others?.get(limit.counter)
    if (other && other.limit !== limit) {
      other.limit = limit
      this.keep(limit)
    }
    return other?.state
  }

  /** As long as this one may count, the client is not idle. */
  private keep(limit: Limit): void {
    const { words, first, kept } = this
    const more = ticksOf(limit) - kept
    if (more <= 0) return
    words[first + KEPT] = kept + more
    words[first + IDLE_AT] = (words[first + IDLE_AT] as number) + more
  }

  private leaveFirst(): void {
    this.end()
    this.table.states.delete(this.row)
    this.limit = undefined
  }

  private leaveOther({ limit, state }: Counter): void {
    const { others } = this
    others?.delete(limit.counter)
    if (others?.size === 0) this.ensureRare().counters = undefined
    if (state instanceof Log) state.end()
  }
}
