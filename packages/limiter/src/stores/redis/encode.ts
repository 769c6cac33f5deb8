import type { Limit } from '../../algorithms/index.ts'
import type { Block, LimitVerdict } from '../../contracts/index.ts'
import { formatDuration } from '../../contracts/index.ts'
import type { CompiledPolicy, Penalty } from '../../policies/table.ts'
import type { Check, Receipt, Verdict } from '../store.ts'
import type { Question, Reply } from './evaluate.ts'
import type { Keys } from './keys.ts'
import { composeScript, composeSolo, hasOne, type Script } from './scripts.ts'

/** How check.lua is asked and what it answers; its header names the same fields. */
type Arg = string | number

const PENALISE = 1
const SHADOW = 2
const PEEK = 4

/** How a group begins that is not allowed; -1: limited. */
const NOW_BLOCKED = -2
const BLOCKED = -3
const FAILED = -4

export type Flagged = Check & { readonly peek?: boolean }

export interface Asked {
  readonly check: Flagged
}

const flagsOf = ({ policy, penalise, peek }: Flagged) =>
  (penalise ? PENALISE : 0) + (policy.shadow ? SHADOW : 0) + (peek ? PEEK : 0)

/** How long a counter lives, ms: see sliding-window.lua; refund.lua works it out for itself. */
const ttlOf = (windowMs: number) => 2 * windowMs + 1

const described = new WeakMap<CompiledPolicy, { readonly prefix: string; readonly args: readonly Arg[] }>()

/** A policy's numbers, sent once a batch; flat, since JSON takes Redis longer to read. */
function describe(policy: CompiledPolicy, prefix: string): readonly Arg[] {
  const known = described.get(policy)
  if (known?.prefix === prefix) return known.args
  const { algorithm, limits } = policy
  const args = [
    algorithm.id,
    `${prefix}:${algorithm.id}:`,
    Math.min(policy.maxCost, Number.MAX_SAFE_INTEGER),
    penaltyOf(policy),
    limits.length,
    ...limits.flatMap(({ counter, limit, capacity, maxCost, windowUs, windowMs }) => [
      counter.slice(counter.indexOf(':')),
      limit,
      capacity,
      maxCost,
      windowUs,
      ttlOf(windowMs),
    ]),
  ]
  described.set(policy, { prefix, args })
  return args
}

const penaltyOf = ({ id, penalty }: CompiledPolicy): string => (penalty ? describePenalty(id, penalty) : '')

