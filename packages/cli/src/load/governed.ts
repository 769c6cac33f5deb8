import type { ControlPlane } from '@api-bouncer/limiter/contracts'
import { holdsSomething } from './cleaning.ts'
import { addressOf } from './clients.ts'
import type { Law } from './oracle.ts'
import type { Result } from './sender.ts'
import type { TraceData } from './trace.ts'

/** Of so many clients it is looked at what was counted. */
const LOOKED_AT = 16
/** A look takes its time, ms. */
const LOOK_MS = 1000

export const usedBy = ({ client, count }: Pick<TraceData, 'client' | 'count'>): number[] => [
  ...new Set(client.subarray(0, count)),
]

/** Whether the control plane has counted anything of the run's clients; asked right after it. */
export async function hasCounted(control: ControlPlane, { trace }: Result): Promise<boolean> {
  const details = await Promise.all(
    usedBy(trace)
      .slice(0, LOOKED_AT)
      .map(client => control.client(addressOf(client))),
  )
  return details.some(holdsSomething)
}

/**
 * Why the target is not what this control plane governs; undefined: nothing speaks against it. `counted`: whether it has
 * counted anything of the clients, `afterMs` after the last request was sent.
 */
export function notGoverned(
  { policy, listed }: Law,
  { seen, trace }: Result,
  counted: boolean,
  afterMs: number,
): string | undefined {
  // These count nothing of anybody.
  if (!policy || policy.limits.length === 0 || usedBy(trace).some(client => listed(addressOf(client)))) return undefined
  if (seen.answered > 0 && seen.counted === 0 && seen.limited + seen.blocked + seen.degraded === 0) {
    return "no answer had the limiter's headers (RateLimit, X-RateLimit-*): it does not limit this route, or the target is not behind it"
  }
  if (counted || seen.answered === 0) return undefined
  // What refills meanwhile leaves no trace. A log remembers a request for its window, a fixed window until it is over.
  const remembersMs = REFILLED.has(policy.algorithm.id)
    ? Math.max(...policy.limits.map(({ windowMs, limit }) => windowMs / limit))
    : Math.max(...policy.limits.map(({ windowMs }) => windowMs))
  const { id } = policy.algorithm
  const sinceMs = id === 'fixed_window' ? afterMs + spanOf(trace) : afterMs
  if (remembersMs < sinceMs + LOOK_MS) return undefined
  return 'the control plane has counted none of these requests: the target is governed by another one'
}

/** From the first request to the last, ms. */
const spanOf = ({ sentAt, count }: TraceData) => ((sentAt[count - 1] ?? 0) - (sentAt[0] ?? 0)) / 1000

const REFILLED: ReadonlySet<string> = new Set(['gcra', 'token_bucket'])
