import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { constant, ramps, type Schedule } from './schedule.ts'

/** The integral of the rate from 0 to `ms`, by its definition. */
function integral({ stages }: Schedule, ms: number): number {
  let [sum, start] = [0, 0]
  for (const { from, to, durationMs } of stages) {
    const into = Math.min(Math.max(ms - start, 0), durationMs) / 1000
    sum += from * into + ((to - from) / (durationMs / 1000)) * (into ** 2 / 2)
    start += durationMs
  }
  return sum
}

const times = (schedule: Schedule) => Array.from({ length: schedule.count }, (_, i) => schedule.at(i))

describe('a constant rate', () => {
  it('sends request i at i/rate, with no drift after an hour', () => {
    const schedule = constant(200, 3_600_000)
    expect(schedule.count).toBe(720_000)
    expect([0, 1, 200, 719_999].map(schedule.at)).toEqual([0, 5, 1000, 3_599_995])
  })

  it('sends what the rate makes of the time, the last one before its end', () => {
    expect(times(constant(3, 1000))).toEqual([0, 1000 / 3, 2000 / 3])
    expect(constant(0.1, 10_000).count).toBe(1)
    expect(constant(0.1, 10_001).count).toBe(2)
    expect(constant(7, 100).count).toBe(1)
  })

  it('sends floor or ceiling of rate × time, in order, at even distances', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 3000 }), fc.integer({ min: 1, max: 3000 }), (rps, durationMs) => {
        const schedule = constant(rps, durationMs)
        expect(schedule.count).toBe(Math.ceil((rps * durationMs) / 1000))
        const off = times(schedule).map((time, i) => Math.abs(time - (i * 1000) / rps))
        expect(off.every(one => one < 1e-6)).toBe(true)
      }),
      { numRuns: 50 },
    )
  })
})

describe('stages', () => {
  it('hold the first rate, then go from rate to rate', () => {
    const schedule = ramps([
      { rps: 50, durationMs: 10_000 },
      { rps: 200, durationMs: 30_000 },
    ])
    expect(schedule.stages).toEqual([
      { from: 50, to: 50, durationMs: 10_000 },
      { from: 50, to: 200, durationMs: 30_000 },
    ])
    expect(schedule.count).toBe(500 + 125 * 30)
    expect(schedule.durationMs).toBe(40_000)
  })

  it('start from the rate that --rps gives', () => {
    expect(ramps([{ rps: 100, durationMs: 2000 }], 0).count).toBe(100)
    expect(ramps([{ rps: 100, durationMs: 2000 }], 0).at(1)).toBeCloseTo(200, 6)
  })

  it('have request k due exactly when the integral of the rate reaches k', () => {
    const stage = fc.record({ rps: fc.integer({ min: 0, max: 200 }), durationMs: fc.integer({ min: 1, max: 3000 }) })
    fc.assert(
      fc.property(fc.array(stage, { minLength: 1, maxLength: 4 }), fc.integer({ min: 0, max: 500 }), (targets, rps) => {
        const schedule = ramps(targets, rps)
        const all = times(schedule)
        expect(Math.abs(schedule.count - integral(schedule, schedule.durationMs))).toBeLessThanOrEqual(1)
        all.forEach((time, i) => {
          expect(time).toBeLessThanOrEqual(schedule.durationMs)
          if (i > 0) expect(time).toBeGreaterThanOrEqual(all[i - 1] as number)
          expect(Math.abs(integral(schedule, time) - i)).toBeLessThan(1e-4)
        })
      }),
      { numRuns: 60 },
    )
  })
})
