import { byLimits, type CompiledPolicy } from '../../policies/table.ts'
import { MemoryStore, type MemoryStoreOptions } from '../memory/memory-store.ts'
import type { Check, Verdict } from '../store.ts'

/**
 * Fail mode `local`: while Redis is away this instance counts for itself, with its share of each limit. All instances
 * together admit in a window at most what was spent in Redis + instances × max(1, ⌊limit / divisor⌋).
 */
export class LocalStore extends MemoryStore {
  /** Live instances that decide requests, as last heard. */
  instances = 1
  private readonly expected: number
  private shares = new WeakMap<CompiledPolicy, CompiledPolicy>()
  private divisor = 1

  constructor(options: MemoryStoreOptions, expected: number) {
    super(options)
    this.expected = expected
  }

  override check(check: Check): Verdict {
    const share = this.share(check.policy)
    // What fits the whole limit must not be refused for ever because our share of it is small.
    const cost = check.cost > check.policy.maxCost ? check.cost : Math.min(check.cost, share.maxCost)
    // No violations: a block that Redis does not know of could not be lifted everywhere.
    // No receipt: a refund goes to Redis, which never counted this.
    const { taken: _, ...verdict } = super.check({ ...check, policy: share, cost, penalise: false })
    return verdict
  }

  /** A policy with this instance's share of each limit. */
  share(policy: CompiledPolicy): CompiledPolicy {
    const divisor = Math.max(1, this.instances, this.expected)
    if (divisor !== this.divisor) {
      this.divisor = divisor
      this.shares = new WeakMap()
    }
    let share = this.shares.get(policy)
    if (!share) {
      const part = (units: number) => Math.max(1, Math.floor(units / divisor))
      const limits = policy.limits.map(whole => {
        const [limit, capacity] = [part(whole.limit), part(whole.capacity)]
        return { ...whole, limit, capacity, maxCost: Math.min(limit, capacity) }
      })
      share = { ...policy, ...byLimits(limits) }
      this.shares.set(policy, share)
    }
    return share
  }
}
