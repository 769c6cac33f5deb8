import type { IncomingMessage } from 'node:http'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { createBouncer } from './bouncer.ts'
import {
  type BouncerEvent,
  type Decision,
  eventSchema,
  type PolicyInput,
  type StatsFrame,
  statsFrameSchema,
  statusSchema,
} from './contracts/index.ts'
import { BouncerError } from './errors.ts'
import { problemOf } from './headers.ts'
import type { BouncerOptions } from './options.ts'
import type { Backend } from './stores/backend.ts'
import type { Check, Store } from './stores/store.ts'

const ann = { by: 'ann' }
const START = 1_700_000_000_000_000

const policy = (limit: number, input: Partial<PolicyInput> = {}): PolicyInput => ({
  id: 'api',
  limits: [{ limit, window: '1h' }],
  ...input,
})

const closing: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const close of closing.splice(0)) await close()
  vi.useRealTimers()
})

interface Sent {
  readonly from?: string | undefined
  readonly headers?: Record<string, string>
  readonly method?: string
  readonly path?: string
  readonly cost?: number
  readonly client?: string
  readonly skip?: boolean
}

/** A bouncer on a clock that stands still until it is turned, and ways to send it requests. */
function open(options: BouncerOptions = {}) {
  const time = { us: START }
  const logger = { info: vi.fn(), warn: vi.fn(), error: vi.fn() }
  const bouncer = createBouncer({ clock: () => time.us, logger, policies: [policy(3)], ...options })
  closing.push(() => bouncer.close())
  const requestOf = ({ from = '203.0.113.1', headers = {}, method = 'GET', path = '/', ...rest }: Sent) => ({
    peer: { headers, socket: { remoteAddress: from } } as unknown as IncomingMessage,
    method,
    path,
    ...rest,
  })
  const send = async (sent: Sent = {}) => bouncer.check(requestOf(sent))
  const times = async (n: number, sent?: Sent) => {
    for (let i = 1; i < n; i++) await send(sent)
    return send(sent)
  }
  const events: BouncerEvent[] = []
  bouncer.events.subscribe(event => events.push(event))
  return {
    bouncer,
    logger,
    send,
    times,
    events,
    requestOf,
    outcome: async (sent?: Sent) => (await send(sent)).outcome,
    advance: (ms: number) => {
      time.us += ms * 1000
    },
    store: (bouncer as unknown as { backend: Backend }).backend.store as { -readonly [K in keyof Store]: Store[K] },
  }
}

const codeOf = (promise: Promise<unknown>) =>
  promise.then(
    () => 'done',
    error => (error as BouncerError).code,
  )

describe('a policy that changes decides the very next request', () => {
  test('put: a lower limit holds at once, for what was already counted too', async () => {
    const { bouncer, times, outcome } = open()
    await times(2)
    expect(await bouncer.control.putPolicy(policy(2), undefined, ann)).toMatchObject({ version: 2, updatedBy: 'ann' })
    expect(await outcome()).toBe('limited')
  })

  test('put: a new, more specific policy takes over its paths', async () => {
    const { bouncer, send } = open()
    await bouncer.control.putPolicy(policy(9, { id: 'auth', match: 'POST /auth/*' }), 0, ann)
    expect(await send({ method: 'POST', path: '/auth/login' })).toMatchObject({ policy: 'auth', remaining: 8 })
    expect(await send({ method: 'GET', path: '/auth/login' })).toMatchObject({ policy: 'api', remaining: 2 })
  })

  test('delete: what no policy covers passes uncounted', async () => {
    const { bouncer, times, send } = open({ policies: [policy(3), policy(9, { id: 'other', match: '/elsewhere' })] })
    expect((await times(4)).outcome).toBe('limited')
    await bouncer.control.deletePolicy('api', 1, ann)
    const decision = await send()
    expect(decision).toMatchObject({ outcome: 'exempt', reason: 'no-policy', limits: [] })
    expect(decision).not.toHaveProperty('policy')
  })

  test('rollback: an earlier version is back, as a new one', async () => {
    const { bouncer, times, outcome } = open()
    await bouncer.control.putPolicy(policy(1), undefined, ann)
    await times(1)
    expect(await outcome()).toBe('limited')
    expect(await bouncer.control.rollbackPolicy('api', 1, ann)).toMatchObject({ version: 3 })
    expect(await outcome()).toBe('allowed')
    const history = await bouncer.control.policyHistory('api')
    expect(history.map(({ version, policy }) => [version, policy.limits[0]?.limit])).toEqual([
      [3, 3],
      [2, 1],
      [1, 3],
    ])
  })

  test('a deleted policy comes back by rollback, with a version above all before', async () => {
    const { bouncer, send } = open({ policies: [policy(3), policy(9, { id: 'other', match: '/elsewhere' })] })
    await bouncer.control.deletePolicy('api', undefined, ann)
    const { version } = await bouncer.control.rollbackPolicy('api', 1, ann)
    expect(version).toBe(3)
    expect((await send()).policy).toBe('api')
  })

  test.each([
    ['enforce', 'limited', undefined],
    ['shadow', 'exempt', { policy: 'api', outcome: 'limited', remaining: 0 }],
    ['off', 'exempt', undefined],
  ] as const)('mode %s: over its limit a request is %s', async (mode, outcome, shadow) => {
    const { bouncer, times, send } = open({
      policies: [policy(3, { mode: mode === 'enforce' ? 'shadow' : 'enforce' })],
    })
    await times(3)
    await bouncer.control.putPolicy(policy(3, { mode }), undefined, ann)
    const decision = await send()
    expect(decision.outcome).toBe(outcome)
    expect(decision.shadow).toEqual(shadow)
  })

  test('the epoch grows with every change, and status tells the same one', async () => {
    const { bouncer } = open()
    const before = bouncer.epoch
    await bouncer.control.putPolicy(policy(5), undefined, ann)
    await bouncer.control.putListEntry('deny', '198.51.100.0/24', {}, ann)
    expect(bouncer.epoch).toBe(before + 2)
    const status = await bouncer.control.status()
    expect(statusSchema.parse(status)).toMatchObject({
      epoch: bouncer.epoch,
      policies: 1,
      activeBlocks: 0,
      state: 'ok',
    })
  })
})

