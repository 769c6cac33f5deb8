import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Decision, LATENCY_BUCKETS, OUTCOMES, type OutcomeCounts, outcomeCounts } from '../contracts/index.ts'
import { Recorder } from './recorder.ts'

const block = { client: 'c', reason: 'r', since: 0, until: 1, offence: 1, by: 'auto' }

const decision = (over: Partial<Decision> = {}): Decision => ({
  outcome: 'allowed',
  reason: 'limit',
  client: 'c',
  policy: 'auth',
  at: 0,
  cost: 1,
  limit: 5,
  remaining: 4,
  resetAfterMs: 0,
  limits: [],
  ...over,
})

const add = (sum: Record<string, OutcomeCounts>, more: Record<string, OutcomeCounts>) => {
  for (const [policy, counts] of Object.entries(more)) {
    const into: OutcomeCounts = sum[policy] ?? {}
    for (const [outcome, n] of Object.entries(counts) as [keyof OutcomeCounts, number][]) {
      into[outcome] = (into[outcome] ?? 0) + n
    }
    sum[policy] = into
  }
}

describe('the recorder', () => {
  test('frames add up to the totals, wherever they are cut', () => {
    const step = fc.oneof(
      fc.record({
        outcome: fc.constantFrom(...OUTCOMES),
        policy: fc.constantFrom('auth', 'api', undefined),
        shadow: fc.constantFrom('allowed', 'limited', undefined),
        blocks: fc.boolean(),
        seconds: fc.double({ min: 0, max: 2, noNaN: true }),
      }),
      fc.constant('frame' as const),
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), steps => {
        const recorder = new Recorder()
        const sum: Record<string, OutcomeCounts> = {}
        const latency = new Array<number>(LATENCY_BUCKETS.length + 1).fill(0)
        let [blocks, overflow, now, decisions, seconds, spans] = [0, 0, 1000, 0, 0, 0]
        const cut = () => {
          now += 7
          const frame = recorder.frame(now, now)
          add(sum, frame.policies)
          for (const counts of Object.values(frame.policies)) expect(outcomeCounts.safeParse(counts).success).toBe(true)
          frame.latency.forEach((n, i) => {
            latency[i] = (latency[i] as number) + n
          })
          blocks += frame.blocks
          overflow += frame.overflow
          spans += frame.spanMs
        }
        cut()
        spans = 0
        const start = now
        for (const step of steps) {
          if (step === 'frame') cut()
          else {
            const { outcome, policy, shadow, blocks, seconds: took } = step
            const { policy: _, ...anonymous } = decision({ outcome })
            recorder.record(
              {
                ...anonymous,
                ...(policy && { policy }),
                ...(blocks && { block }),
                ...(shadow && { shadow: { policy: 'trial', outcome: shadow, remaining: 0 } }),
              },
              took,
            )
            decisions++
            seconds += took
          }
        }
        cut()
        const totals = recorder.totals()
        const shown: Record<string, OutcomeCounts> = {}
        for (const [policy, counts] of totals.policies) {
          shown[policy] = Object.fromEntries(Object.entries(counts).filter(([, n]) => n > 0))
        }
        expect(sum).toEqual(shown)
        expect(latency).toEqual(totals.latency)
        expect(latency.reduce((a, b) => a + b)).toBe(decisions)
        expect(totals.latencySum).toBeCloseTo(seconds)
        expect(blocks).toBe(totals.blocks)
        expect(overflow).toBe(now)
        expect(spans).toBe(now - start)
      }),
    )
  })

  test('counts by policy and outcome, what no policy covers under "-", and what a shadow policy would have done', () => {
    const recorder = new Recorder()
    const { policy: _, ...none } = decision({ outcome: 'exempt', reason: 'no-policy' })
    recorder.record(decision(), 0)
    recorder.record(decision({ outcome: 'limited', shadow: { policy: 'trial', outcome: 'limited', remaining: 0 } }), 0)
    recorder.record(decision({ outcome: 'limited' }), 0)
    recorder.record(none, 0)
    expect(recorder.frame(1000, 0).policies).toEqual({
      auth: { allowed: 1, limited: 2 },
      trial: { 'shadow-limited': 1 },
      '-': { exempt: 1 },
    })
    expect(recorder.frame(2000, 0).policies).toEqual({})
  })

  test('counts a block when it is set, not each time it refuses', () => {
    const recorder = new Recorder()
    recorder.record(decision({ outcome: 'limited', block }), 0)
    for (let i = 0; i < 5; i++) recorder.record(decision({ outcome: 'blocked', block }), 0)
    expect(recorder.totals().blocks).toBe(1)
  })

  test.each([
    ['degraded-allowed', 1],
    ['degraded-refused', 1],
    ['allowed', 0],
    ['limited', 0],
  ] as const)('%s counts %i towards degraded decisions', (outcome, expected) => {
    const recorder = new Recorder()
    recorder.record(decision({ outcome }), 0)
    expect(recorder.totals().degraded).toBe(expected)
    // Every frame tells of all since the start.
    for (let i = 1; i <= 2; i++) expect(recorder.frame(i * 1000, 0).degraded).toBe(expected)
  })

  test.each([
    [0, 0],
    [LATENCY_BUCKETS[0], 0],
    [LATENCY_BUCKETS[0] + 1e-9, 1],
    [0.001, LATENCY_BUCKETS.indexOf(0.001)],
    [1, LATENCY_BUCKETS.length - 1],
    [1.5, LATENCY_BUCKETS.length],
  ])('%d s falls into bucket %i: bounds are inclusive', (seconds, bucket) => {
    const recorder = new Recorder()
    recorder.record(decision(), seconds)
    expect(recorder.totals().latency.indexOf(1)).toBe(bucket)
  })

  test('timing one in eight, each of them stands for those before it', () => {
    const recorder = new Recorder(8)
    for (let i = 0; i < 20; i++) recorder.record(decision(), recorder.isTiming ? (i < 8 ? 0.002 : 0.02) : undefined)
    const { latency } = recorder.frame(1000, 0)
    // The first, then those up to and with the 9th, the 17th; the last three are counted as it was.
    expect(latency[LATENCY_BUCKETS.indexOf(0.0025)]).toBe(1)
    expect(latency[LATENCY_BUCKETS.indexOf(0.025)]).toBe(19)
    expect(recorder.totals().latencySum).toBeCloseTo(0.002 + 19 * 0.02)
  })

  test('a frame names the busiest 20 clients of its own second', () => {
    const recorder = new Recorder()
    for (let i = 1; i <= 30; i++) for (let n = 0; n < i; n++) recorder.record(decision({ client: `c${i}` }), 0)
    const { top } = recorder.frame(1000, 0)
    expect(top).toHaveLength(20)
    expect(top.slice(0, 2)).toEqual([
      { client: 'c30', count: 30, outcomes: { allowed: 30 } },
      { client: 'c29', count: 29, outcomes: { allowed: 29 } },
    ])
    recorder.record(decision({ client: 'c1' }), 0)
    expect(recorder.frame(2000, 0).top).toEqual([{ client: 'c1', count: 1, outcomes: { allowed: 1 } }])
  })
})
