import type { Decision } from '../contracts/index.ts'

/** Who was busy so long ago is still worth a look, ms: the most common window. */
export const LATELY_MS = 60_000
/** Who came near a limit is worth one while that limit remembers it, but no longer than this, ms. */
const LONGEST_MS = 3_600_000
/** So many of each are remembered, the last ones. */
const REMEMBERED = 500
/** So many of each are told of in a frame. */
const TOLD = 75

/** At most a fifth of the limit that binds is left. */
export const isNear = ({ limit, remaining }: Pick<Decision, 'limit' | 'remaining'>): boolean =>
  limit > 0 && remaining * 5 <= limit

/**
 * Who stood out not only in this second: came near a limit, or was among the busiest of the last minute. Only names, in
 * bounded memory: who lists them looks at their counters.
 */
export class Lately {
  /** Those of this second, and for how long their limits remember them, ms. */
  private fresh = new Map<string, number>()
  /** By client, until when; in order of the last time. */
  private readonly near = new Map<string, number>()
  private readonly busy = new Map<string, number>()

  add({ client, limits }: Pick<Decision, 'client' | 'limits'>): void {
    if (this.fresh.size >= REMEMBERED && !this.fresh.has(client)) return
    let holdMs = 0
    for (const { windowMs } of limits) if (windowMs > holdMs) holdMs = windowMs
    this.fresh.set(client, Math.min(holdMs, LONGEST_MS))
  }

  /** Those near a limit first, the last ones first; `busiest`: of the second that is over. `now`: ms. */
  take(now: number, busiest: readonly { readonly client: string }[]): string[] {
    for (const [client, holdMs] of this.fresh) remember(this.near, client, now + holdMs)
    for (const { client } of busiest) remember(this.busy, client, now + LATELY_MS)
    this.fresh = new Map()
    return [...new Set([...newest(this.near, now), ...newest(this.busy, now)])]
  }
}

function remember(kept: Map<string, number>, client: string, until: number): void {
  kept.delete(client)
  kept.set(client, until)
  if (kept.size > REMEMBERED) kept.delete(kept.keys().next().value as string)
}

function newest(kept: Map<string, number>, now: number): string[] {
  for (const [client, until] of kept) if (until <= now) kept.delete(client)
  return [...kept.keys()].slice(-TOLD).reverse()
}