describe('a change that cannot be made changes nothing', () => {
  test.each<[string, string, (bouncer: ReturnType<typeof open>['bouncer']) => Promise<unknown>]>([
    ['a stale version', 'ERR_CONFLICT', b => b.control.putPolicy(policy(9), 4, ann)],
    ['a policy that should not exist yet', 'ERR_CONFLICT', b => b.control.putPolicy(policy(9), 0, ann)],
    ['a policy that should exist', 'ERR_CONFLICT', b => b.control.putPolicy(policy(9, { id: 'new' }), 1, ann)],
    ['deleting a stale version', 'ERR_CONFLICT', b => b.control.deletePolicy('api', 7, ann)],
    ['deleting what is not there', 'ERR_NOT_FOUND', b => b.control.deletePolicy('apj', undefined, ann)],
    ['rolling back to what never was', 'ERR_NOT_FOUND', b => b.control.rollbackPolicy('api', 9, ann)],
    ['rolling back what is not there', 'ERR_NOT_FOUND', b => b.control.rollbackPolicy('apj', 1, ann)],
    ['an unknown field', 'ERR_INVALID', b => b.control.putPolicy({ ...policy(9), limit: 3 }, undefined, ann)],
    ['no limits', 'ERR_INVALID', b => b.control.putPolicy({ id: 'api', limits: [] }, undefined, ann)],
    ['not a policy at all', 'ERR_INVALID', b => b.control.putPolicy('api', undefined, ann)],
    [
      'a pattern that does not parse',
      'ERR_INVALID',
      b => b.control.putPolicy(policy(9, { match: '/a(' }), undefined, ann),
    ],
    ['an exact log too long', 'ERR_INVALID', b => b.control.putPolicy(policy(500_000), undefined, ann)],
    ['a tie', 'ERR_CONTRADICTION', b => b.control.putPolicy(policy(9, { id: 'twin' }), undefined, ann)],
    ['a range that is none', 'ERR_INVALID', b => b.control.putListEntry('deny', '10.0.0.0/99', {}, ann)],
    ['an entry that is not on the list', 'ERR_NOT_FOUND', b => b.control.deleteListEntry('deny', '10.0.0.1', ann)],
    ['a penalty without threshold', 'ERR_INVALID', b => b.control.putSettings({ penalty: { threshold: 0 } }, ann)],
  ])('%s: %s', async (_, code, change) => {
    const { bouncer, send, events } = open()
    await send()
    const before = await bouncer.control.state()
    expect(await codeOf(change(bouncer))).toBe(code)
    expect(await bouncer.control.state()).toEqual(before)
    expect(await send()).toMatchObject({ policy: 'api', limit: 3, remaining: 1 })
    expect(events).toEqual([])
  })

  test.each(['', '1.2.3', '203.0.113.0/24', ':::', 'x'.repeat(1201)])('a block of %j is refused', async client => {
    const { bouncer } = open()
    expect(await codeOf(bouncer.control.block({ client }, ann))).toBe('ERR_INVALID')
    expect(await bouncer.control.blocks()).toEqual({ blocks: [], total: 0 })
  })

  test('changes made at the same time all get a version of their own', async () => {
    const { bouncer } = open()
    const limits = Array.from({ length: 30 }, (_, i) => i + 5)
    const records = await Promise.all(limits.map(limit => bouncer.control.putPolicy(policy(limit), undefined, ann)))
    expect(records.map(({ version }) => version)).toEqual(limits.map((_, i) => i + 2))
  })

  test('of two made from the same version, one loses', async () => {
    const { bouncer } = open()
    const codes = await Promise.all([5, 6].map(limit => codeOf(bouncer.control.putPolicy(policy(limit), 1, ann))))
    expect(codes.sort()).toEqual(['ERR_CONFLICT', 'done'])
  })
})

describe('lists', () => {
  test('the allowlist wins over a block, at once and only while it holds', async () => {
    const { bouncer, outcome } = open()
    await bouncer.control.block({ client: '203.0.113.1' }, ann)
    expect(await outcome()).toBe('blocked')
    await bouncer.control.putListEntry('allow', '203.0.113.0/24', {}, ann)
    expect(await outcome()).toBe('exempt')
    await bouncer.control.deleteListEntry('allow', '203.0.113.0/24', ann)
    expect(await outcome()).toBe('blocked')
  })

  test('the denylist refuses with 403 and for good, and the allowlist wins over it', async () => {
    const { bouncer, send, times } = open({ deny: ['203.0.113.0/24'] })
    const refused = await times(20)
    expect(refused).toMatchObject({ outcome: 'blocked', reason: 'denylist', limits: [] })
    expect(refused).not.toHaveProperty('retryAfterMs')
    expect(refused).not.toHaveProperty('block')
    expect(problemOf(refused, 'id')).toMatchObject({ status: 403 })
    expect(bouncer.headers(refused)).toEqual([])
    expect(await bouncer.control.blocks()).toEqual({ blocks: [], total: 0 })
    await bouncer.control.putListEntry('allow', '203.0.113.1', {}, ann)
    expect(await send()).toMatchObject({ outcome: 'exempt', reason: 'allowlist' })
  })

  test.each(['allow', 'deny'] as const)('an entry of the %slist ends on time', async list => {
    const { bouncer, outcome, advance } = open()
    await bouncer.control.putListEntry(list, '203.0.113.1', { for: '10m' }, ann)
    const listed = list === 'allow' ? 'exempt' : 'blocked'
    advance(599_999)
    expect(await outcome()).toBe(listed)
    advance(1)
    expect(await outcome()).toBe('allowed')
  })

  test('see the address, not the network or the id that is counted', async () => {
    const { outcome } = open({ deny: ['2001:db8::7', '198.51.100.7'] })
    expect(await outcome({ from: '2001:db8::7' })).toBe('blocked')
    expect(await outcome({ from: '2001:db8::8' })).toBe('allowed')
    expect(await outcome({ from: '::ffff:198.51.100.7' })).toBe('blocked')
    expect(await outcome({ from: '198.51.100.7', client: 'user:42' })).toBe('blocked')
  })
})

