import type { Block, LimitVerdict } from '../../contracts/index.ts'
import type { CompiledPolicy } from '../../policies/table.ts'
import type { Verdict } from '../store.ts'

/**
 * What this process knows of a block is trusted for so long; then one request of the client asks Redis again. Longer than a second, so
 * that with its history (every 5 s) a flood of a blocked client is less than one command a second. An unblock need not wait for it: see
 * `distrustAll`.
 */
const TRUST_MS = 1300

/** The limits of a policy as they stood at a time (`now()`); none while they are asked for the first time. */
interface Measured {
  readonly policy: CompiledPolicy
  readonly limits: readonly LimitVerdict[]
  readonly at: number
}

interface Known {
  readonly block: Block
  /** `now()` at its end: deltas, so that our clock need not agree with Redis'. */
  readonly endsAt: number
  trustedUntil: number
  /**
   * By the policy's id. A blocked client takes nothing, so what it has to wait only has to be counted down. A request of another
   * cost is told what the last one that asked was told: else each cost could ask.
   */
  readonly measured: Map<string, Measured>
}

/** Clients that this process knows to be blocked: a refused flood need not touch Redis. Bounded. */
export class KnownBlocks {
  private readonly blocks = new Map<string, Known>()
  private readonly size: number
  private readonly now: () => number
  /** Grows with everything that is doubted on purpose: an answer asked for before that must not be learnt. */
  generation = 0

  /** `now`: ms that never run backwards. */
  constructor(now = () => performance.now(), size = 50_000) {
    this.now = now
    this.size = size
  }

  /**
   * The block and what the policy's limits say, unless it is time that a request asks again, or the first under this policy.
   * While nobody can be asked, a block holds to its end.
   */
  find(client: string, policy: CompiledPolicy, canAsk: boolean): Pick<Verdict, 'block' | 'limits'> | undefined {
    if (this.blocks.size === 0) return undefined
    const known = this.blocks.get(client)
    if (!known) return undefined
    const now = this.now()
    if (now >= known.endsAt) {
      this.blocks.delete(client)
      return undefined
    }
    const { block, measured } = known
    const limits = measured.get(policy.id)
    const isMeasured = limits?.policy === policy
    if (canAsk && (now >= known.trustedUntil || !isMeasured)) {
      // This request asks; those that come meanwhile are still refused from here.
      known.trustedUntil = now + TRUST_MS
      if (!isMeasured) measured.set(policy.id, { policy, limits: [], at: now })
      return undefined
    }
    return { block, limits: isMeasured ? aged(limits, now) : [] }
  }

  /** Returns whether it is news. */
  learn(
    client: string,
    policy: CompiledPolicy,
    { block, limits, at }: Pick<Verdict, 'limits'> & { readonly block: Block; readonly at: number },
    generation: number,
  ): boolean {
    if (generation !== this.generation) return false
    const known = this.blocks.get(client)
    const now = this.now()
    if (!known && this.blocks.size >= this.size) this.blocks.delete(this.blocks.keys().next().value as string)
    const isNews = known?.block.since !== block.since
    const measured = isNews ? new Map<string, Measured>() : known.measured
    measured.set(policy.id, { policy, limits, at: now })
    this.blocks.set(client, { block, endsAt: now + block.until - at, trustedUntil: now + TRUST_MS, measured })
    return isNews
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

/** Nothing was taken since: every wait is shorter by as much. `remaining` is what it was, at least. */
function aged({ limits, at }: Measured, now: number): LimitVerdict[] {
  const passed = Math.floor(now - at)
  const left = (ms: number) => Math.max(0, ms - passed)
  return limits.map(({ retryAfterMs, ...limit }) => ({
    ...limit,
    resetAfterMs: left(limit.resetAfterMs),
    ...(retryAfterMs !== undefined && { retryAfterMs: left(retryAfterMs) }),
  }))
}
