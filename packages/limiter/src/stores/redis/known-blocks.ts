import type { Block } from '../../contracts/index.ts'

/**
 * What this process knows of a block is trusted for so long; then one request of the client asks Redis again. Longer than a second, so
 * that with its history (every 5 s) a flood of a blocked client is less than one command a second. An unblock need not wait for it: see
 * `distrustAll`.
 */
const TRUST_MS = 1300

interface Known {
  readonly block: Block
  /** performance.now() at its end: deltas, so that our clock need not agree with Redis'. */
  readonly endsAt: number
  trustedUntil: number
}

/** Clients that this process knows to be blocked: a refused flood need not touch Redis. Bounded. */
export class KnownBlocks {
  private readonly blocks = new Map<string, Known>()
  private readonly size: number
  /** Grows with everything that is doubted on purpose: an answer asked for before that must not be learnt. */
  generation = 0

  constructor(size = 50_000) {
    this.size = size
  }

  /** The block, unless it is time that a request asks again. While nobody can be asked, it holds to its end. */
  find(client: string, canAsk: boolean): Block | undefined {
    if (this.blocks.size === 0) return undefined
    const known = this.blocks.get(client)
    if (!known) return undefined
    const now = performance.now()
    if (now >= known.endsAt) {
      this.blocks.delete(client)
      return undefined
    }
    if (now < known.trustedUntil || !canAsk) return known.block
    // This request asks; those that come meanwhile are still refused from here.
    known.trustedUntil = now + TRUST_MS
    return undefined
  }

  /** Returns whether it is news. */
  learn(client: string, block: Block, redisMs: number, generation: number): boolean {
    if (generation !== this.generation) return false
    const known = this.blocks.get(client)
    const now = performance.now()
    if (!known && this.blocks.size >= this.size) this.blocks.delete(this.blocks.keys().next().value as string)
    this.blocks.set(client, { block, endsAt: now + block.until - redisMs, trustedUntil: now + TRUST_MS })
    return known?.block.since !== block.since
  }

  /** Redis says that it is not blocked. */
  unlearn(client: string): void {
    if (this.blocks.size > 0) this.blocks.delete(client)
  }

  /** An operator let it back in. */
  forget(client: string): void {
    this.generation++
    this.blocks.delete(client)
  }

  /** Somebody may have been let back in: each is asked for again, and while nobody can be asked, still holds. */
  distrustAll(): void {
    this.generation++
    for (const known of this.blocks.values()) known.trustedUntil = 0
  }
}
