/** How much it would hurt to forget a client: light, near a limit or with violations, blocked for them, blocked by an operator. */
export const COLD = 0
export const HOT = 1
export const BLOCKED = 2
export const BANNED = 3
export type Tier = typeof COLD | typeof HOT | typeof BLOCKED | typeof BANNED

/** A member of the tiers: alone, both its neighbours are itself. */
export interface Linked {
  tier: Tier
  older: Linked
  newer: Linked
}

class End implements Linked {
  tier: Tier = COLD
  older: Linked = this
  newer: Linked = this
}

/** A list a tier in order of last use, so that what is forgotten first is always at hand. */
export class Tiers<T extends Linked> {
  /** How many are in each tier. */
  readonly sizes: [number, number, number, number] = [0, 0, 0, 0]
  private readonly ends = [new End(), new End(), new End(), new End()] as const

  /** Puts a node last in a tier's order: used just now. */
  place(node: T, tier: Tier): void {
    const end = this.ends[tier]
    if (node.newer === end) return
    if (node.newer === node) this.sizes[tier]++
    else if (node.tier !== tier) {
      this.sizes[node.tier]--
      this.sizes[tier]++
    }
    node.older.newer = node.newer
    node.newer.older = node.older
    node.tier = tier
    node.older = end.older
    node.newer = end
    end.older.newer = node
    end.older = node
  }

  remove(node: T): void {
    if (node.newer !== node) this.sizes[node.tier]--
    node.older.newer = node.newer
    node.newer.older = node.older
    node.older = node
    node.newer = node
  }

  /** A tier's nodes, least recently used first; removing the one in hand is fine. */
  *of(tier: Tier): Generator<T> {
    const end = this.ends[tier]
    for (let node = end.newer; node !== end; ) {
      const next = node.newer
      yield node as T
      node = next
    }
  }

  /** Least recently used of a tier. */
  first(tier: Tier): T | undefined {
    const end = this.ends[tier]
    return end.newer === end ? undefined : (end.newer as T)
  }
}
