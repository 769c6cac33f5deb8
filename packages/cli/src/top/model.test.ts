import { describe, expect, it } from 'vitest'
import { bar, calmly, cursorOf, type Look, ratesOf, rateText, rowsOf, sparkline, stateText, windowOf } from './model.ts'

const client = (name: string, rate: number, used: number, limit = 100) => ({
  client: name,
  requestsPerSecond: rate,
  state: 'ok' as const,
  policy: 'default',
  used,
  limit,
})
const look: Look = {
  at: 0,
  status: {} as Look['status'],
  clients: [client('10.0.0.1', 5, 50), client('9.0.0.1', 9, 10), client('9.0.0.2', 5, 99)],
  blocks: [
    { client: '1.2.3.4', reason: 'x', policy: 'auth', since: 0, until: 60_000, offence: 1, by: 'auto' },
    { client: '9.0.0.1', reason: 'x', since: 0, until: 60_000, offence: 1, by: 'auto' },
  ],
}
const names = (sort: 'rate' | 'used' | 'client', filter = '') => rowsOf(look, sort, filter).map(row => row.client)

describe('the table of top', () => {
  it('sorts, filters, and holds whoever is blocked once', () => {
    expect(names('rate')).toEqual(['9.0.0.1', '9.0.0.2', '10.0.0.1', '1.2.3.4'])
    expect(names('used')).toEqual(['1.2.3.4', '9.0.0.2', '10.0.0.1', '9.0.0.1'])
    expect(names('client')).toEqual(['1.2.3.4', '9.0.0.1', '9.0.0.2', '10.0.0.1'])
    expect(names('client', 'AUTH')).toEqual(['1.2.3.4'])
    expect(names('client', 'blocked')).toEqual(['1.2.3.4'])
  })

  it('keeps its order for a while: values change in place, new rows come below', () => {
    const rows = rowsOf(look, 'rate', '')
    expect(calmly(['10.0.0.1', '9.0.0.1'], rows).map(row => row.client)).toEqual([
      '10.0.0.1',
      '9.0.0.1',
      '9.0.0.2',
      '1.2.3.4',
    ])
  })

  it('keeps the cursor on its client', () => {
    const rows = rowsOf(look, 'client', '')
    expect([cursorOf(rows, '9.0.0.2'), cursorOf(rows, 'gone'), cursorOf([], undefined)]).toEqual([2, 0, 0])
  })

  it.each([
    [0, 5, 10, [0, 5]],
    [0, 50, 10, [0, 10]],
    [25, 50, 10, [20, 30]],
    [49, 50, 10, [40, 50]],
  ])('with the cursor at %i of %i rows, shows what fits into %i', (cursor, rows, height, [from, to]) => {
    expect(windowOf(cursor, rows, height)).toEqual({ from, to })
  })

  it.each([
    [0, '░░░░░'],
    [1, '█░░░░'],
    [50, '███░░'],
    [99, '████░'],
    [100, '█████'],
    [120, '█████'],
  ])('shows %i of 100 as %s', (used, text) => {
    expect(bar(used, 100, 5)).toBe(text)
  })

  it('draws the newest values from 0 to the highest', () => {
    expect(sparkline([9, 0, 1, 2], 3)).toBe('▁▅█')
    expect(sparkline([0, 0], 4)).toBe('  ▁▁')
    expect(sparkline([], 3)).toBe('   ')
  })

  it('adds the instances up, and rounds to what matters', () => {
    const one = { instance: 'a', version: '1', uptimeMs: 1, epoch: 1, degraded: 1 }
    const instances = [
      { ...one, requestsPerSecond: 100, refusedPerSecond: 10, blockedPerSecond: 4 },
      { ...one, requestsPerSecond: 50, refusedPerSecond: 5, blockedPerSecond: 0 },
    ]
    expect(ratesOf({ instances })).toEqual({ allowed: 135, limited: 11, blocked: 4, degraded: 2 })
    expect([2311.6, 91.44, 0.21].map(rateText)).toEqual(['2312', '91.4', '0.2'])
    expect(stateText({ client: 'a', rate: 0, state: 'blocked', blockedUntil: 782_000 }, 0)).toBe('blocked 13m 02s')
  })
})
