import { type ControlState, type ListEntry, policySchema, type Status } from '@api-bouncer/limiter/contracts'
import { describe, expect, it } from 'vitest'
import { judgeExposure, judgeState, judgeStatus, overlap } from './findings.ts'

const NOW = 1_700_000_000_000

const instance = (name: string, epoch: number, version = '1.0.0'): Status['instances'][number] => ({
  instance: name,
  version,
  uptimeMs: 1,
  epoch,
  requestsPerSecond: 0,
  refusedPerSecond: 0,
  blockedPerSecond: 0,
  degraded: 0,
})
const status = (instances: Status['instances'], store: Partial<Status['store']> = {}): Status => ({
  state: 'ok',
  version: '1.0.0',
  store: { kind: 'embedded', state: 'ok', ...store },
  instances,
  epoch: 1,
  policies: 1,
  activeBlocks: 0,
  degradedDecisions: 0,
})
const record = (id: string, mode: string, match: string, ageDays: number) => ({
  policy: policySchema.parse({ id, mode, match, limits: [{ limit: 1, window: '1m' }] }),
  version: 1,
  updatedAt: NOW - ageDays * 86_400_000,
  updatedBy: 'ops',
})
const entry = (list: 'allow' | 'deny', cidr: string): ListEntry => ({ list, cidr, addedAt: 0, addedBy: 'ops' })
const state = (policies: ControlState['policies'], lists: ListEntry[] = []) =>
  ({ epoch: 1, policies, lists, tombstones: {}, settings: {} }) as unknown as ControlState

const ALL = record('default', 'enforce', '*', 0)
const found = (judged: readonly { about: string; verdict: string; mend?: string | undefined }[]) =>
  judged.filter(({ verdict }) => verdict !== 'ok').map(({ about, verdict }) => `${verdict}: ${about}`)

describe('what a doctor finds', () => {
  it.each([
    ['nothing in a healthy fleet', judgeStatus(status([instance('a', 3), instance('b', 3)])), []],
    ...[[], [instance('a', 3)]].map((heard): [string, ReturnType<typeof judgeStatus>, string[]] => [
      `a store that is away, and what is not known then, ${heard.length} instances heard of`,
      judgeStatus(status(heard, { state: 'degraded' })),
      ['problem: store', 'unknown: versions', 'unknown: epochs'],
    ]),
    ['two versions', judgeStatus(status([instance('a', 3), instance('b', 3, '1.1.0')])), ['warning: versions']],
    ['a stale epoch', judgeStatus(status([instance('a', 3), instance('b', 2)])), ['problem: epochs']],
    ['nobody alive', judgeStatus(status([])), ['warning: versions', 'unknown: epochs']],
    ['nothing in good policies', judgeState(state([ALL]), NOW), []],
    ['a young trial', judgeState(state([ALL, record('x', 'shadow', '/x', 6)]), NOW), []],
    ['an old trial', judgeState(state([ALL, record('x', 'shadow', '/x', 8)]), NOW), ['warning: shadow policies']],
    ['routes without a policy', judgeState(state([record('x', 'enforce', '/x', 0)]), NOW), ['warning: catch-all']],
    [
      'lists that overlap',
      judgeState(state([ALL], [entry('allow', '10.1.0.0/16'), entry('deny', '10.0.0.0/8')]), NOW),
      ['warning: lists'],
    ],
    [
      'lists that do not',
      judgeState(state([ALL], [entry('allow', '10.1.2.3'), entry('deny', '10.2.0.0/16')]), NOW),
      [],
    ],
    ['everybody denied', judgeState(state([ALL], [entry('deny', '0.0.0.0/0')]), NOW), ['problem: lists']],
    [
      'what has expired does not overlap',
      judgeState(state([ALL], [entry('allow', '10.1.0.0/16'), { ...entry('deny', '10.0.0.0/8'), expiresAt: 1 }]), NOW),
      [],
    ],
    [
      'a token in the clear',
      judgeExposure({ url: 'http://10.0.0.1:8900', answersOn: [], tokenFile: undefined }),
      ['problem: exposure'],
    ],
    ['none through TLS', judgeExposure({ url: 'https://x.test', answersOn: [], tokenFile: undefined }), []],
    ['none on loopback', judgeExposure({ url: 'http://[::1]:1', answersOn: [], tokenFile: undefined }), []],
    [
      'a control plane for everybody, and a token for everybody',
      judgeExposure({
        url: 'http://127.0.0.1:1',
        answersOn: ['10.0.0.1'],
        tokenFile: { path: '/t', mode: 0o100644 },
      }),
      ['warning: exposure', 'problem: token file'],
    ],
  ])('%s', (_, judged, expected) => {
    expect(found(judged)).toEqual(expected)
    for (const { verdict, mend } of judged) expect(!!mend).toBe(verdict === 'warning' || verdict === 'problem')
  })

  it.each([
    ['10.0.0.0/8', '10.1.0.0/16', true],
    ['10.1.2.3', '10.0.0.0/8', true],
    ['10.1.2.3', '10.1.2.3', true],
    ['10.1.2.3', '10.1.2.4', false],
    ['2001:db8::/32', '2001:db8:1::/48', true],
    ['2001:db8::/32', '10.0.0.0/8', false],
    ['0.0.0.0/0', '10.1.2.3', true],
  ])('%s and %s overlap: %s', (a, b, expected) => {
    expect([overlap(a, b), overlap(b, a)]).toEqual([expected, expected])
  })
})