describe('settings', () => {
  test('a changed penalty holds for the next violation', async () => {
    const { bouncer, times, send, outcome } = open()
    await times(4)
    expect((await send()).block).toBeUndefined()
    await bouncer.control.putSettings({ penalty: { threshold: 3, block: '2h' } }, ann)
    const third = await send()
    expect(third.block).toMatchObject({ offence: 1, until: third.at + 7_200_000 })
    expect(third.retryAfterMs).toBe(7_200_000)
    expect(await outcome()).toBe('blocked')
  })

  test('penalty false: nobody is blocked any more', async () => {
    const { bouncer, times } = open()
    await bouncer.control.putSettings({ penalty: false }, ann)
    const last = await times(30)
    expect(last.outcome).toBe('limited')
    expect(last).not.toHaveProperty('violations')
  })

  test('IPv6 clients are counted by the new prefix', async () => {
    const { bouncer, send } = open()
    expect((await send({ from: '2001:db8:1:2::3' })).client).toBe('2001:db8:1:2::/64')
    await bouncer.control.putSettings({ ipv6Prefix: 48 }, ann)
    expect((await send({ from: '2001:db8:1:2::3' })).client).toBe('2001:db8:1::/48')
  })
})

describe('a shadow policy', () => {
  test('is decided beside the enforced one, on counters of its own, and refuses nobody', async () => {
    const { send, times, bouncer, events } = open({
      policies: [policy(9), policy(2, { id: 'trial', match: '/things/*', mode: 'shadow', penalty: { threshold: 1 } })],
    })
    const path = '/things/7'
    expect(await send({ path })).toMatchObject({
      outcome: 'allowed',
      policy: 'api',
      remaining: 8,
      shadow: { policy: 'trial', outcome: 'allowed', remaining: 1 },
    })
    const fifth = await times(4, { path })
    expect(fifth).toMatchObject({ outcome: 'allowed', remaining: 4, shadow: { outcome: 'limited', remaining: 0 } })
    expect((await send()).shadow).toBeUndefined()
    expect(bouncer.totals().policies.get('trial')).toMatchObject({
      'shadow-allowed': 2,
      'shadow-limited': 3,
      limited: 0,
    })
    expect(events).toEqual([])
    expect(JSON.stringify(bouncer.headers(fifth))).not.toContain('trial')
  })

  test('gets back what it took when the request is refunded, once', async () => {
    const { bouncer, send } = open({ policies: [policy(9), policy(5, { id: 'trial', mode: 'shadow', cost: 2 })] })
    for (let i = 0; i < 4; i++) {
      const decision = await send()
      expect(decision).toMatchObject({ remaining: 8, shadow: { outcome: 'allowed', remaining: 3 } })
      expect([await bouncer.refund(decision), await bouncer.refund(decision)]).toEqual([1, 0])
    }
    expect(await send()).toMatchObject({ remaining: 8, shadow: { remaining: 3 } })
  })

  test('goes on counting while the client is over the enforced limit, and has no say while a block refuses it', async () => {
    const { times } = open({ policies: [policy(1), policy(20, { id: 'trial', mode: 'shadow' })] })
    expect(await times(5)).toMatchObject({ outcome: 'limited', shadow: { outcome: 'allowed', remaining: 15 } })
    const blocked = await times(3)
    expect(blocked.outcome).toBe('blocked')
    expect(blocked.shadow).toBeUndefined()
  })
})

test.each<[string, PolicyInput, PolicyInput]>([
  [
    'gcra',
    policy(10, { algorithm: 'gcra', limits: [{ limit: 10, window: '1h', burst: 2 }] }),
    policy(10, { algorithm: 'gcra', limits: [{ limit: 10, window: '1h', burst: 500 }] }),
  ],
  [
    'token_bucket',
    policy(10, { algorithm: 'token_bucket', limits: [{ limit: 10, window: '1s' }] }),
    policy(600, { algorithm: 'token_bucket', limits: [{ limit: 600, window: '1s' }] }),
  ],
])(
  'what was taken under a policy that was changed since comes back under the new one: %s',
  async (_, before, after) => {
    const { bouncer, send, times, advance } = open({ policies: [before] })
    const first = await send()
    await bouncer.control.putPolicy(after, undefined, ann)
    advance(2000)
    const { remaining } = await times(400)
    expect(await bouncer.refund(first)).toBe(1)
    expect((await send()).remaining).toBe(remaining)
  },
)

