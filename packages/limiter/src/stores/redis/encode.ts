import type { Block, LimitVerdict } from '../../contracts/index.ts'
import { formatDuration } from '../../contracts/index.ts'
import type { CompiledPolicy } from '../../policies/table.ts'
import type { Check, Receipt, Verdict } from '../store.ts'
import type { Keys } from './keys.ts'

/** How check.lua is asked and what it answers; its header names the same fields. */
type Arg = string | number

const PENALISE = 1
const SHADOW = 2
const PEEK = 4

export type Flagged = Check & { readonly peek?: boolean }

const flagsOf = ({ policy, penalise, peek }: Flagged) =>
  (penalise ? PENALISE : 0) + (policy.shadow ? SHADOW : 0) + (peek ? PEEK : 0)

const described = new WeakMap<CompiledPolicy, { readonly prefix: string; readonly json: string }>()

/** A policy's numbers, sent once a batch. The penalty is read only for a refusal, so it is text within the text. */
function describe(policy: CompiledPolicy, prefix: string): string {
  const known = described.get(policy)
  if (known?.prefix === prefix) return known.json
  const { algorithm, limits, maxCost } = policy
  const json = JSON.stringify({
    algorithm: algorithm.id,
    counters: `${prefix}:${algorithm.id}:`,
    maxCost: Math.min(maxCost, Number.MAX_SAFE_INTEGER),
    penalty: penaltyArg(policy),
    limits: limits.map(({ counter, limit, capacity, maxCost, windowUs, windowMs }) => ({
      suffix: counter.slice(counter.indexOf(':')),
      limit,
      capacity,
      maxCost,
      window: windowUs,
      ttl: 2 * windowMs,
    })),
  })
  described.set(policy, { prefix, json })
  return json
}

function penaltyArg({ id, penalty }: CompiledPolicy): string {
  if (!penalty) return ''
  const { threshold, windowMs, memoryMs, blockMs, scope } = penalty
  return JSON.stringify({
    policy: id,
    threshold,
    window: windowMs * 1000,
    memory: memoryMs,
    scope: scope && `:${scope}`,
    blocks: blockMs,
    reason: `${threshold} violations within ${formatDuration(windowMs)}`,
  })
}

/** KEYS and ARGV of a batch; `deadlineUs` in Redis' time, 0 for none. */
export function encodeBatch(checks: readonly Flagged[], keys: Keys, deadlineUs: number) {
  const policies: CompiledPolicy[] = []
  const blockKeys: string[] = []
  const args: Arg[] = [deadlineUs, keys.prefix, '']
  let [last, flags, cost, count] = [-1, 0, 0, 0]
  for (const check of checks) {
    blockKeys.push(keys.block(check.client))
    let index = policies.indexOf(check.policy)
    if (index < 0) index = policies.push(check.policy) - 1
    const flagged = flagsOf(check)
    if (index === last && flagged === flags && check.cost === cost) count++
    else {
      if (count > 0) args.push(last + 1, flags, cost, count)
      ;[last, flags, cost, count] = [index, flagged, check.cost, 1]
    }
  }
  args.push(last + 1, flags, cost, count)
  args[2] = `[${policies.map(policy => describe(policy, keys.prefix)).join(',')}]`
  return { blockKeys, algorithms: policies.map(({ algorithm }) => algorithm.id), args }
}

/** KEYS and ARGV of refund.lua. */
export function refundArgs({ client, policy, cost, takenAt }: Receipt, keys: Keys, deadlineUs: number) {
  const { algorithm, limits } = policy
  const numbers = limits.flatMap(({ limit, capacity, windowUs }) => [limit, capacity, windowUs])
  return {
    keys: limits.map(({ counter }) => keys.counter(client, counter)),
    args: [deadlineUs, algorithm.id, cost, takenAt, ...numbers],
  }
}

const toMs = (us: number) => Math.ceil(us / 1000)

/** The answers to a batch, in order; what failed alone is an Error. */
export function decodeBatch(reply: readonly (number | string)[], checks: readonly Flagged[]): (Verdict | Error)[] {
  const now = reply[0] as number
  const at = Math.floor(now / 1000)
  let next = 1
  const number = () => reply[next++] as number
  const refused = (policy: CompiledPolicy) =>
    policy.limits.map((limit): LimitVerdict => {
      const [remaining, resetUs, retryUs] = [number(), number(), number()]
      const verdict = { limit: limit.capacity, windowMs: limit.windowMs, remaining, resetAfterMs: toMs(resetUs) }
      return retryUs < 0 ? verdict : { ...verdict, retryAfterMs: toMs(retryUs) }
    })
  const block = () => JSON.parse(String(reply[next++])) as Block
  return checks.map(({ policy, peek }): Verdict | Error => {
    const code = number()
    if (code === 3) return { outcome: 'blocked', at, block: block(), limits: peek ? refused(policy) : [] }
    if (code === 4) return new Error(String(reply[next++]))
    if (code === 0) {
      const limits = policy.limits.map(
        ({ capacity, windowMs }): LimitVerdict => ({
          limit: capacity,
          windowMs,
          remaining: number(),
          resetAfterMs: toMs(number()),
          retryAfterMs: 0,
        }),
      )
      return peek ? { outcome: 'allowed', at, limits } : { outcome: 'allowed', at, limits, takenAt: now }
    }
    const violations = number()
    const limits = refused(policy)
    return {
      outcome: 'limited',
      at,
      limits,
      ...(violations >= 0 && { violations }),
      ...(code === 2 && { block: block() }),
    }
  })
}
