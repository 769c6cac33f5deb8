import type { Explanation } from '@api-bouncer/limiter/contracts'
import { describe, expect, it } from 'vitest'
import type { Styles } from '../output.ts'
import { explanationText, questionOf } from './explain.ts'

process.env.TZ = 'UTC'
const same = (text: string) => text
const PLAIN: Styles = { bold: same, dim: same, good: same, warn: same, bad: same }
const AT = Date.UTC(2026, 0, 31, 14, 5, 9)
const second = 1000

const refusal = (ago: number, policy: string, route: string, limit: string) => ({
  at: AT - ago * second,
  policy,
  route,
  limit,
})

const BLOCKED: Explanation = {
  at: AT,
  client: '1.2.3.4',
  method: 'POST',
  path: '/auth/login',
  outcome: 'blocked',
  reason: '5 violations within 5m',
  retryAfterMs: 782 * second,
  identity: { address: '1.2.3.4', hops: ['127.0.0.1', '1.2.3.4'], header: 'x-forwarded-for', probablyProxy: false },
  policy: 'auth',
  matched: [
    { policy: 'auth', mode: 'enforce', match: 'POST /auth/*', limits: ['30 per 1m'], algorithm: 'sliding_window' },
    { policy: 'default', mode: 'enforce', match: '*', limits: ['100 per 1m'], algorithm: 'sliding_window' },
    { policy: 'trial', mode: 'shadow', match: '/auth/*', limits: ['5 per 1m'], algorithm: 'gcra' },
  ],
  block: {
    client: '1.2.3.4',
    reason: '5 violations within 5m',
    policy: 'auth',
    since: AT - 118 * second,
    until: AT + 782 * second,
    offence: 1,
    by: 'auto',
  },
  violations: [],
  refusals: [
    refusal(118, 'auth', 'POST /auth/reset-password', '30 per 1m'),
    refusal(122, 'default', 'GET /api/\x1b[2J', '100 per 1m'),
    refusal(149, 'auth', 'POST /auth/login', '30 per 1m'),
  ],
  limits: [{ limit: 30, windowMs: 60_000, remaining: 0, resetAfterMs: 27 * second, retryAfterMs: 27 * second }],
}

describe('an explanation', () => {
  it('answers first, shows every step and what can be done', () => {
    const query = { peer: '127.0.0.1', headers: { 'x-forwarded-for': '1.2.3.4' } }
    expect(
      explanationText(BLOCKED, query, PLAIN),
    ).toBe(`REFUSED now: blocked until 14:18:11 (in 13m 02s), the 1st offence

1 client    1.2.3.4, from X-Forwarded-For, one hop behind the trusted proxy 127.0.0.1
2 policy    auth (POST /auth/*, 30 per 1m, sliding_window)   also matched: default (*), trial (/auth/*, shadow)
3 lists     on neither the allowlist nor the denylist
4 block     5 violations within 5m set it at 14:03:11
              14:02:40  auth     POST /auth/login           30 per 1m
              14:03:07  default  GET /api/\\x1b[2J           100 per 1m
              14:03:11  auth     POST /auth/reset-password  30 per 1m
5 limits    auth 30 of 30 per 1m used; the next unit at 14:05:36 (in 27s)
            they would refuse too, for 27s

let it back in:  bouncer unblock 1.2.3.4          keep it out:  bouncer deny add 1.2.3.4
`)
  })

  it.each([
    [
      { outcome: 'exempt', allowlisted: '1.2.0.0/16', reason: 'on the allowlist (1.2.0.0/16)' },
      'ALLOWED now, without counting: on the allowlist (1.2.0.0/16)',
      'bouncer allow rm 1.2.0.0/16',
    ],
    [
      { retryAfterMs: (782 + 27) * second },
      'REFUSED now: blocked until 14:18:11 (in 13m 02s), the 1st offence; then over a limit of auth until 14:18:38 (in 13m 29s)',
      'bouncer unblock 1.2.3.4',
    ],
    [
      { outcome: 'blocked', denylisted: '1.2.0.0/16', reason: 'on the denylist (1.2.0.0/16)' },
      'REFUSED now: on the denylist (1.2.0.0/16)',
      'bouncer deny rm 1.2.0.0/16',
    ],
    [
      { outcome: 'limited', block: undefined, reason: 'over a limit of auth', retryAfterMs: 27 * second },
      'REFUSED now: over a limit of auth; fits again at 14:05:36 (in 27s)',
      'bouncer allow add 1.2.3.4',
    ],
  ])('%j', (changed, first, next) => {
    const text = explanationText({ ...BLOCKED, ...changed } as Explanation, { client: '1.2.3.4' }, PLAIN)
    expect(text.split('\n')[0]).toBe(first)
    expect(text).toContain(next)
  })
})

it.each([
  ['after an unblock', [], '4 block     none; no violation counts at present; refused before:'],
  ['at its first violations', [AT - 149 * second], '4 block     none; 1 violation counts at present'],
])('why a client was refused is told %s, too', (_, violations, line) => {
  const unblocked: Explanation = { ...BLOCKED, outcome: 'allowed', block: undefined, violations }
  const lines = explanationText(unblocked, { client: '1.2.3.4' }, PLAIN).split('\n')
  expect(lines.slice(lines.indexOf(line)).slice(0, 4)).toEqual([
    line,
    expect.stringContaining('14:02:40  auth '),
    expect.stringContaining('14:03:07  default '),
    expect.stringContaining('14:03:11  auth '),
  ])
})

describe('the question', () => {
  it.each([
    [['1.2.3.4'], { client: '1.2.3.4' }],
    [['1.2.3.4', '/x'], { client: '1.2.3.4', path: '/x' }],
    [['1.2.3.4', 'post', '/x'], { client: '1.2.3.4', method: 'POST', path: '/x' }],
  ])('%j', (words, query) => {
    expect(questionOf(words, undefined, [])).toEqual(query)
  })

  it('takes a peer and its headers instead of a client; several of one name are one', () => {
    const headers = ['X-Forwarded-For: 1.1.1.1', 'x-forwarded-for: 2.2.2.2']
    expect(questionOf(['GET', '/x'], '127.0.0.1', headers)).toEqual({
      peer: '127.0.0.1',
      headers: { 'x-forwarded-for': '1.1.1.1, 2.2.2.2' },
      method: 'GET',
      path: '/x',
    })
  })

  it.each([
    [[], undefined, []],
    [['1.2.3.4', 'GET', 'x'], undefined, []],
    [['1.2.3.4', 'FOO', '/x'], undefined, []],
    [['GET', '/x'], undefined, []],
    [['1.2.3.4', 'GET', '/x', '/y'], undefined, []],
    [['1.2.3.4'], undefined, ['A: b']],
    [[], '127.0.0.1', ['no header']],
    [[], '1.2.3.400', []],
  ])('%j from peer %s with %j is refused', (words, peer, headers) => {
    expect(() => questionOf(words, peer, headers)).toThrow()
  })
})
