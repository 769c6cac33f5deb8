import type { ListEntry } from '@api-bouncer/limiter/contracts'
import { describe, expect, it } from 'vitest'
import { checkLists, checkText } from './lists.ts'

process.env.TZ = 'UTC'
const NOW = Date.UTC(2026, 0, 31, 14, 5, 9)
const entry = (list: 'allow' | 'deny', cidr: string, more: Partial<ListEntry> = {}): ListEntry => ({
  list,
  cidr,
  addedAt: NOW - 60_000,
  addedBy: 'ann',
  ...more,
})
const LISTS = [
  entry('deny', '10.1.2.0/24', { comment: 'botnet\x1b[31m' }),
  entry('allow', '10.0.0.0/8', { expiresAt: NOW + 3_600_000 }),
  entry('allow', '192.0.2.0/24', { expiresAt: NOW - 1 }),
  entry('deny', '2001:db8::/32'),
]

describe('check', () => {
  it.each([
    ['10.1.2.3', 'allow', ['10.1.2.0/24', '10.0.0.0/8']],
    ['10.9.9.9', 'allow', ['10.0.0.0/8']],
    ['192.0.2.1', 'none', []],
    ['2001:db8:1::5', 'deny', ['2001:db8::/32']],
    ['2001:db8:1::/48', 'deny', ['2001:db8::/32']],
    ['10.0.0.0/7', 'none', []],
  ])('%s: %s wins, by %j', (address, wins, cidrs) => {
    const checked = checkLists(LISTS, address, NOW)
    expect(checked.wins).toBe(wins)
    expect(checked.entries.map(({ cidr }) => cidr)).toEqual(cidrs)
  })

  it('says which list has the last word, and why each range is there', () => {
    expect(checkText(checkLists(LISTS, '10.1.2.3', NOW), NOW)).toBe(
      `10.1.2.3   never limited: the allowlist has it, and wins over the denylist
  deny   10.1.2.0/24  for good, added at 14:04:09 by ann: botnet\\x1b[31m
  allow  10.0.0.0/8  until 15:05:09 (in 1h 00m), added at 14:04:09 by ann
`,
    )
  })
})
