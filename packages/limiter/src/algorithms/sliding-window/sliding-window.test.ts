import { describe, expect, it } from 'vitest'
import { policySchema } from '../../contracts/index.ts'
import { compilePolicy } from '../../policies/table.ts'
import { emptyLog, entryAt, expire, remove, sizeOf, slidingWindow } from './sliding-window.ts'

const NOW = 1.8e15
const SECOND = 1_000_000
const limit = compilePolicy(policySchema.parse({ id: 'p', limits: [{ limit: 100, window: '1m' }] }), undefined, {
  algorithm: 'sliding_window',
  failMode: 'open',
}).limits[0]!

describe('sliding_window, 100 a minute', () => {
  it('still counts at +60 s sharp what was allowed at 0, and no longer at +61 s', () => {
    const log = slidingWindow.fresh(limit, NOW)
    const asked = [
      { at: 0, units: 1, left: 99 },
      { at: 30, units: 49, left: 50 },
      { at: 59, units: 50, left: 0 },
    ]
    for (const { at, units, left } of asked) {
      for (let i = 0; i < units; i++) slidingWindow.take(log, limit, NOW + at * SECOND, 1)
      expect(slidingWindow.available(log, limit, NOW + at * SECOND)).toBe(left)
    }
    expect(slidingWindow.available(log, limit, NOW + 60 * SECOND)).toBe(0)
    expect(slidingWindow.wait(log, limit, NOW + 60 * SECOND, 1)).toBe(1)
    expect(slidingWindow.available(log, limit, NOW + 61 * SECOND)).toBe(1)
    slidingWindow.take(log, limit, NOW + 61 * SECOND, 1)
    // The next to leave are the 49 of 30 s, then the 50 of 59 s.
    expect(slidingWindow.wait(log, limit, NOW + 61 * SECOND, 1)).toBe(29 * SECOND + 1)
    expect(slidingWindow.wait(log, limit, NOW + 61 * SECOND, 50)).toBe(58 * SECOND + 1)
  })

  it('admits no burst across a minute boundary', () => {
    const log = slidingWindow.fresh(limit, NOW)
    slidingWindow.take(log, limit, NOW + 59 * SECOND, 100)
    expect(slidingWindow.available(log, limit, NOW + 61 * SECOND)).toBe(0)
  })
})

describe('the log', () => {
  it('keeps its order while it grows and its head wanders', () => {
    const log = emptyLog()
    let model: number[] = []
    for (let time = 0; time < 1000; time++) {
      log.push(time)
      model.push(time)
      if (time % 7 === 0) {
        const expired = time - (time % 90)
        expire(log, expired)
        model = model.filter(entry => entry >= expired)
      }
      if (time % 11 === 0) {
        const gone = model[Math.floor(model.length / 2)] as number
        expect(remove(log, gone, 2)).toBe(1)
        model = model.filter(entry => entry !== gone)
      }
      expect(Array.from({ length: sizeOf(log) }, (_, i) => entryAt(log, i))).toEqual(model)
    }
  })
})
