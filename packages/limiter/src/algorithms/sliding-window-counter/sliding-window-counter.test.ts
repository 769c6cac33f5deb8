import { describe, expect, it } from 'vitest'
import { policySchema } from '../../contracts/index.ts'
import { compilePolicy } from '../../policies/table.ts'
import { slidingWindowCounter } from './sliding-window-counter.ts'

const SECOND = 1_000_000
/** Buckets are aligned to multiples of the window: 1.8e15 µs is the start of a minute. */
const NOW = 1.8e15
const limit = compilePolicy(policySchema.parse({ id: 'p', limits: [{ limit: 50, window: '1m' }] }), undefined, {
  algorithm: 'sliding_window_counter',
  failMode: 'open',
}).limits[0]!

describe('sliding_window_counter, 50 a minute', () => {
  // https://blog.cloudflare.com/counting-things-a-lot-of-different-things/
  it("estimates 49.5 in Cloudflare's example: 42 in the last minute, 18 in this one, 15 s into it", () => {
    const state = slidingWindowCounter.fresh(limit, NOW)
    slidingWindowCounter.take(state, limit, NOW + 20 * SECOND, 42)
    const now = NOW + 75 * SECOND
    slidingWindowCounter.take(state, limit, now, 18)
    // 42 × 0.75 + 18 = 49.5: half a unit is not one.
    expect(slidingWindowCounter.available(state, limit, now)).toBe(0)
    // 42 × (60 - s) / 60 falls to 31 at s = 15.714286.
    expect(slidingWindowCounter.wait(state, limit, now, 1)).toBe(714_286)
    expect(slidingWindowCounter.available(state, limit, now + 714_286)).toBe(1)
  })

  it('waits into the next bucket when the current one alone leaves no room', () => {
    const state = slidingWindowCounter.fresh(limit, NOW)
    slidingWindowCounter.take(state, limit, NOW + 10 * SECOND, 50)
    // 50 × (60 - s) / 60 falls to 49 at s = 1.2, and to 40 at s = 12.
    expect(slidingWindowCounter.wait(state, limit, NOW + 10 * SECOND, 1)).toBe(51.2 * SECOND)
    expect(slidingWindowCounter.wait(state, limit, NOW + 10 * SECOND, 10)).toBe(62 * SECOND)
  })
})
