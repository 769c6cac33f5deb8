import type { IncomingHttpHeaders } from 'node:http'
import { ADMITTED, BLOCKED, DEGRADED, DENIED, LIMITED, type Outcome } from './trace.ts'

const TYPES = 'https://iana.org/assignments/http-problem-types#'

/** Whether the body must be read to know who refused: the limiter's own problems say so by their type. */
export const mayBeRefusal = (status: number): boolean => status === 429 || status === 403 || status === 503

const isProblem = (headers: IncomingHttpHeaders) =>
  /^application\/problem\+json\b/i.test(String(headers['content-type'] ?? ''))

/**
 * What the limiter did with a request, read from its answer. Only its own refusals count as such (DESIGN §3, HTTP): whatever
 * else says 429, 403 or 503 stands behind it, so the limiter had let the request through.
 */
export function outcomeOf(status: number, headers: IncomingHttpHeaders, body: string): Outcome {
  if (!mayBeRefusal(status) || !isProblem(headers)) return ADMITTED
  // The answer to HEAD has no body to tell.
  if (body === '') return status === 429 ? LIMITED : ADMITTED
  const { type, requestId, 'violated-policies': violated } = parse(body)
  const counted = headers.ratelimit !== undefined || headers['x-ratelimit-limit'] !== undefined
  if (status === 429 && type === `${TYPES}quota-exceeded`) return LIMITED
  if (status === 429 && type === `${TYPES}abnormal-usage-detected`) {
    // The violation that sets a block was refused by its limit, and is counted so in /metrics.
    return violated === undefined ? BLOCKED : LIMITED
  }
  if (status === 503 && type === `${TYPES}temporary-reduced-capacity`) return DEGRADED
  if (status === 403 && type === 'about:blank' && requestId !== undefined && !counted) return DENIED
  return ADMITTED
}

/** ms to wait; undefined where there is no usable Retry-After. */
export function retryAfterOf(headers: IncomingHttpHeaders): number | undefined {
  const text = String(headers['retry-after'] ?? '')
  return /^\d{1,9}$/.test(text) ? Number(text) * 1000 : undefined
}

function parse(body: string): { type?: unknown; requestId?: unknown; 'violated-policies'?: unknown } {
  try {
    const value: unknown = JSON.parse(body)
    return typeof value === 'object' && value !== null ? value : {}
  } catch {
    return {}
  }
}
