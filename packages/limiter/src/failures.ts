import { inspect } from 'node:util'
import type { Logger } from './options.ts'

const EVERY_MS = 60_000
/** Kinds that are told apart; a kind is a line of code, of which there are few. */
const KINDS = 100

/** What may go wrong at each request, and is not told at each: once a minute and kind, with how often it was since. */
export class Failures {
  private readonly kinds = new Map<string, { toldAt: number; untold: number }>()
  private readonly logger: Logger

  constructor(logger: Logger) {
    this.logger = logger
  }

  tell(what: string, error: unknown): void {
    const now = performance.now()
    const kind = this.kindOf(error, now)
    if (now - kind.toldAt < EVERY_MS) {
      kind.untold++
      return
    }
    const more = kind.untold === 0 ? '' : ` (and ${kind.untold} more of this kind since it was last told)`
    this.logger.error(`${what}${more}: ${inspect(error)}`)
    kind.toldAt = now
    kind.untold = 0
  }

  private kindOf(error: unknown, now: number) {
    // Where it was thrown; what it says may be different for each request.
    const thrownAt = error instanceof Error ? `${error.name} ${/^ +at .*/m.exec(error.stack ?? '')?.[0]}` : typeof error
    const known = this.kinds.get(thrownAt)
    if (known) return known
    if (this.kinds.size >= KINDS) this.kinds.clear()
    const kind = { toldAt: now - EVERY_MS, untold: 0 }
    this.kinds.set(thrownAt, kind)
    return kind
  }
}