function describePenalty(id: string, { threshold, windowMs, memoryMs, blockMs, scope }: Penalty): string {
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

/** The same digits as String(), which takes long for a number of that size. */
function micros(us: number): string {
  const seconds = Math.floor(us / 1_000_000)
  return `${seconds}${String(us - seconds * 1_000_000).padStart(6, '0')}`
}

/** `deadlineUs` in Redis' time, 0 for none. */
export function encodeBatch(asked: readonly Asked[], keys: Keys, deadlineUs: number): Question {
  const { check } = asked[0] as Asked
  return asked.length === 1 && isOne(check) ? encodeOne(check, keys, deadlineUs) : encodeMany(asked, keys, deadlineUs)
}

const isOne = ({ cost, policy, peek }: Flagged) =>
  cost === 1 && policy.only !== undefined && !peek && hasOne(policy.algorithm.id)

interface Lone {
  readonly keys: Keys
  /** What stands around the client in its counter's name. */
  readonly head: string
  readonly tail: string
  readonly penalising: Script
  readonly harmless: Script
}

const lone = new WeakMap<CompiledPolicy, Lone>()

function loneOf(policy: CompiledPolicy, keys: Keys): Lone {
  const known = lone.get(policy)
  if (known?.keys === keys) return known
  const { limit, windowUs, windowMs, counter } = policy.only as Limit
  const [head, tail] = keys.counter('\0', counter).split('\0') as [string, string]
  const { prefix } = keys
  const compose = (penalty: string) =>
    composeSolo(policy.algorithm.id, {
      prefix,
      shadow: policy.shadow,
      limit,
      window: windowUs,
      ttl: ttlOf(windowMs),
      penalty,
    })
  const harmless = compose('')
  const made = { keys, head, tail, harmless, penalising: policy.shadow ? harmless : compose(penaltyOf(policy)) }
  lone.set(policy, made)
  return made
}

function encodeOne({ client, policy, penalise }: Flagged, keys: Keys, deadlineUs: number): Question {
  const { head, tail, penalising, harmless } = loneOf(policy, keys)
  return {
    script: penalise ? penalising : harmless,
    keys: [keys.block(client), head + client + tail],
    args: [micros(deadlineUs)],
  }
}

function encodeMany(asked: readonly Asked[], keys: Keys, deadlineUs: number): Question {
  const policies: CompiledPolicy[] = []
  const blockKeys: string[] = []
  const runs: Arg[] = []
  let [last, flags, cost, count] = [-1, 0, 0, 0]
  for (const { check } of asked) {
    blockKeys.push(keys.block(check.client))
    let index = policies.indexOf(check.policy)
    if (index < 0) index = policies.push(check.policy) - 1
    const flagged = flagsOf(check)
    if (index === last && flagged === flags && check.cost === cost) count++
    else {
      if (count > 0) runs.push(last + 1, flags, cost, count)
      ;[last, flags, cost, count] = [index, flagged, check.cost, 1]
    }
  }
  runs.push(last + 1, flags, cost, count)
  const script = composeScript(
    'check',
    policies.map(({ algorithm }) => algorithm.id),
  )
  const told = policies.flatMap(policy => describe(policy, keys.prefix))
  return { script, keys: blockKeys, args: [micros(deadlineUs), keys.prefix, policies.length, ...told, ...runs] }
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

/** Reads an answer from left to right. */
class Reader {
  private next = 1
  private readonly reply: Reply

  constructor(reply: Reply) {
    this.reply = reply
  }

  number(): number {
    return this.reply[this.next++] as number
  }

  text(): string {
    return String(this.reply[this.next++])
  }

  block(): Block {
    return JSON.parse(this.text()) as Block
  }

  allowed({ capacity, windowMs }: Limit, remaining: number): LimitVerdict {
    return { limit: capacity, windowMs, remaining, resetAfterMs: toMs(this.number()), retryAfterMs: 0 }
  }

  refused({ capacity, windowMs }: Limit): LimitVerdict {
    const [remaining, resetUs, retryUs] = [this.number(), this.number(), this.number()]
    const verdict = { limit: capacity, windowMs, remaining, resetAfterMs: toMs(resetUs) }
    return retryUs < 0 ? verdict : { ...verdict, retryAfterMs: toMs(retryUs) }
  }
}

/** The answers to a batch, in order; what failed alone is an Error. */
export function decodeBatch(reply: Reply, asked: readonly Asked[]): (Verdict | Error)[] {
  const now = reply[0] as number
  const reader = new Reader(reply)
  return asked.map(({ check }) => decode(reader, check, now))
}

function decode(reader: Reader, { policy, peek }: Flagged, now: number): Verdict | Error {
  const code = reader.number()
  if (code >= 0) {
    const limits = policy.limits.map((limit, i) => reader.allowed(limit, i === 0 ? code : reader.number()))
    return peek ? { outcome: 'allowed', now, limits } : { outcome: 'allowed', now, limits, taken: true }
  }
  if (code === FAILED) return new Error(reader.text())
  const refused = (limit: Limit) => reader.refused(limit)
  if (code === BLOCKED) {
    return { outcome: 'blocked', now, block: reader.block(), limits: policy.limits.map(refused) }
  }
  const violations = reader.number()
  return {
    outcome: 'limited',
    now,
    limits: policy.limits.map(refused),
    ...(violations >= 0 && { violations }),
    ...(code === NOW_BLOCKED && { block: reader.block() }),
  }
}
