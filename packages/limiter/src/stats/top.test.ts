import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Top } from './top.ts'

const ALL = Number.POSITIVE_INFINITY

// Few names and a long tail, so that the sketch is really under pressure.
const client = fc.oneof(
  { weight: 2, arbitrary: fc.integer({ min: 0, max: 3 }) },
  { weight: 1, arbitrary: fc.integer({ min: 4, max: 500 }) },
)

test('a count is never too high, too low by at most total / width, and few are remembered', () => {
  fc.assert(
    fc.property(fc.array(client, { maxLength: 600 }), fc.integer({ min: 1, max: 12 }), (stream, width) => {
      const top = new Top(width)
      const exact = new Map<string, number>()
      for (const number of stream) {
        top.add(`c${number}`, 'allowed')
        exact.set(`c${number}`, (exact.get(`c${number}`) ?? 0) + 1)
      }
      const taken = top.take(ALL, ALL)
      expect(taken.length).toBeLessThanOrEqual(width * (2 + Math.log2(1 + stream.length / width)))
      const counted = new Map(taken.map(({ client, count }) => [client, count]))
      for (const [client, n] of exact) {
        const count = counted.get(client) ?? 0
        expect(count).toBeLessThanOrEqual(n)
        expect(count).toBeGreaterThanOrEqual(n - stream.length / width)
        if (exact.size <= width) expect(count).toBe(n)
      }
      expect(taken.map(({ count }) => count)).toEqual(taken.map(({ count }) => count).sort((a, b) => b - a))
    }),
    { numRuns: 300 },
  )
})

test('tells what became of their requests, the busiest first, then who was refused', () => {
  const top = new Top(8)
  for (const client of ['a', 'b', 'c', 'a', 'b', 'a']) top.add(client, 'allowed')
  top.add('d', 'allowed')
  top.add('c', 'limited')
  top.add('refused', 'blocked')
  expect(top.take(1, 3)).toEqual([
    { client: 'a', count: 3, outcomes: { allowed: 3 } },
    { client: 'c', count: 2, outcomes: { allowed: 1, limited: 1 } },
    { client: 'refused', count: 1, outcomes: { blocked: 1 } },
  ])
})

test('a client that is refused once is told of, however many others come', () => {
  const top = new Top(8)
  top.add('refused', 'limited')
  for (let i = 0; i < 10_000; i++) top.add(`c${i}`, 'allowed')
  expect(top.take(3, 200)).toContainEqual({ client: 'refused', count: 1, outcomes: { limited: 1 } })
})

test('starts afresh when it has been taken', () => {
  const top = new Top(3)
  top.add('a', 'allowed')
  top.take(1, 1)
  top.add('b', 'allowed')
  expect(top.take(3, 3)).toEqual([{ client: 'b', count: 1, outcomes: { allowed: 1 } }])
})
