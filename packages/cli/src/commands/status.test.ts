import type { Status } from '@api-bouncer/limiter/contracts'
import { expect, it } from 'vitest'
import { width } from '../text.ts'
import { statusText } from './status.ts'

const same = (text: string) => text
const PLAIN = { bold: same, dim: same, good: same, warn: same, bad: same }
const instance = (name: string, degradedTotal?: number): Status['instances'][number] => ({
  instance: name,
  version: '1.0.0',
  uptimeMs: 60_000,
  epoch: 1,
  requestsPerSecond: 0,
  refusedPerSecond: 0,
  blockedPerSecond: 0,
  degraded: 0,
  ...(degradedTotal !== undefined && { degradedTotal }),
})
const status: Status = {
  state: 'ok',
  version: '1.0.0',
  store: {
    kind: 'redis',
    state: 'ok',
    detail: 'Redis at redis.example.org:6379',
    version: 'Redis 7.0.15',
    memoryBytes: 12_582_912,
    latencyMs: 0.3,
  },
  instances: [instance('api-1', 131), instance('api-2', 56), instance('api-3')],
  epoch: 1,
  policies: 2,
  activeBlocks: 4,
  degradedDecisions: 187,
}

it('says how often fail modes decided, of the fleet and of each', () => {
  const text = statusText(status, PLAIN, 0)
  expect(text).toContain('187 decisions made by the fail mode since the instances started\n')
  expect(text.match(/api-\d.*/g)?.map(line => line.split(/ {2,}/)[5])).toEqual(['131', '56', 'unknown'])
})

it('says since when the store gives no answer, and which process is no instance', () => {
  const since = new Date(2026, 0, 31, 14, 3, 11).getTime()
  const store = { kind: 'redis', state: 'degraded', detail: 'Redis at h:6379: no answer in time', since } as const
  const instances = [{ ...instance('box'), decides: false }, instance('box#1'), instance('box#2')]
  const text = statusText({ ...status, state: 'degraded', store, instances }, PLAIN, since + 12_000)
  expect(text).toMatch(/^degraded since 14:03:11 \(12s ago\) · Redis at h:6379: no answer in time · 2 instances · /)
  expect(text).toMatch(/^control: box +1\.0\.0/m)
  const long = [{ ...instance('a-machine-of-a-very-long-name:12795'), decides: false }]
  expect(statusText({ ...status, instances: long }, PLAIN, 0, 60)).toMatch(/^control: a-\S*… /m)
})

it('does not take the only instance it hears of for the fleet while the store is away', () => {
  const { policies: _, activeBlocks: __, ...known } = status
  const told = { ...known, state: 'degraded' as const, instances: [{ ...instance('box', 0), decides: false }] }
  const text = statusText(told, PLAIN, 0)
  expect(text).toContain(' · instances unknown · policies unknown · blocks unknown\n')
  expect(text).toContain('187 decisions made by the fail mode of this server since it started; what the others decide')
  expect(text).toMatch(/^control: box/m)
})

it('breaks no word on a narrow terminal', () => {
  const lines = statusText({ ...status, degradedDecisions: 0 }, PLAIN, 0, 60).split('\n')
  expect(lines.slice(0, 2)).toEqual([
    'healthy · Redis 7.0.15 at redis.example.org:6379 (0.3 ms)',
    '  12.0 MB · 3 instances · 2 policies · 4 active blocks',
  ])
  for (const line of lines) expect(width(line)).toBeLessThanOrEqual(60)
})