describe('a list that holds everybody', () => {
  test.each([
    ['allow', '0.0.0.0/0', 'no IPv4 client is limited or blocked'],
    ['deny', '::/0', 'every IPv6 client that the allowlist does not cover is refused'],
  ] as const)('is warned of at the start: %s %s', (list, range, whom) => {
    const { logger } = open({ [list]: ['10.0.0.0/8', range] })
    const mend = `If that is not meant: bouncer ${list} rm ${range}`
    expect(logger.warn.mock.calls).toEqual([[`${range} is on the ${list}list: ${whom}. ${mend}`]])
  })
})

describe('what is probably a proxy', () => {
  const proxied = { from: '10.0.0.5', headers: { 'x-forwarded-for': '198.51.100.1' } }

  test('is limited, never blocked, and warned about once', async () => {
    const { times, logger, bouncer } = open({ trustProxy: 'loopback' })
    const last = await times(50, proxied)
    expect(last).toMatchObject({ outcome: 'limited', client: '10.0.0.5' })
    expect(last).not.toHaveProperty('violations')
    expect(await bouncer.control.blocks()).toEqual({ blocks: [], total: 0 })
    expect(logger.warn).toHaveBeenCalledTimes(1)
    expect(logger.warn.mock.calls[0]?.[0]).toContain('TRUST_PROXY=10.0.0.5')
  })

  test.each([
    ['sends no forwarding header', { from: '10.0.0.5' }, '10.0.0.5'],
    ['is trusted', { ...proxied, from: '127.0.0.1' }, '198.51.100.1'],
    ['is a public address', { ...proxied, from: '203.0.113.8' }, '203.0.113.8'],
    ['has an id of its own', { ...proxied, client: 'user:42' }, 'user:42'],
  ])('is no such thing when it %s: it is blocked as anyone', async (_, sent, client) => {
    const { times, logger, bouncer } = open()
    expect((await times(9, sent)).outcome).toBe('blocked')
    expect((await bouncer.control.blocks()).blocks.map(block => block.client)).toEqual([client])
    expect(logger.warn).not.toHaveBeenCalled()
  })

  test.each([
    [
      'is trusted and names nobody',
      { from: '127.0.0.1', headers: { 'x-real-ip': '198.51.100.1' } },
      /is trusted.*CLIENT_IP_HEADER/,
    ],
    ['has no address', { from: undefined as never, headers: proxied.headers }, /unix socket.*TRUST_PROXY=1/],
  ])('is warned of by what mends it when it %s', async (_, sent, line) => {
    const { bouncer, requestOf, logger } = open({ trustProxy: 'loopback' })
    const { from, headers } = sent
    const peer = { headers, socket: { remoteAddress: from } } as unknown as IncomingMessage
    for (let i = 0; i < 3; i++) await bouncer.check({ ...requestOf({}), peer })
    expect(logger.warn.mock.calls).toEqual([[expect.stringMatching(line)]])
    expect(await bouncer.control.diagnose()).not.toContainEqual(
      expect.objectContaining({ about: 'proxy', verdict: 'ok' }),
    )
  })

  test('a peer without an address is limited, never blocked, and no reason to warn of a proxy', async () => {
    const { bouncer, logger, requestOf } = open()
    const peer = { headers: {}, socket: {} } as unknown as IncomingMessage
    let last: Decision | undefined
    for (let i = 0; i < 20; i++) last = await bouncer.check({ ...requestOf({}), peer })
    expect(last).toMatchObject({ outcome: 'limited', client: 'unknown' })
    expect(logger.warn).not.toHaveBeenCalled()
    await bouncer.check(requestOf(proxied))
    expect(logger.warn).toHaveBeenCalledTimes(1)
  })
})

describe('when the store gives no answer', () => {
  const unavailable = () => new BouncerError('ERR_UNAVAILABLE', 'no answer in 50 ms', 'Wait')
  const failures: [string, () => never | Promise<never>][] = [
    [
      'throws',
      () => {
        throw unavailable()
      },
    ],
    ['rejects', () => Promise.reject(unavailable())],
  ]

  describe.each(failures)('because it %s', (_, fail) => {
    test.each([
      ['open', 'degraded-allowed', undefined, undefined],
      ['closed', 'degraded-refused', 1000, 503],
    ] as const)('fail mode %s decides %s', async (failMode, outcome, retryAfterMs, status) => {
      const { store, send, bouncer, logger, events } = open({ failMode })
      store.check = fail
      const decision = await send()
      expect(decision).toMatchObject({ outcome, reason: 'store', policy: 'api', limits: [] })
      expect(decision.retryAfterMs).toBe(retryAfterMs)
      if (status) expect(problemOf(decision, 'id').status).toBe(status)
      expect(bouncer.totals()).toMatchObject({ degraded: 1 })
      expect(bouncer.totals().policies.get('api')).toMatchObject({ [outcome]: 1, allowed: 0, limited: 0 })
      expect(await bouncer.refund(decision)).toBe(0)
      expect(logger.error).not.toHaveBeenCalled()
      expect(events).toEqual([])
    })
  })

  test('a policy’s own fail mode wins over the default', async () => {
    const policies = [policy(3), policy(3, { id: 'auth', match: '/auth/*', failMode: 'closed' })]
    const { store, outcome } = open({ policies, failMode: 'open' })
    store.check = () => Promise.reject(unavailable())
    expect(await outcome({ path: '/auth/login' })).toBe('degraded-refused')
    expect(await outcome({ path: '/' })).toBe('degraded-allowed')
  })

  test('lists and skip still decide', async () => {
    const { store, outcome } = open({ failMode: 'closed', allow: ['203.0.113.1'], deny: ['203.0.113.2'] })
    store.check = () => Promise.reject(unavailable())
    expect(await outcome()).toBe('exempt')
    expect(await outcome({ from: '203.0.113.2' })).toBe('blocked')
    expect(await outcome({ from: '203.0.113.3', skip: true })).toBe('exempt')
  })

  test('any other failure is a bug: decided the same way, and logged with its stack', async () => {
    const { store, outcome, logger } = open()
    store.check = () => {
      throw new TypeError('not a function')
    }
    expect(await outcome()).toBe('degraded-allowed')
    expect(logger.error.mock.calls[0]?.[0]).toMatch(/not a function[\s\S]*bouncer\.test\.ts/)
  })

  test('a store that answers later decides the same as one that answers at once', async () => {
    const policies = [policy(3), policy(2, { id: 'trial', mode: 'shadow' })]
    const [now, later] = [open({ policies }), open({ policies })]
    const check = later.store.check.bind(later.store)
    later.store.check = async (asked: Check) => check(asked)
    // Whose policies are compiled later, of them the numbers are others.
    const told = (decision: unknown) =>
      JSON.parse(JSON.stringify(decision, (key, value) => (key === 'number' ? undefined : value)))
    for (let i = 0; i < 12; i++) expect(told(await later.send())).toEqual(told(await now.send()))
  })
})

