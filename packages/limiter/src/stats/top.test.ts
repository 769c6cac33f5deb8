import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Top } from './top.ts'

// Few names and a long tail, so that the sketch is really under pressure.
const client = fc.oneof(
  { weight: 2, arbitrary: fc.integer({ min: 0, max: 3 }) },
  { weight: 1, arbitrary: fc.integer({ min: 4, max: 500 }) },
)

test('a count is never too high, too low by at most total / size, and no more than `size` are remembered', () => {
  fc.assert(
    fc.property(fc.array(client, { maxLength: 600 }), fc.integer({ min: 1, max: 12 }), (stream, size) => {
      const top = new Top(size)
      const exact = new Map<string, number>()
      for (const number of stream) {
        top.add(`c${number}`)
        exact.set(`c${number}`, (exact.get(`c${number}`) ?? 0) + 1)
      }
      const taken = top.take(Number.POSITIVE_INFINITY)
      expect(taken.length).toBeLessThanOrEqual(size)
      const counted = new Map(taken.map(({ client, count }) => [client, count]))
      for (const [client, n] of exact) {
        const count = counted.get(client) ?? 0
        expect(count).toBeLessThanOrEqual(n)
        expect(count).toBeGreaterThanOrEqual(n - stream.length / size)
      }
      expect(taken.map(({ count }) => count)).toEqual(taken.map(({ count }) => count).sort((a, b) => b - a))
    }),
    { numRuns: 300 },
  )
})

test('is exact while there are no more clients than it can hold', () => {
  const top = new Top(3)
  for (const client of ['a', 'b', 'c', 'a', 'b', 'a']) top.add(client)
  expect(top.take(2)).toEqual([
    { client: 'a', count: 3 },
    { client: 'b', count: 2 },
  ])
})

test('starts afresh when it has been taken', () => {
  const top = new Top(3)
  top.add('a')
  top.take(1)
  top.add('b')
  expect(top.take(3)).toEqual([{ client: 'b', count: 1 }])
})
