import type { Block, LimitVerdict, UnblockOptions, UnblockResult } from '../contracts/index.ts'
import type { CompiledPolicy } from '../policies/table.ts'

/** One request to decide. */
export interface Check {
  readonly client: string
  readonly policy: CompiledPolicy
  readonly cost: number
  /** `POST /auth/login`: kept with a refusal, for people. */
  readonly route: string
  /** Whether a refusal counts towards a block; never for a client that is probably a proxy. */
  readonly penalise: boolean
}

/** A refusal as it is remembered for people. */
export interface Refusal {
  /** Epoch ms by the store's clock. */
  readonly at: number
  readonly policy: string
  readonly route: string
  /** `30 per 1m`: the limit that refused. */
  readonly limit: string
}

/** What a check took, so that exactly that can be given back. */
export interface Receipt {
  readonly client: string
  readonly policy: CompiledPolicy
  readonly cost: number
  /** Epoch µs by the store's clock. */
  readonly takenAt: number
}

/** The store's answer. */
export interface Verdict {
  readonly outcome: 'allowed' | 'limited' | 'blocked'
  /** When that was, epoch µs by the store's clock. */
  readonly now: number
  /** One a limit of the policy; empty when a block refused that is known, while Redis could not be asked about them. */
  readonly limits: readonly LimitVerdict[]
  /** The block that refused, or that this violation has set (then the outcome is `limited`). */
  readonly block?: Block
  /** Violations within the window, when this refusal was one. */
  readonly violations?: number
  /** Units were taken, at `now`: a Receipt can give them back. */
  readonly taken?: true
}

/** Everything the store knows of one client. */
export interface ClientRecord {
  readonly client: string
  readonly block?: Block
  /** Times of violations within the penalty's window, epoch ms, by scope (see Penalty.scope). */
  readonly violations: Readonly<Record<string, readonly number[]>>
  /** Newest first. */
  readonly refusals: readonly Refusal[]
  readonly offences: number
  /** Epoch ms until which it cannot be blocked. */
  readonly graceUntil?: number
}

export interface NewBlock {
  readonly client: string
  readonly reason: string
  readonly by: string
  readonly durationMs: number
}

/** Where a block stands in their order. */
export type BlockPlace = Pick<Block, 'until' | 'client'>

export interface BlockList {
  /** Soonest to end first. */
  readonly blocks: Block[]
  /** How many are in force, listed here or not. */
  readonly total: number
  /** After which the rest comes; absent: that was all. */
  readonly next?: BlockPlace
}

export interface StoreHealth {
  readonly state: 'ok' | 'degraded'
  /** What it runs on, or what is wrong, for people. */
  readonly detail: string
  /** ms of the last answered round trip; absent in process. */
  readonly latencyMs?: number
  /** Since when it is degraded, epoch ms by its clock, as well as it is known. */
  readonly since?: number
  /** Clients remembered, where counting them is free. */
  readonly clients?: number
  /** Clients that the embedded store had to forget for others while something of them counted, since the start. */
  readonly forgotten?: number
}

export type Answer<T> = T | Promise<T>

/**
 * Counts and remembers. The embedded store answers at once; Redis answers with promises that reject with
 * ERR_UNAVAILABLE when there is no answer in time (the fail mode then decides, not the store).
 */
export interface Store {
  readonly kind: string
  /** Epoch ms by the store's clock, as well as this process knows it. */
  now(): number
  health(): StoreHealth
  /** Decides and counts, atomically: block, all limits or none, violation, and the block it leads to. */
  check(check: Check): Answer<Verdict>
  /** Decides without counting. */
  peek(check: Check): Answer<Verdict>
  /** Gives back what a receipt says; returns the units that came back. The caller sees to it that this happens once. */
  refund(receipt: Receipt): Answer<number>
  client(client: string, policies: readonly CompiledPolicy[]): Answer<ClientRecord>
  block(block: NewBlock): Answer<Block>
  unblock(client: string, options: UnblockOptions, policies: readonly CompiledPolicy[]): Answer<UnblockResult>
  /** The blocks in force that come after that place; at most `limit`, and none only where there are no more. */
  blocks(limit: number, after?: BlockPlace): Answer<BlockList>
  close(): Answer<void>
}
