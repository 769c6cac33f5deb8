import type { Algorithm, Limit } from '../algorithm.ts'

export interface Bucket {
  tokens: number
  /** When `tokens` was true, µs. */
  lastRefill: number
}

/** Forgives the rounding of doubles: far below one unit, far above their error. Same number in the Lua. */
const EPSILON = 1e-9

const tokensAt = (bucket: Bucket, { capacity, limit, windowUs }: Limit, now: number) =>
  Math.min(capacity, bucket.tokens + (Math.max(0, now - bucket.lastRefill) * limit) / windowUs)

/** A bucket of `capacity` tokens that refills at limit/window; a request takes `cost` of them. */
export const tokenBucket: Algorithm<Bucket> = {
  id: 'token_bucket',
  bursts: true,
  fresh: ({ capacity }, now) => ({ tokens: capacity, lastRefill: now }),
  available: (bucket, limit, now) => Math.floor(tokensAt(bucket, limit, now) + EPSILON),
  take(bucket, limit, now, cost) {
    bucket.tokens = Math.max(0, tokensAt(bucket, limit, now) - cost)
    bucket.lastRefill = now
    return now
  },
  refund(bucket, limit, now, cost) {
    const before = tokensAt(bucket, limit, now)
    bucket.tokens = Math.min(limit.capacity, before + cost)
    bucket.lastRefill = now
    return Math.round(bucket.tokens - before)
  },
  wait(bucket, limit, now, cost) {
    const missing = cost - tokensAt(bucket, limit, now)
    return missing <= EPSILON ? 0 : Math.ceil((missing * limit.windowUs) / limit.limit)
  },
  fullAfter: (bucket, limit, now) => tokenBucket.wait(bucket, limit, now, limit.capacity),
}
