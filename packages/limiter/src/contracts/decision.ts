import * as z from 'zod'

/**
 * `allowed` · `limited` (over a limit) · `blocked` (in penalty or denylisted) · `exempt` (allowlisted, skipped or no policy
 * applies) · `degraded-*` (the store gave no answer in time; the fail mode decided).
 */
export const OUTCOMES = ['allowed', 'limited', 'blocked', 'exempt', 'degraded-allowed', 'degraded-refused'] as const
export type Outcome = (typeof OUTCOMES)[number]

/** Why a client is kept out for a time, and by whom. Times are epoch ms by the store's clock. */
export const blockSchema = z.object({
  client: z.string(),
  reason: z.string(),
  /** The policy whose violation set it; absent for a manual block. */
  policy: z.string().optional(),
  since: z.number(),
  until: z.number(),
  /** How many blocks the client has had within the penalty's memory, this one included. */
  offence: z.int(),
  /** `auto`, or the operator who set it. */
  by: z.string(),
})
export type Block = z.infer<typeof blockSchema>

/** One limit's part in a decision. */
export interface LimitVerdict {
  /** The most units that can be had at once. */
  readonly limit: number
  readonly windowMs: number
  /** Whole units left, never below 0. */
  readonly remaining: number
  /** Until a further unit becomes available; 0 when nothing is used. */
  readonly resetAfterMs: number
  /** Until this request would fit; 0 when it fits now; absent when it never will (cost above the limit). */
  readonly retryAfterMs?: number
}

/** What was decided about one request, and why. */
export interface Decision {
  readonly outcome: Outcome
  /** What decided. */
  readonly reason: 'limit' | 'block' | 'denylist' | 'allowlist' | 'skip' | 'no-policy' | 'store'
  /** Who is counted: an IPv4 address, an IPv6 prefix, or an id of your own. */
  readonly client: string
  /** Id of the policy that decided; absent when none applies. */
  readonly policy?: string
  /** Epoch ms by the store's clock. */
  readonly at: number
  readonly cost: number
  /** Of the limit that binds: the one that refuses, else the one with the least left. */
  readonly limit: number
  readonly remaining: number
  readonly resetAfterMs: number
  /** Absent when waiting does not help: allowed, denylisted, or a cost above the limit. */
  readonly retryAfterMs?: number
  /** All limits of the policy; empty when none was asked. */
  readonly limits: readonly LimitVerdict[]
  /** The block that refuses, or that this very violation set. */
  readonly block?: Block
  /** Violations of the client within the penalty's window, when this refusal was one. */
  readonly violations?: number
  /** What the matching shadow policy would have done. */
  readonly shadow?: { readonly policy: string; readonly outcome: 'allowed' | 'limited'; readonly remaining: number }
}

/** Whether the request goes on to its handler. */
export const isAllowed = ({ outcome }: Pick<Decision, 'outcome'>): boolean =>
  outcome === 'allowed' || outcome === 'exempt' || outcome === 'degraded-allowed'
