import type { Limit } from '../../algorithms/index.ts'
import type { Block } from '../../contracts/index.ts'
import type { Refusal } from '../store.ts'

/** A time before every other, whatever a clock says. */
export const NEVER = Number.NEGATIVE_INFINITY
/** An old refusal explains nothing any more. */
const REFUSAL_MS = 3_600_000

export interface Counter {
  /** As it was last counted by. */
  limit: Limit
  readonly state: unknown
}

/** What only few clients have. */
export interface Rare {
  block?: Block | undefined
  /** By Limit.counter: besides the first. */
  counters?: Map<string, Counter> | undefined
  misdeeds?: Misdeeds
}

export interface Violations {
  readonly windowUs: number
  /** Epoch µs, oldest first; some may have left the window. */
  readonly times: readonly number[]
}

export const within = ({ windowUs, times }: Violations, now: number) => times.filter(time => time > now - windowUs)

/** Of those that were refused, or forgiven. */
export class Misdeeds {
  /** By Penalty.scope. */
  readonly violations = new Map<string, Violations>()
  refusals: Refusal[] = []
  offences = 0
  /** µs; offences count until then. */
  offencesUntil = NEVER
  /** µs */
  graceUntil = NEVER
  /** µs; nothing of it counts any more then. */
  keptUntil = NEVER

  /** Lets go of what has expired. */
  trim(now: number): void {
    for (const [scope, kept] of this.violations) if (within(kept, now).length === 0) this.violations.delete(scope)
    const oldest = now / 1000 - REFUSAL_MS
    if (this.refusals[0] && this.refusals[0].at < oldest) this.refusals = this.refusals.filter(({ at }) => at >= oldest)
  }
}
