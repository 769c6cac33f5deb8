import { describe, expect, it } from 'vitest'
import { policySchema } from '../../contracts/index.ts'
import { compilePolicy } from '../../policies/table.ts'
import { fixedWindow } from './fixed-window.ts'

const NOW = 1.8e15
const SECOND = 1_000_000
const limit = compilePolicy(policySchema.parse({ id: 'p', limits: [{ limit: 100, window: '1m' }] }), undefined, {
  algorithm: 'fixed_window',
  failMode: 'open',
}).limits[0]!

describe('fixed_window, 100 a minute', () => {
  it('admits nearly twice the limit within a moment across the edge of two windows: its known weakness', () => {
    const window = fixedWindow.fresh(limit, NOW)
    fixedWindow.take(window, limit, NOW, 1)
    fixedWindow.take(window, limit, NOW + 59.999 * SECOND, 99)
    expect(fixedWindow.available(window, limit, NOW + 59.999 * SECOND)).toBe(0)
    expect(fixedWindow.wait(window, limit, NOW + 59.999 * SECOND, 100)).toBe(1000)
    fixedWindow.take(window, limit, NOW + 60 * SECOND, 100)
    // 199 within a millisecond, and then nothing for a minute.
    expect(fixedWindow.wait(window, limit, NOW + 60 * SECOND, 1)).toBe(60 * SECOND)
  })
})
