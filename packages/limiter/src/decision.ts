import type { Decision, LimitVerdict } from './contracts/index.ts'
import type { CompiledPolicy } from './policies/table.ts'
import type { Check, Receipt, Verdict } from './stores/store.ts'

/** What a Decision carries for us alone: never serialised, gone from a copy made through JSON. */
const INTERNAL = Symbol('api-bouncer')

interface Internal {
  readonly policy: CompiledPolicy | undefined
  /** Absent: nothing was taken, or it was given back. */
  takenAt: number | undefined
  readonly trial?: Trial | undefined
}

type Made = Decision & { readonly [INTERNAL]?: Internal }

/** The policy that a decision was made under. */
export const policyOf = (decision: Decision): CompiledPolicy | undefined => (decision as Made)[INTERNAL]?.policy

/** Receipts of what a decision took, then of what a policy on trial did, the first time they are asked for. */
export function takeReceipts(decision: Decision): Receipt[] {
  const internal = (decision as Made)[INTERNAL]
  if (internal?.policy === undefined || internal.takenAt === undefined) return []
  const { policy, takenAt, trial } = internal
  internal.takenAt = undefined
  const { client, cost } = decision
  return [
    { client, policy, cost, takenAt },
    ...(trial?.verdict.taken ? [{ client, policy: trial.policy, cost: trial.cost, takenAt: trial.verdict.now }] : []),
  ]
}

/** What a shadow policy says of the same request. */
export interface Trial {
  readonly policy: CompiledPolicy
  readonly cost: number
  readonly verdict: Verdict
}

/** Whoever a block refuses is no measure of a policy on trial. */
const shadowOf = ({ policy, verdict: { outcome, limits } }: Trial, verdict: Verdict): Decision['shadow'] =>
  outcome !== 'blocked' && verdict.outcome !== 'blocked'
    ? { policy: policy.id, outcome, remaining: Math.min(...limits.map(({ remaining }) => remaining)) }
    : undefined

/** The limit that decides what the client is told: the one it has to wait for longest, else the one with the least left. */
function binding(limits: readonly LimitVerdict[]): LimitVerdict | undefined {
  let bound = limits[0]
  for (let i = 1; i < limits.length; i++) {
    const other = limits[i] as LimitVerdict
    if (!bound || tighter(other, bound)) bound = other
  }
  return bound
}

function tighter(a: LimitVerdict, b: LimitVerdict): boolean {
  const [waitA, waitB] = [a.retryAfterMs ?? Number.POSITIVE_INFINITY, b.retryAfterMs ?? Number.POSITIVE_INFINITY]
  if (waitA !== waitB) return waitA > waitB
  return a.remaining !== b.remaining ? a.remaining < b.remaining : a.resetAfterMs > b.resetAfterMs
}

type Asked = Pick<Check, 'client' | 'policy' | 'cost'>

const named = ({ id }: CompiledPolicy) => (id === '-' ? {} : { policy: id })

const msOf = ({ now }: Verdict) => Math.floor(now / 1000)

const takenAt = ({ now, taken }: Verdict) => (taken ? now : undefined)

/** A store's verdict as a decision. */
export function fromVerdict(asked: Asked, verdict: Verdict, trial?: Trial): Decision {
  if (verdict.outcome === 'allowed' && asked.policy.limits.length > 0 && !trial) return allowed(asked, verdict)
  const shadow = trial && shadowOf(trial, verdict)
  const { client, policy, cost } = asked
  const { limits, block, violations } = verdict
  const at = msOf(verdict)
  const bound = binding(limits)
  const blockedForMs = block ? Math.max(0, block.until - at) : 0
  const common = {
    client,
    ...named(policy),
    at,
    cost,
    limits,
    ...(block && { block }),
    ...(violations !== undefined && { violations }),
    ...(shadow && { shadow }),
    [INTERNAL]: { policy, takenAt: takenAt(verdict), trial: verdict.taken && trial },
  }
  const left = { limit: bound?.limit ?? 0, remaining: bound?.remaining ?? 0, resetAfterMs: bound?.resetAfterMs ?? 0 }
  if (verdict.outcome === 'allowed') {
    return policy.limits.length > 0
      ? { outcome: 'allowed', reason: 'limit', ...common, ...left }
      : { outcome: 'exempt', reason: 'no-policy', ...common, ...left }
  }
  if (verdict.outcome === 'blocked') {
    // A limit may be longer in coming back than the block: who came at the block's end would be refused, with a violation.
    const forMs = Math.max(blockedForMs, bound?.retryAfterMs ?? 0)
    const limit = bound?.limit ?? policy.limits[0]?.capacity ?? 0
    return {
      outcome: 'blocked',
      reason: 'block',
      ...common,
      limit,
      remaining: 0,
      resetAfterMs: forMs,
      retryAfterMs: forMs,
    }
  }
  const wait = bound?.retryAfterMs
  return {
    outcome: 'limited',
    reason: 'limit',
    ...common,
    ...left,
    // The refusal that sets a block says already what the next one will.
    ...(block && { remaining: 0, resetAfterMs: Math.max(left.resetAfterMs, blockedForMs) }),
    ...(wait !== undefined && { retryAfterMs: Math.max(wait, blockedForMs) }),
  }
}

/** Nearly every decision: one literal, because spreading costs more than deciding. */
function allowed({ client, policy, cost }: Asked, verdict: Verdict): Decision {
  const { limits } = verdict
  const { limit, remaining, resetAfterMs } = binding(limits) as LimitVerdict
  const made: Made = {
    outcome: 'allowed',
    reason: 'limit',
    client,
    policy: policy.id,
    at: msOf(verdict),
    cost,
    limits,
    limit,
    remaining,
    resetAfterMs,
    [INTERNAL]: { policy, takenAt: takenAt(verdict) },
  }
  return made
}

/** A decision that no counter had a part in. */
export function withoutStore(
  { client, policy, cost }: Asked,
  outcome: Decision['outcome'],
  reason: Decision['reason'],
  at: number,
  retryAfterMs?: number,
): Decision {
  const made: Made = {
    outcome,
    reason,
    client,
    ...named(policy),
    at,
    cost,
    limit: 0,
    remaining: 0,
    resetAfterMs: 0,
    ...(retryAfterMs !== undefined && { retryAfterMs }),
    limits: [],
    [INTERNAL]: { policy, takenAt: undefined },
  }
  return made
}
