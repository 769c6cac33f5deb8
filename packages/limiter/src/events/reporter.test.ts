import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { NewEvent } from '../contracts/index.ts'
import { Reporter, type ReporterOptions } from './reporter.ts'

type Violation = Extract<NewEvent, { type: 'violation' }>

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
})
afterEach(() => {
  vi.useRealTimers()
})

function open(options: Partial<ReporterOptions> = {}) {
  const time = { ms: 5000 }
  const sent: { at: number; event: NewEvent }[] = []
  const reporter = new Reporter({ send: event => sent.push({ at: time.ms, event }), now: () => time.ms, ...options })
  const advance = (ms: number) => {
    for (let left = ms; left > 0; left -= 50) {
      time.ms += Math.min(50, left)
      vi.advanceTimersByTime(Math.min(50, left))
    }
  }
  const told = () => sent.map(({ event }) => event)
  const violations = () => told().filter((event): event is Violation => event.type === 'violation')
  const dropped = () =>
    told().reduce<Record<string, number>>((sum, event) => {
      if (event.type !== 'overflow') return sum
      for (const [type, n] of Object.entries(event.dropped)) sum[type] = (sum[type] ?? 0) + n
      return sum
    }, {})
  const refuse = (client: string, times = 1) => {
    for (let i = 1; i <= times; i++) reporter.violation(client, 'auth', 'POST /auth', i)
  }
  return { reporter, sent, advance, told, violations, dropped, refuse }
}

const lifted: NewEvent = { type: 'unblocked', client: 'c', by: 'ann', lifted: [] }

describe('violations of one client', () => {
  test('are told at once the first time, then once a second with their count', () => {
    const { refuse, advance, sent } = open()
    refuse('a', 3)
    advance(900)
    refuse('a', 4)
    advance(2500)
    expect(sent.map(({ event }) => (event as Violation).count)).toEqual([1, 6])
    expect((sent[1]?.at as number) - (sent[0]?.at as number)).toBeGreaterThanOrEqual(1000)
    expect((sent[1]?.at as number) - (sent[0]?.at as number)).toBeLessThanOrEqual(1300)
  })

  test('are told with the policy, route and number of the last one', () => {
    const { reporter, told } = open()
    reporter.violation('a', 'auth', 'POST /auth/login', 1)
    reporter.violation('a', 'auth', 'POST /auth/register', 2)
    reporter.violation('a', 'api', 'GET /api', 3)
    reporter.flush(true)
    expect(told()).toEqual([
      { type: 'violation', client: 'a', policy: 'auth', route: 'POST /auth/login', count: 1, violations: 1 },
      { type: 'violation', client: 'a', policy: 'api', route: 'GET /api', count: 2, violations: 3 },
    ])
  })

  test('who comes back after a quiet while is told at once again', () => {
    const { refuse, advance, sent } = open()
    refuse('a')
    advance(3000)
    refuse('a')
    expect(sent.map(({ at }) => at)).toEqual([5000, 8000])
  })
})

test('whatever comes when: at most one event a client and second, and no refusal is lost from the counts', () => {
  const refusal = fc.record({
    client: fc.constantFrom('a', 'b', 'c', 'd', 'e'),
    pause: fc.integer({ min: 0, max: 800 }),
  })
  const options = fc.record({ budget: fc.integer({ min: 1, max: 5 }), maxClients: fc.integer({ min: 1, max: 5 }) })
  fc.assert(
    fc.property(fc.array(refusal, { maxLength: 60 }), options, (refusals, options) => {
      const { reporter, sent, advance, refuse, violations, dropped } = open(options)
      for (const { client, pause } of refusals) {
        refuse(client)
        advance(pause)
      }
      const last = new Map<string, number>()
      for (const { at, event } of sent) {
        if (event.type !== 'violation') continue
        expect(at - (last.get(event.client) ?? Number.NEGATIVE_INFINITY)).toBeGreaterThanOrEqual(1000)
        expect(event.count).toBeGreaterThan(0)
        last.set(event.client, at)
      }
      reporter.close()
      const told = violations().reduce((sum, { count }) => sum + count, 0)
      expect(told + (dropped().violation ?? 0)).toBe(refusals.length)
      expect(reporter.overflow).toBe(dropped().violation ?? 0)
      expect(vi.getTimerCount()).toBe(0)
    }),
    { numRuns: 150 },
  )
})

describe('a flood', () => {
  test('of clients becomes 200 events a second, and one overflow with the rest', () => {
    const { refuse, advance, told, reporter } = open()
    for (let i = 0; i < 1000; i++) refuse(`client-${i}`)
    expect(told()).toHaveLength(200)
    advance(1300)
    expect(told().slice(200)).toEqual([{ type: 'overflow', dropped: { violation: 800 } }])
    expect(reporter.overflow).toBe(800)
    refuse('another')
    expect(told()).toHaveLength(202)
  })

  test('that goes on is told second by second', () => {
    const { refuse, advance, sent } = open()
    for (let i = 0; i < 3000; i++) {
      refuse(`client-${i}`)
      advance(1)
    }
    advance(2000)
    const overflows = sent.filter(({ event }) => event.type === 'overflow')
    expect(overflows.length).toBeGreaterThanOrEqual(3)
    expect(overflows.length).toBeLessThanOrEqual(5)
    expect(sent.length - overflows.length).toBeLessThanOrEqual(200 * 5)
  })

  test('counts what it drops by type', () => {
    const { reporter, refuse, advance, told } = open({ budget: 2 })
    refuse('a')
    for (let i = 0; i < 4; i++) reporter.tell(lifted)
    refuse('b', 3)
    advance(1000)
    expect(told()).toEqual([
      expect.objectContaining({ type: 'violation', client: 'a' }),
      lifted,
      { type: 'overflow', dropped: { unblocked: 3, violation: 1 } },
      expect.objectContaining({ type: 'violation', client: 'b', count: 2 }),
    ])
  })

  test('of more clients than may be gathered is counted, not remembered', () => {
    const { refuse, advance, violations, dropped, reporter } = open({ maxClients: 2 })
    refuse('a')
    refuse('b')
    refuse('c', 50)
    advance(1000)
    expect(violations().map(({ client }) => client)).toEqual(['a', 'b'])
    expect(dropped()).toEqual({ violation: 50 })
    expect(reporter.overflow).toBe(50)
  })

  test('leaves nothing running behind', () => {
    const { refuse, advance } = open()
    for (let i = 0; i < 500; i++) refuse(`client-${i}`, 2)
    expect(vi.getTimerCount()).toBe(1)
    advance(10_000)
    expect(vi.getTimerCount()).toBe(0)
  })
})

test('closing tells what was still gathered', () => {
  const { refuse, reporter, violations } = open()
  refuse('a', 5)
  refuse('b', 1)
  reporter.close()
  expect(violations().map(({ client, count }) => [client, count])).toEqual([
    ['a', 1],
    ['b', 1],
    ['a', 4],
  ])
  expect(vi.getTimerCount()).toBe(0)
})
