import type { Algorithm, Limit } from '../algorithm.ts'

export interface Bucket {
  tokens: number
  /** When `tokens` was true, µs. */
  lastRefill: number
}

/** Tokens, as a share of the capacity: far below one, far above the rounding of doubles. Same number in the Lua. */
const SLACK = 1e-12

const tokensAt = (bucket: Bucket, { capacity, limit, windowUs }: Limit, now: number) =>
  Math.min(capacity, bucket.tokens + (Math.max(0, now - bucket.lastRefill) * limit) / windowUs)

/** A bucket of `capacity` tokens that refills at limit/window; a request takes `cost` of them. */
export const tokenBucket: Algorithm<Bucket> = {
  id: 'token_bucket',
  bursts: true,
  fresh: ({ capacity }, now) => ({ tokens: capacity, lastRefill: now }),
  available: (bucket, limit, now) => Math.floor(tokensAt(bucket, limit, now) + limit.capacity * SLACK),
  take(bucket, limit, now, cost) {
    if (tokenBucket.available(bucket, limit, now) < cost) return -1
    bucket.tokens = Math.max(0, tokensAt(bucket, limit, now) - cost)
    bucket.lastRefill = now
    return tokenBucket.available(bucket, limit, now)
  },
  refund(bucket, limit, now, cost) {
    const before = tokensAt(bucket, limit, now)
    bucket.tokens = Math.min(limit.capacity, before + cost)
    bucket.lastRefill = now
    return Math.round(bucket.tokens - before)
  },
  wait(bucket, limit, now, cost) {
    // Half the slack, so that whoever waits this long is surely admitted.
    const missing = cost - limit.capacity * (SLACK / 2) - tokensAt(bucket, limit, now)
    return Math.max(0, Math.ceil((missing * limit.windowUs) / limit.limit))
  },
  next: (bucket, limit, now, remaining) => tokenBucket.wait(bucket, limit, now, remaining + 1),
  fullAfter: (bucket, limit, now) => tokenBucket.wait(bucket, limit, now, limit.capacity),
  fullWithin: ({ capacity, limit, windowUs }) => Math.ceil((capacity * windowUs) / limit),
}
