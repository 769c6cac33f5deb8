import type { Totals } from '@api-bouncer/limiter'

type Counts = Totals['policies'] extends ReadonlyMap<string, infer C> ? C : never

/** The counts of several processes as if they were one. */
export function addTotals(all: readonly Totals[]): Totals {
  const policies = new Map<string, Counts>()
  for (const [id, counts] of all.flatMap(totals => [...totals.policies])) {
    const before = policies.get(id)
    policies.set(id, before ? addCounts(before, counts) : counts)
  }
  const sum = (read: (totals: Totals) => number) => all.reduce((total, one) => total + read(one), 0)
  const buckets = all[0]?.latency.length ?? 0
  return {
    policies,
    latency: Array.from({ length: buckets }, (_, i) => sum(({ latency }) => latency[i] ?? 0)),
    latencySum: sum(({ latencySum }) => latencySum),
    blocks: sum(({ blocks }) => blocks),
    degraded: sum(({ degraded }) => degraded),
  }
}

const addCounts = (a: Counts, b: Counts): Counts =>
  Object.fromEntries(
    Object.entries(a).map(([outcome, count]) => [outcome, count + b[outcome as keyof Counts]]),
  ) as Counts
