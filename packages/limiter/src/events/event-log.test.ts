import fc from 'fast-check'
import { describe, expect, test, vi } from 'vitest'
import { compareIds } from '../contracts/event-id.ts'
import type { BouncerEvent } from '../contracts/index.ts'
import { MemoryEventLog } from './event-log.ts'

const change = (by: string) => ({ type: 'settings-changed', by }) as const

function open() {
  const time = { ms: 1000 }
  const log = new MemoryEventLog('host:1', () => time.ms)
  const fill = (n: number) => {
    for (let i = 0; i < n; i++) log.append(change(`${i}`))
  }
  const all = () => log.latest(100_000)
  return { log, time, fill, all }
}

test.each([
  ['9-0', '10-0', -1],
  ['5-2', '5-10', -1],
  ['5-0', '5-0', 0],
  ['0-0', '1-0', -1],
  ['7-1', '7-0', 1],
])('%s against %s is by number, not by text', (a, b, expected) => {
  expect(Math.sign(compareIds(a, b))).toBe(expected)
})

describe('the embedded event log', () => {
  test('places an event: id, the one before, time and instance', () => {
    const { log, time, all } = open()
    log.append(change('ann'))
    time.ms = 2000
    log.append(change('bob'))
    expect(all()).toEqual([
      { type: 'settings-changed', by: 'ann', id: '1000-0', prev: '0-0', at: 1000, instance: 'host:1' },
      { type: 'settings-changed', by: 'bob', id: '2000-0', prev: '1000-0', at: 2000, instance: 'host:1' },
    ])
  })

  test('ids only grow and each names the one before, whatever the clock does', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 50 }), { maxLength: 100 }), times => {
        const { log, time, all } = open()
        for (const ms of times) {
          time.ms = ms
          log.append(change('ann'))
        }
        let last = '0-0'
        for (const { id, prev } of all()) {
          expect(prev).toBe(last)
          expect(compareIds(id, last)).toBeGreaterThan(0)
          last = id
        }
      }),
    )
  })

  test('a reader who pages through it gets every event once, in order, without a gap', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 60 }), fc.integer({ min: 1, max: 25 }), (n, page) => {
        const { log, fill, all } = open()
        fill(n)
        const read: BouncerEvent[] = []
        for (let id = '0-0'; ; id = read.at(-1)?.id as string) {
          const { events, gap } = log.after(id, page)
          expect(gap).toBe(false)
          expect(events.length).toBeLessThanOrEqual(page)
          if (events.length === 0) break
          read.push(...events)
        }
        expect(read).toEqual(all())
      }),
    )
  })

  test('keeps the last 10,000 at least and never 11,001, and says when a reader has missed some', () => {
    const { log, fill, all } = open()
    fill(10_000)
    const [first, second] = all() as [BouncerEvent, BouncerEvent]
    expect(log.after('0-0', 1)).toEqual({ events: [first], gap: false })
    fill(20_000)
    const kept = all()
    expect(kept.length).toBeGreaterThanOrEqual(10_000)
    expect(kept.length).toBeLessThanOrEqual(11_000)
    expect(log.after('0-0', 5)).toEqual({ events: kept.slice(0, 5), gap: true })
    expect(log.after(second.id, 5).gap).toBe(true)
    expect(log.after(kept[0]?.prev as string, 5)).toEqual({ events: kept.slice(0, 5), gap: false })
    expect(log.after(kept.at(-1)?.id as string, 5)).toEqual({ events: [], gap: false })
    // An id of the log before this one: what came between went with it.
    const next = new MemoryEventLog('a', () => 2e12)
    next.append(change('ann'))
    expect(next.after(second.id, 5)).toMatchObject({ events: [{ prev: '0-0' }], gap: true })
  })

  test.each([
    [0, []],
    [2, ['2', '3']],
    [9, ['0', '1', '2', '3']],
  ])('the latest %i, oldest first', (limit, expected) => {
    const { log, fill } = open()
    fill(4)
    expect(log.latest(limit).map(event => 'by' in event && event.by)).toEqual(expected)
  })

  test('tells those who follow, from now on and until they stop', () => {
    const { log, fill, all } = open()
    fill(1)
    const [one, other] = [vi.fn(), vi.fn()]
    const stop = log.subscribe(one)
    log.subscribe(other)
    fill(1)
    stop()
    fill(1)
    const [, second, third] = all()
    expect(one.mock.calls).toEqual([[second]])
    expect(other.mock.calls).toEqual([[second], [third]])
  })
})