describe('options that cannot work stop the start', () => {
  test.each<[string, BouncerOptions, string, RegExp]>([
    ['a url and another host', { redis: { url: 'redis://a:1', host: 'b' } }, 'ERR_CONTRADICTION', /url and host/],
    ['a url and another database', { redis: { url: 'redis://a/3', db: 5 } }, 'ERR_CONTRADICTION', /url and db/],
    ['TLS and no TLS', { redis: { url: 'rediss://a', tls: false } }, 'ERR_CONTRADICTION', /rediss/],
    ['trusting everyone', { trustProxy: true }, 'ERR_UNSAFE', /trustProxy: true.*Name your proxies/],
    ['a negative number of hops', { trustProxy: -1 }, 'ERR_UNSAFE', /trustProxy: -1/],
    ['more hops than any chain has', { trustProxy: 33 }, 'ERR_UNSAFE', /33 hops.*at most 32/],
    ['ranges that are all of IPv4', { trustProxy: '0.0.0.0/1,128.0.0.0/1' }, 'ERR_UNSAFE', /all of IPv4/],
    ['the same by a netmask', { trustProxy: ['128.0.0.0/128.0.0.0', '0.0.0.0/2', '64.0.0.0/2'] }, 'ERR_UNSAFE', /IPv4/],
    ['all of IPv6', { trustProxy: 'loopback, ::/1, 8000::/1' }, 'ERR_UNSAFE', /all of IPv/],
    ['global IPv6', { trustProxy: '2000::/4, 3000::/4' }, 'ERR_UNSAFE', /all of IPv6/],
    ['all of mapped IPv4', { trustProxy: '::ffff:0:0/96' }, 'ERR_UNSAFE', /all of IPv4/],
    ['a logger without warn', { logger: { info() {}, error() {} } as never }, 'ERR_INVALID', /logger: expected.*warn/],
    ['a clock of milliseconds', { clock: Date.now }, 'ERR_INVALID', /clock: .*milliseconds.*Date.now\(\) \* 1000/],
    ['a clock of seconds', { clock: () => Date.now() / 1000 }, 'ERR_INVALID', /clock: .*in seconds/],
    ['a clock of nanoseconds', { clock: () => Date.now() * 1e6 }, 'ERR_INVALID', /clock: .*nanoseconds/],
    ['a clock of nothing', { clock: () => Number.NaN }, 'ERR_INVALID', /clock: returned NaN/],
    [
      'a range on both lists',
      { allow: ['10.0.0.1/8'], deny: ['10.0.0.0/8'] },
      'ERR_CONTRADICTION',
      /"10.0.0.1\/8".*allow wins/,
    ],
    ['no policies', { policies: [] }, 'ERR_INVALID', /policies: no policy/],
    ['a Redis that is not named', { redis: { url: undefined } as never }, 'ERR_INVALID', /redis: names no Redis/],
    [
      'blocks that get shorter',
      { penalty: { block: ['24h', '1h', '15m'] } },
      'ERR_INVALID',
      /penalty.block: gets shorter/,
    ],
    ['half a hop', { trustProxy: 1.5 }, 'ERR_UNSAFE', /trustProxy: 1.5/],
    ['a proxy that is no address', { trustProxy: 'loopbak' }, 'ERR_INVALID', /trustProxy.*loopbak/],
    ['a header nobody may write', { trustProxy: false, clientIpHeader: 'X-Real-IP' }, 'ERR_CONTRADICTION', /x-real-ip/],
    ['a header that is none', { clientIpHeader: 'x real ip' }, 'ERR_INVALID', /clientIpHeader: not a header name/],
    ['an id twice', { policies: [policy(1), policy(2)] }, 'ERR_CONTRADICTION', /"api"/],
    ['a tie', { policies: [policy(1), policy(2, { id: 'b' })] }, 'ERR_CONTRADICTION', /"api".*"b".*equally well/],
    ['a misspelt option', { polices: [] } as BouncerOptions, 'ERR_INVALID', /did you mean "policies"/],
    ['a misspelt field', { policies: [{ ...policy(1), matches: '/a' } as PolicyInput] }, 'ERR_INVALID', /"match"/],
    [
      'a window that is none',
      { policies: [{ id: 'a', limits: [{ limit: 1, window: 'soon' }] }] },
      'ERR_INVALID',
      /policies\.0\.limits\.0\.window: "soon"/,
    ],
    ['a cost that never fits', { policies: [policy(2, { cost: 3 })] }, 'ERR_INVALID', /policies\.0\.cost/],
    ['an exact log too long', { policies: [policy(100_001)] }, 'ERR_INVALID', /sliding_window_counter/],
    ['a pattern that does not parse', { policies: [policy(1, { match: '/a(' })] }, 'ERR_INVALID', /"api".*\/a\(/],
    ['an algorithm nobody knows', { algorithm: 'leaky' as 'gcra' }, 'ERR_INVALID', /algorithm/],
    ['a fail mode nobody knows', { failMode: 'ajar' as 'open' }, 'ERR_INVALID', /failMode/],
    ['a penalty without threshold', { penalty: { threshold: 0 } }, 'ERR_INVALID', /penalty.*threshold/],
    ['penalty: true', { penalty: true as never }, 'ERR_INVALID', /penalty/],
    ['a range that is none', { deny: ['10.0.0.0/33'] }, 'ERR_INVALID', /"10\.0\.0\.0\/33"/],
    ['an address that is none', { allow: ['localhost'] }, 'ERR_INVALID', /"localhost"/],
    ['a prefix too wide', { ipv6Prefix: 16 }, 'ERR_INVALID', /ipv6Prefix/],
    ['room for too few', { maxClients: 9 }, 'ERR_INVALID', /maxClients/],
    ['a clock that is none', { clock: 5 as never }, 'ERR_INVALID', /clock: expected a function/],
    ['an instance without name', { instance: '' }, 'ERR_INVALID', /instance/],
    ['a logger that is none', { logger: 'console' as never }, 'ERR_INVALID', /logger/],
  ])('%s', (_, options, code, message) => {
    let error: unknown
    try {
      createBouncer(options)
    } catch (thrown) {
      error = thrown
    }
    expect(error).toBeInstanceOf(BouncerError)
    expect(error).toMatchObject({ code, message: expect.stringMatching(message) })
    expect((error as BouncerError).mend).toMatch(/\w+ \w+/)
    expect((error as BouncerError).message.endsWith((error as BouncerError).mend)).toBe(true)
  })
})

describe('events', () => {
  test('tell what happened, each naming the one before', async () => {
    const { bouncer, times, events } = open({ policies: [policy(3), policy(9, { id: 'other', match: '/elsewhere' })] })
    await times(8, { method: 'POST', path: '/auth/login' })
    await new Promise(resolve => setImmediate(resolve))
    await bouncer.control.unblock('203.0.113.1', { reason: 'a mistake' }, ann)
    await bouncer.control.putPolicy(policy(9), undefined, { by: 'bob', reason: 'too strict' })
    await bouncer.control.deletePolicy('api', undefined, ann)
    await bouncer.control.putListEntry('deny', '198.51.100.7/24', {}, ann)
    await bouncer.control.deleteListEntry('deny', '198.51.100.0/24', ann)
    await bouncer.control.putSettings({ penalty: false }, ann)
    await bouncer.control.block({ client: '2001:db8::1', for: '1h', reason: 'scraping' }, ann)
    await bouncer.close()

    expect(events.map(event => eventSchema.parse(event))).toEqual(events)
    expect(events.map(({ prev }) => prev)).toEqual(['0-0', ...events.slice(0, -1).map(({ id }) => id)])
    expect(new Set(events.map(({ instance }) => instance))).toEqual(new Set([bouncer.instance]))
    const client = '203.0.113.1'
    const route = 'POST /auth/login'
    expect(events).toMatchObject([
      { type: 'violation', client, policy: 'api', route, count: 1, violations: 1 },
      { type: 'blocked', client, block: { by: 'auto', offence: 1, policy: 'api' } },
      {
        type: 'unblocked',
        client,
        by: 'ann',
        reason: 'a mistake',
        lifted: [/^block \(until 20/, 'counters of api'].map(text => expect.stringMatching(text)),
      },
      { type: 'policy-changed', policy: 'api', version: 2, action: 'put', by: 'bob', reason: 'too strict' },
      { type: 'policy-changed', policy: 'api', version: 3, action: 'deleted', by: 'ann' },
      { type: 'list-changed', list: 'deny', cidr: '198.51.100.0/24', action: 'added' },
      { type: 'list-changed', list: 'deny', cidr: '198.51.100.0/24', action: 'removed' },
      { type: 'settings-changed', by: 'ann' },
      { type: 'blocked', client: '2001:db8::/64', block: { by: 'ann', reason: 'scraping' } },
      { type: 'violation', client, route, count: 4, violations: 5 },
    ])
  })

  test('are not all: each instance logs what goes back by itself', async () => {
    const { bouncer, logger, advance } = open()
    const ann = { by: 'ann' }
    await bouncer.control.putPolicy(policy(2), undefined, ann, '1s')
    await bouncer.control.putPolicy({ ...policy(2), id: 'brief', match: '/brief' }, 0, ann, '1s')
    await bouncer.control.putPolicy({ ...policy(2), id: 'kept', match: '/kept' }, 0, ann, '1s')
    await bouncer.control.confirmPolicy('kept', ann)
    expect(logger.info).not.toHaveBeenCalled()
    advance(1000)
    await expect
      .poll(() => logger.info.mock.calls.flat(), { timeout: 5000 })
      .toEqual(['policy api went back: nobody confirmed version 2', 'policy brief is gone: nobody confirmed version 1'])
    // What is past is told once.
    await bouncer.control.putSettings({ ipv6Prefix: 56 }, ann)
    expect(logger.info).toHaveBeenCalledTimes(2)
  })

  test('keep a long path short', async () => {
    const { times, bouncer, events } = open({ policies: [policy(1)] })
    await times(2, { path: `/${'x'.repeat(100_000)}` })
    await bouncer.close()
    expect(events).toHaveLength(1)
    expect((events[0] as { route: string }).route.length).toBeLessThan(250)
  })

  test('a blocked, denylisted or too expensive request is no violation', async () => {
    const { times, bouncer, events } = open({ deny: ['198.51.100.7'] })
    await bouncer.control.block({ client: '203.0.113.1' }, ann)
    await times(9)
    await times(9, { from: '198.51.100.7' })
    await times(9, { from: '203.0.113.5', cost: 4 })
    await bouncer.close()
    expect(events.map(({ type }) => type)).toEqual(['blocked'])
  })
})

describe('totals and frames', () => {
  test('what a change did is seen at once, not with the next frame', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
    const { bouncer } = open()
    for (const limit of [5, 6]) await bouncer.control.putPolicy(policy(limit), undefined, ann)
    expect((await bouncer.control.unblock('203.0.113.1', {}, ann)).seenBy).toEqual({ seen: 1, of: 1 })
  })

  test('agree with what was sent', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
    const { bouncer, times } = open({ deny: ['198.51.100.7'] })
    const frames: StatsFrame[] = []
    const stop = bouncer.onFrame(frame => frames.push(frame))
    await times(10)
    await times(2, { from: '203.0.113.2' })
    vi.advanceTimersByTime(1000)
    await times(4, { from: '198.51.100.7' })
    await times(3, { skip: true })
    vi.advanceTimersByTime(1000)
    vi.advanceTimersByTime(1000)
    stop()
    vi.advanceTimersByTime(1000)

    expect(frames.map(frame => statsFrameSchema.parse(frame))).toEqual(frames)
    expect(frames.map(({ policies, blocks }) => ({ policies, blocks }))).toEqual([
      { policies: { api: { allowed: 5, limited: 5, blocked: 2 } }, blocks: 1 },
      { policies: { api: { blocked: 4, exempt: 3 } }, blocks: 0 },
      { policies: {}, blocks: 0 },
    ])
    expect(frames[0]?.top).toEqual([
      { client: '203.0.113.1', count: 10, outcomes: { allowed: 3, limited: 5, blocked: 2 } },
      { client: '203.0.113.2', count: 2, outcomes: { allowed: 2 } },
    ])
    expect(frames[0]).toMatchObject({
      at: START / 1000,
      instance: bouncer.instance,
      epoch: 1,
      store: { kind: 'memory', state: 'ok' },
    })
    const { policies, latency, blocks, degraded } = bouncer.totals()
    expect(Object.fromEntries(policies)).toMatchObject({ api: { allowed: 5, limited: 5, blocked: 6, exempt: 3 } })
    expect([latency.reduce((a, b) => a + b), blocks, degraded]).toEqual([19, 1, 0])
    expect((await bouncer.control.status()).activeBlocks).toBe(1)
  })

  test('a listener that throws ends neither the process nor the others, and is warned of', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
    const warnings = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
    const { bouncer, times, events } = open()
    const throwing = () => {
      throw new Error('of somebody else')
    }
    const frames: StatsFrame[] = []
    bouncer.onFrame(throwing)
    bouncer.onFrame(frame => frames.push(frame))
    bouncer.events.subscribe(throwing)
    const later: BouncerEvent[] = []
    bouncer.events.subscribe(event => later.push(event))
    await times(10)
    vi.advanceTimersByTime(1000)
    await bouncer.close()
    expect(frames).toHaveLength(2)
    expect(later).toEqual(events)
    expect(later.map(({ type }) => type)).toContain('blocked')
    expect(warnings).toHaveBeenCalledWith(expect.stringContaining('of somebody else'), 'ApiBouncerWarning')
    warnings.mockRestore()
  })

  test('that more clients are active than the embedded store has places for is warned of, once', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
    const { send, logger } = open({ maxClients: 10 })
    for (let second = 0; second < 3; second++) {
      for (let i = 0; i < 20; i++) await send({ from: `203.0.113.${i}` })
      vi.advanceTimersByTime(1000)
    }
    expect(logger.warn.mock.calls).toEqual([[expect.stringMatching(/more than 10 clients .* Raise maxClients/)]])
  })

  test('closing publishes what the last second held', async () => {
    const { bouncer, times } = open()
    const frames: StatsFrame[] = []
    bouncer.onFrame(frame => frames.push(frame))
    await times(2)
    await bouncer.close()
    expect(frames.map(({ policies }) => policies)).toEqual([{ api: { allowed: 2 } }])
  })
})

