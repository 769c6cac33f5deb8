import { describe, expect, it } from 'vitest'
import { policySchema } from '../../contracts/index.ts'
import { compilePolicy } from '../../policies/table.ts'
import { gcra } from './gcra.ts'

const NOW = 1.8e15
const SECOND = 1_000_000

const compile = (limit: number, window: string, burst = limit) =>
  compilePolicy(policySchema.parse({ id: 'p', limits: [{ limit, window, burst }] }), undefined, {
    algorithm: 'gcra',
    failMode: 'open',
  }).limits[0]!

// The published cases of throttled's GCRA (rate_test.go, TestRateLimit), which redis-cell took over: a unit a second, 5 at
// once. Seconds; retry -1 is throttled's "none".
const PUBLISHED = [
  { at: 0, volume: 6, remaining: 5, reset: 0, retry: -1, limited: true },
  { at: 0, volume: 1, remaining: 4, reset: 1, retry: -1, limited: false },
  { at: 0, volume: 1, remaining: 3, reset: 2, retry: -1, limited: false },
  { at: 0, volume: 1, remaining: 2, reset: 3, retry: -1, limited: false },
  { at: 0, volume: 1, remaining: 1, reset: 4, retry: -1, limited: false },
  { at: 0, volume: 1, remaining: 0, reset: 5, retry: -1, limited: false },
  { at: 0, volume: 1, remaining: 0, reset: 5, retry: 1, limited: true },
  { at: 3, volume: 1, remaining: 2, reset: 3, retry: -1, limited: false },
  { at: 3.1, volume: 1, remaining: 1, reset: 3.9, retry: -1, limited: false },
  { at: 4, volume: 1, remaining: 1, reset: 4, retry: -1, limited: false },
  { at: 8, volume: 1, remaining: 4, reset: 1, retry: -1, limited: false },
  { at: 9.5, volume: 1, remaining: 4, reset: 1, retry: -1, limited: false },
  { at: 9.5, volume: 0, remaining: 4, reset: 1, retry: -1, limited: false },
  { at: 9.5, volume: 2, remaining: 2, reset: 3, retry: -1, limited: false },
  { at: 9.5, volume: 5, remaining: 2, reset: 3, retry: 3, limited: true },
]

describe('gcra', () => {
  it("answers throttled's and redis-cell's published cases", () => {
    const limit = compile(5, '5s')
    const state = gcra.fresh(limit, NOW)
    const answers = PUBLISHED.map(({ at, volume }) => {
      const now = NOW + at * SECOND
      const limited = gcra.available(state, limit, now) < volume
      const retry = !limited || volume > limit.capacity ? -1 : gcra.wait(state, limit, now, volume) / SECOND
      if (!limited && volume > 0) gcra.take(state, limit, now, volume)
      const reset = gcra.fullAfter(state, limit, now) / SECOND
      return { at, volume, remaining: gcra.available(state, limit, now), reset, retry, limited }
    })
    expect(answers).toEqual(PUBLISHED)
  })

  it('adds up units that each cost less time than a double can tell near 2^51 µs', () => {
    const limit = compile(1_000_000, '100ms')
    const state = gcra.fresh(limit, NOW)
    for (let i = 0; i < 1000; i++) gcra.take(state, limit, NOW, 1)
    expect(gcra.available(state, limit, NOW)).toBe(999_000)
    expect(gcra.fullAfter(state, limit, NOW)).toBe(100)
  })

  it('forgets the debt of a burst that is no longer granted', () => {
    const generous = compile(10, '10s', 100)
    const strict = compile(10, '10s', 5)
    const state = gcra.fresh(generous, NOW)
    for (let i = 0; i < 10; i++) gcra.take(state, generous, NOW, 10)
    expect(gcra.wait(state, strict, NOW, 1)).toBe(SECOND)
    expect(gcra.fullAfter(state, strict, NOW)).toBe(5 * SECOND)
  })
})
