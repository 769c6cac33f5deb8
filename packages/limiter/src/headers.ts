import { STATUS_CODES } from 'node:http'
import type { Decision, LimitVerdict } from './contracts/index.ts'
import type { CompiledPolicy } from './policies/table.ts'

/** `X-RateLimit-*`, the IETF pair, both or none. */
export const HEADER_STYLES = ['both', 'legacy', 'ietf', 'none'] as const
export type HeaderStyle = (typeof HEADER_STYLES)[number]

/** The names of all headers this module may set, for Access-Control-Expose-Headers. */
export const HEADER_NAMES = [
  'X-RateLimit-Limit',
  'X-RateLimit-Remaining',
  'X-RateLimit-Reset',
  'RateLimit-Policy',
  'RateLimit',
  'Retry-After',
] as const

const seconds = (ms: number) => Math.ceil(ms / 1000)

interface Fields {
  /** A structured-field string a limit; policy ids need no escaping, they are letters, digits, ".", "_" and "-". */
  readonly names: readonly string[]
  /** The RateLimit-Policy field. */
  readonly policy: string
}

const fields = new WeakMap<CompiledPolicy, Fields>()

/** What of the IETF pair is the same for every request of a policy. */
function fieldsOf(policy: CompiledPolicy): Fields {
  const known = fields.get(policy)
  if (known) return known
  const names = policy.limits.map(limit =>
    policy.limits.length === 1 ? `"${policy.id}"` : `"${policy.id}/${limit.windowName}"`,
  )
  const list = policy.limits.map(({ limit, capacity, windowMs }, i) => {
    // `w` is whole seconds; a window of 250 ms has none that would be true.
    const window = windowMs % 1000 === 0 ? `;w=${windowMs / 1000}` : ''
    return `${names[i]};q=${limit}${window}${capacity === limit ? '' : `;burst=${capacity}`}`
  })
  const made = { names, policy: list.join(', ') }
  fields.set(policy, made)
  return made
}

const stateOf = (name: string, { remaining, resetAfterMs }: Pick<LimitVerdict, 'remaining' | 'resetAfterMs'>) =>
  `${name};r=${remaining};t=${seconds(resetAfterMs)}`

/** What a limit says to the client; while it is blocked there are no units of any, at least until the block's end. */
function told(decision: Decision, index: number): Pick<LimitVerdict, 'remaining' | 'resetAfterMs'> {
  const { block } = decision
  const limit = decision.limits[index]
  if (!block || !limit) return limit ?? decision
  const blockedForMs = Math.max(0, block.until - decision.at)
  return { remaining: 0, resetAfterMs: Math.max(blockedForMs, limit.remaining > 0 ? 0 : limit.resetAfterMs) }
}

/** What headers are set on: a response. */
export interface HeaderTarget {
  setHeader(name: string, value: string): unknown
}

/**
 * Sets the headers that tell a client where it stands: X-RateLimit-* for the limit that binds (Reset in epoch seconds), and
 * RateLimit-Policy / RateLimit (draft-ietf-httpapi-ratelimit-headers-10, RFC 9651) for all limits of the policy.
 */
export function setRateLimitHeaders(
  target: HeaderTarget,
  decision: Decision,
  policy: CompiledPolicy | undefined,
  style: HeaderStyle = 'both',
): void {
  const { limits, outcome, at } = decision
  if (style !== 'none' && policy && policy.limits.length > 0 && (limits.length > 0 || decision.block)) {
    if (style !== 'ietf') {
      target.setHeader('X-RateLimit-Limit', `${decision.limit}`)
      target.setHeader('X-RateLimit-Remaining', `${decision.remaining}`)
      target.setHeader('X-RateLimit-Reset', `${seconds(at + decision.resetAfterMs)}`)
    }
    if (style !== 'legacy') {
      const { names, policy: quota } = fieldsOf(policy)
      target.setHeader('RateLimit-Policy', quota)
      let states = stateOf(names[0] as string, told(decision, 0))
      for (let i = 1; i < names.length; i++) states += `, ${stateOf(names[i] as string, told(decision, i))}`
      target.setHeader('RateLimit', states)
    }
  }
  if (outcome !== 'allowed' && decision.retryAfterMs !== undefined) {
    target.setHeader('Retry-After', String(Math.max(1, seconds(decision.retryAfterMs))))
  }
}

/** The same as a list. */
export function rateLimitHeaders(
  decision: Decision,
  policy: CompiledPolicy | undefined,
  style?: HeaderStyle,
): [string, string][] {
  const headers: [string, string][] = []
  setRateLimitHeaders({ setHeader: (name, value) => headers.push([name, value]) }, decision, policy, style)
  return headers
}

/** A refusal for machines and people: RFC 9457, with the types registered by the ratelimit-headers draft. */
export interface Problem {
  readonly type: string
  readonly title: string
  readonly status: 403 | 429 | 503
  readonly detail: string
  readonly 'violated-policies'?: readonly string[]
  /** Whole seconds, as in Retry-After. */
  readonly retryAfter?: number
  readonly requestId: string
}

const TYPES = 'https://iana.org/assignments/http-problem-types#'

/** The body of a refusal. */
export function problemOf(decision: Decision, requestId: string): Problem {
  const { reason, retryAfterMs, policy } = decision
  const retryAfter = retryAfterMs === undefined ? {} : { retryAfter: Math.max(1, seconds(retryAfterMs)) }
  const wait = retryAfterMs === undefined ? '' : ` Try again in ${retryAfter.retryAfter} s.`
  const make = (type: string, status: Problem['status'], title = '', detail = ''): Problem => ({
    type: type === '' ? 'about:blank' : `${TYPES}${type}`,
    title,
    status,
    detail,
    ...(reason === 'limit' && policy !== undefined && { 'violated-policies': violated(decision) }),
    ...retryAfter,
    requestId,
  })
  if (reason === 'store') {
    return make(
      'temporary-reduced-capacity',
      503,
      'Temporarily unavailable',
      `The request could not be checked in time.${wait}`,
    )
  }
  if (reason === 'denylist') return make('', 403, STATUS_CODES[403] as string, 'This client is not allowed here.')
  if (decision.block) {
    // An operator's reason is not the client's business.
    const { by, reason: why } = decision.block
    const [title, detail] =
      by === 'auto' ? ['Blocked for repeated violations', `Blocked: ${why}.`] : ['Blocked', 'Blocked.']
    return make('abnormal-usage-detected', 429, title, `${detail}${wait}`)
  }
  const detail =
    retryAfterMs === undefined
      ? `A cost of ${decision.cost} is above the limit of ${decision.limit}; waiting does not help.`
      : `${decision.cost > 1 ? `A cost of ${decision.cost} is more than is left of the limit` : 'Over the limit'} of ${decision.limit} units.${wait}`
  return make('quota-exceeded', 429, 'Quota exceeded', detail)
}

function violated({ policy, limits }: Decision): string[] {
  if (limits.length <= 1) return [policy as string]
  return limits
    .filter(({ retryAfterMs }) => retryAfterMs !== 0)
    .map(({ windowMs }) => `${policy}/${windowMs % 1000 === 0 ? `${windowMs / 1000}s` : `${windowMs}ms`}`)
}