describe('a decision', () => {
  test('that sets a block says in every header what the next one will', async () => {
    const { bouncer, times, send } = open()
    const setting = await times(8)
    expect(setting).toMatchObject({ outcome: 'limited', block: { by: 'auto' }, violations: 5, remaining: 0 })
    const next = await send()
    expect(next.outcome).toBe('blocked')
    expect(bouncer.headers(setting)).toEqual(bouncer.headers(next))
    expect(bouncer.headers(setting)).toContainEqual(['RateLimit', expect.stringMatching(/;r=0;t=3601$/)])
  })

  test('gives its own units back, once', async () => {
    const { bouncer, send } = open({ policies: [policy(9, { algorithm: 'token_bucket' })] })
    const decision = await send({ cost: 4 })
    await send({ cost: 2 })
    const copy = JSON.parse(JSON.stringify(decision)) as Decision
    expect(await bouncer.refund(copy)).toBe(0)
    expect(await bouncer.refund(decision)).toBe(4)
    expect(await bouncer.refund(decision)).toBe(0)
    expect((await send()).remaining).toBe(6)
  })

  test('tells the longest wait when several limits refuse, not the one with the least left', async () => {
    const limits = [
      { limit: 4, window: '1s' },
      { limit: 5, window: '1h' },
    ]
    const { send } = open({ policies: [{ id: 'api', limits }] })
    await send({ cost: 3 })
    const refused = await send({ cost: 3 })
    expect(refused.limits.map(({ remaining }) => remaining)).toEqual([1, 2])
    expect(refused).toMatchObject({ outcome: 'limited', limit: 5, remaining: 2, retryAfterMs: 3_600_001 })
  })

  test('that refused has nothing to give back, and its violation stays', async () => {
    const { bouncer, times, send } = open()
    expect(await bouncer.refund(await times(4))).toBe(0)
    expect((await send()).violations).toBe(2)
  })

  test('can be foretold without counting', async () => {
    const { bouncer, times, requestOf, send } = open({ allow: ['192.0.2.1'] })
    for (let i = 0; i < 9; i++)
      expect(await bouncer.peek(requestOf({}))).toMatchObject({ outcome: 'allowed', remaining: 3 })
    await times(3)
    for (let i = 0; i < 9; i++) expect((await bouncer.peek(requestOf({}))).outcome).toBe('limited')
    expect((await bouncer.peek(requestOf({ from: '192.0.2.1' }))).outcome).toBe('exempt')
    expect((await send()).violations).toBe(1)
    expect(bouncer.totals().policies.get('api')).toMatchObject({ allowed: 3, limited: 1, exempt: 0 })
  })

  test('leaves a client’s standing to be read, policy by policy', async () => {
    const policies = [policy(3), policy(5, { id: 'auth', match: '/auth/*', mode: 'shadow', algorithm: 'gcra' })]
    const { bouncer, times } = open({ policies })
    await times(2, { path: '/auth/login' })
    await bouncer.control.block({ client: '203.0.113.1', reason: 'r' }, ann)
    expect(await bouncer.usage('203.0.113.1')).toMatchObject({
      client: '203.0.113.1',
      block: { reason: 'r' },
      policies: [
        { policy: 'api', mode: 'enforce', algorithm: 'sliding_window', match: ['*'], limits: [{ remaining: 1 }] },
        { policy: 'auth', mode: 'shadow', algorithm: 'gcra', match: ['/auth/*'], limits: [{ remaining: 3 }] },
      ],
    })
    expect((await bouncer.usage('203.0.113.99')).policies[0]?.limits[0]?.remaining).toBe(3)
  })
})

