import { expect, test } from 'vitest'
import type { Decision } from '../contracts/index.ts'
import { isNear, Lately } from './lately.ts'

const decision = (client: string, windowMs: number): Pick<Decision, 'client' | 'limits'> => ({
  client,
  limits: [{ limit: 100, windowMs, remaining: 5, resetAfterMs: 1 }],
})

test.each([
  [100, 20, true],
  [100, 21, false],
  [1, 0, true],
  [0, 0, false],
])('of %i, %i left is near: %s', (limit, remaining, near) => expect(isNear({ limit, remaining })).toBe(near))

test('who came near a limit is told of while the limit remembers it, then who was busy in the last minute', () => {
  const lately = new Lately()
  lately.add(decision('hour', 3_600_000))
  lately.add(decision('minute', 60_000))
  expect(lately.take(0, [{ client: 'busy' }])).toEqual(['minute', 'hour', 'busy'])
  expect(lately.take(59_000, [])).toEqual(['minute', 'hour', 'busy'])
  expect(lately.take(61_000, [])).toEqual(['hour'])
  expect(lately.take(3_700_000, [])).toEqual([])
})

test('is bounded, and the last ones stay', () => {
  const lately = new Lately()
  for (let i = 0; i < 10_000; i++) {
    lately.add(decision(`near${i}`, 60_000))
    if (i % 100 === 99) lately.take(i, [{ client: `busy${i}` }])
  }
  const told = lately.take(10_000, [])
  expect(told.length).toBeLessThanOrEqual(150)
  expect(told[0]).toBe('near9999')
  expect(told).toContain('busy9999')
})
