import type { LiveFrame, StatsHistory } from '@api-bouncer/limiter/contracts'
import { expect, test } from 'vitest'
import { pointsOf } from './points.ts'

const NOW = 1_800_000_000_000
const bucket = (at: number, allowed: number) => ({
  at,
  policies: { p: { allowed } },
  latency: [],
  blocks: 0,
  instances: 1,
})
const frame = (at: number, allowed: number) =>
  ({ at, spanMs: 500, policies: { p: { allowed } } }) as unknown as LiveFrame
const history = (range: '5m' | '1h', buckets: StatsHistory['buckets']): StatsHistory => ({
  range,
  stepMs: 0,
  at: NOW,
  buckets,
})
const allowedAt = (points: ReturnType<typeof pointsOf>, at: number) =>
  points.find(point => point.at === at)?.rates?.allowed

test('what was kept comes first, what came live stands over it, a second', () => {
  const points = pointsOf(
    '5m',
    history('5m', [bucket(NOW - 9000, 7), bucket(NOW - 2000, 9)]),
    [frame(NOW - 1800, 10)],
    NOW,
  )
  expect(points[0]?.at).toBe(NOW - 300_000)
  expect(allowedAt(points, NOW - 9000)).toBe(7)
  expect(allowedAt(points, NOW - 2000)).toBe(20)
})

test('a step that nobody told of is a gap, but not one that is merely late', () => {
  const points = pointsOf('5m', undefined, [frame(NOW - 20_000, 1), frame(NOW - 18_000, 1), frame(NOW - 4000, 1)], NOW)
  expect(allowedAt(points, NOW - 19_000)).toBe(2)
  expect(points.find(({ at }) => at === NOW - 10_000)?.rates).toBeNull()
})

test('a longer range counts its steps as rates', () => {
  const points = pointsOf('1h', history('1h', [bucket(NOW - 60_000, 500)]), [], NOW)
  expect(allowedAt(points, NOW - 60_000)).toBe(50)
  expect(points.find(({ at }) => at === NOW - 50_000)?.rates).toBeNull()
})