test('a logger that throws ends nothing', async () => {
  const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
  const boom = () => {
    throw new Error('boom')
  }
  const bouncer = createBouncer({ trustProxy: false, logger: { info: boom, warn: boom, error: boom } })
  const peer = { headers: { 'x-forwarded-for': '198.51.100.1' }, socket: { remoteAddress: '10.0.0.1' } }
  const decision = await bouncer.check({ peer: peer as unknown as IncomingMessage, method: 'GET', path: '/' })
  expect(decision.outcome).toBe('allowed')
  expect(String(warned.mock.calls[0]?.[0])).toMatch(/the logger failed: boom.*10\.0\.0\.1/)
  warned.mockRestore()
  await bouncer.close()
})

test.each([0, 1, 1e9, 1_700_000_000_000_000])('a clock may start at %d µs', async us => {
  await createBouncer({ clock: () => us }).close()
})

describe('what would do nothing, or leave nothing limited, is refused', () => {
  const by = { by: 'ann' }
  const refused = (message: RegExp) =>
    expect.objectContaining({ code: 'ERR_CONFLICT', message: expect.stringMatching(message) })

  test('blocking or denying whom the allowlist covers', async () => {
    const bouncer = createBouncer({ allow: ['10.0.0.0/8', '2001:db8::/32'], deny: ['192.0.2.0/24'] })
    const { control } = bouncer
    await expect(control.block({ client: '10.1.2.3', for: '1h', reason: 'r' }, by)).rejects.toEqual(
      refused(/10\.0\.0\.0\/8 is on the allowlist.*bouncer allow rm 10\.0\.0\.0\/8/),
    )
    await expect(control.block({ client: '2001:db8::1', for: '1h', reason: 'r' }, by)).rejects.toEqual(
      refused(/2001:db8::/),
    )
    for (const range of ['10.0.0.0/8', '10.1.0.0/16', '10.1.2.3', '2001:db8:1::/48']) {
      await expect(control.putListEntry('deny', range, {}, by)).rejects.toEqual(refused(/on the allowlist/))
    }
    await expect(control.putListEntry('allow', '192.0.2.0/24', {}, by)).rejects.toEqual(refused(/on the denylist/))
    await control.putListEntry('deny', '0.0.0.0/1', {}, by)
    await control.putListEntry('deny', '2001:db9::/32', {}, by)
    await control.block({ client: 'user:42', for: '1h', reason: 'r' }, by)
    await control.block({ client: '192.0.2.1', for: '1h', reason: 'r' }, by)
    await bouncer.close()
  })

  test('deleting the last policy that is enforced; switching it off is not', async () => {
    const bouncer = createBouncer()
    const { control } = bouncer
    await control.deletePolicy('auth', undefined, by)
    await expect(control.deletePolicy('default', undefined, by)).rejects.toEqual(
      refused(/nothing would be limited.*mode: off/),
    )
    await control.putPolicy({ id: 'default', limits: [{ limit: 1, window: '1m' }], mode: 'off' }, undefined, by)
    await control.deletePolicy('default', undefined, by)
    await bouncer.close()
  })
})
