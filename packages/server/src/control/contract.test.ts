import {
  type ControlPlane,
  createBouncer,
  httpControlPlane,
  openRedisControl,
  STATS_RANGES,
} from '@api-bouncer/limiter'
import { RedisServer, until } from '@api-bouncer/limiter/testing/redis-server'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { TOKEN, testServer } from '../testing.fixture.ts'

/** A way to the control plane, and requests for it to see. */
interface Way {
  readonly control: ControlPlane
  hit(client: string, times: number, path?: string): Promise<string[]>
  close(): Promise<unknown>
}

const ways: Record<string, () => Promise<Way>> = {
  async 'in process, embedded'() {
    const bouncer = createBouncer()
    return { control: bouncer.control, hit: hitter(bouncer), close: () => bouncer.close() }
  },
  async 'over HTTP'() {
    const server = await testServer()
    const control = httpControlPlane({ url: server.controlPlane, token: TOKEN })
    return { control, hit: hitter(server.bouncer), close: () => server.close() }
  },
  async 'straight on Redis, beside an instance'() {
    const redis = await RedisServer.start()
    const bouncer = createBouncer({ redis: { url: redis.url } })
    await until('the instance on Redis', () => bouncer.health().state === 'ok' && bouncer.epoch > 0)
    const control = await openRedisControl({ url: redis.url })
    const close = async () => {
      await control.close()
      await bouncer.close()
      await redis.stop()
    }
    return { control, hit: hitter(bouncer), close }
  },
}

const hitter =
  (bouncer: ReturnType<typeof createBouncer>): Way['hit'] =>
  async (client, times, path = '/api/data') => {
    const outcomes: string[] = []
    for (let i = 0; i < times; i++) {
      const peer = { headers: {}, socket: { remoteAddress: client } }
      outcomes.push((await bouncer.check({ peer: peer as never, method: 'GET', path })).outcome)
    }
    return outcomes
  }

const jane = { by: 'jane', source: 'test', reason: 'because' }
const limits = [{ limit: 3, window: '1m' }]

describe.each(Object.entries(ways))('the control plane %s', (_, open) => {
  let way: Way
  let control: ControlPlane
  beforeAll(async () => {
    way = await open()
    control = way.control
  })
  afterAll(() => way.close())

  it('sees the store, the instance and the policies', async () => {
    await until('a heartbeat', async () => (await control.status()).instances.length === 1)
    expect(await control.status()).toMatchObject({ state: 'ok', policies: 2, activeBlocks: 0 })
    expect((await control.state()).policies.map(({ policy }) => policy.id).sort()).toEqual(['auth', 'default'])
  })

  it('finds who hurts the API, says why it is refused, and lets it back in with proof', async () => {
    await way.hit('203.0.113.9', 105)
    await until('the block', async () => (await control.blocks()).blocks.some(({ client }) => client === '203.0.113.9'))
    const [offender] = await control.clients({ sort: 'nearest', limit: 1 })
    expect(offender).toMatchObject({
      client: '203.0.113.9',
      state: 'blocked',
      policy: 'default',
      used: 100,
      limit: 100,
    })

    const detail = await control.client('203.0.113.9')
    expect(detail).toMatchObject({ offences: 1, block: { by: 'auto', policy: 'default', offence: 1 } })
    expect(detail.usage.find(({ policy }) => policy === 'default')?.limits[0]).toMatchObject({
      limit: 100,
      remaining: 0,
    })

    const before = await control.client('203.0.113.9')
    const why = await control.explain({ client: '203.0.113.9', method: 'POST', path: '/auth/login' })
    expect(why).toMatchObject({ outcome: 'blocked', policy: 'auth', reason: '5 violations within 5m' })
    expect(why.matched.map(({ policy }) => policy)).toEqual(['auth', 'default'])
    expect((await control.client('203.0.113.9')).usage.map(({ limits }) => limits[0]?.remaining)).toEqual(
      before.usage.map(({ limits }) => limits[0]?.remaining),
    )

    const lifted = await control.unblock('203.0.113.9', {}, jane)
    expect(lifted).toMatchObject({ wasBlocked: true, counters: ['default'], seenBy: { seen: 1, of: 1 } })
    expect(await way.hit('203.0.113.9', 1)).toEqual(['allowed'])
    expect(await control.unblock('203.0.113.9', {}, jane)).toMatchObject({ wasBlocked: false })
  })

  it.each(['ann smith', '50%', '%', 'ünïcode {x}\n', 'é'.repeat(128)])('takes %j back as it is printed', async id => {
    const { client } = await control.block({ client: id, for: '10m' }, jane)
    expect(await control.block({ client, for: '11m' }, jane)).toMatchObject({ client })
    expect(await control.client(client)).toMatchObject({ client, block: { client } })
    expect(await control.explain({ client })).toMatchObject({ client, outcome: 'blocked' })
    expect(await control.clientHistory(client)).toMatchObject({ client })
    expect(await control.unblock(client, {}, jane)).toMatchObject({ client, wasBlocked: true })
  })

  it('pages keys exactly, by patterns over all of a name or what follows its prefix, and in words', async () => {
    const clients = Array.from({ length: 25 }, (_, i) => `198.51.100.${100 + i}`)
    for (const client of clients) await control.block({ client, for: '10m', reason: 'key test' }, jane)
    const found = new Set<string>()
    let cursor = '0'
    do {
      const page = await control.keys({ match: '*:block:*', cursor, limit: 10 })
      expect(page.keys.length).toBeLessThanOrEqual(10)
      for (const { key, words } of page.keys) {
        found.add(key)
        expect(words).toMatch(/^block of .*: (until \d.*, )?key test/)
      }
      cursor = page.cursor
    } while (cursor !== '0')
    expect([...found].map(key => /\{(.*)\}/.exec(key)?.[1]).sort()).toEqual(clients)
    for (const match of ['block:*', 'api_bouncer:block:*', '*block:{198.51.100.1*']) {
      expect((await control.keys({ match, limit: 1000 })).keys).toHaveLength(25)
    }
    expect((await control.keys({ match: '*:none-such:*' })).keys).toEqual([])
    for (const cursor of ['zzz', '-1', '1:zzz', '0:99999999999999999999999']) {
      await expect(control.keys({ cursor })).rejects.toMatchObject({ code: 'ERR_INVALID' })
    }
    for (const client of clients) await control.unblock(client, {}, jane)
  })

  it('lists who is near a limit, though it pauses', async () => {
    await way.hit('192.0.2.95', 95)
    // Then in no frame of the last second any more.
    const listed = async () =>
      (await control.clients({ sort: 'nearest', limit: 500 })).find(({ client }) => client === '192.0.2.95')
    await until('a quiet second', async () => (await listed())?.requestsPerSecond === 0)
    await new Promise(resolve => setTimeout(resolve, 1100))
    expect(await listed()).toMatchObject({ state: 'near', used: 95, limit: 100, requestsPerSecond: 0 })
  })

  it('blocks by hand, with a reason, an IPv6 client by its network', async () => {
    const block = await control.block({ client: '2001:db8:1:2:3::4', for: '10m', reason: 'scraper' }, jane)
    expect(block).toMatchObject({ client: '2001:db8:1:2::/64', reason: 'scraper', by: 'jane' })
    expect(await way.hit('2001:db8:1:2:ffff::1', 1)).toEqual(['blocked'])
    await control.unblock('2001:db8:1:2::9', { keepCounters: true }, jane)
    expect(await way.hit('2001:db8:1:2:ffff::1', 1)).toEqual(['allowed'])
  })

  it('explains who a request comes from', async () => {
    await expect(control.explain({ peer: 'nope' })).rejects.toMatchObject({ code: 'ERR_INVALID' })
    const { identity, client } = await control.explain({ peer: '127.0.0.1', headers: { 'X-Forwarded-For': '9.8.7.6' } })
    expect({ client, identity }).toEqual({
      client: '9.8.7.6',
      identity: { address: '9.8.7.6', hops: ['127.0.0.1', '9.8.7.6'], header: 'x-forwarded-for', probablyProxy: false },
    })
  })

  it('changes policies by version, in force at once, and knows their history', async () => {
    const made = await control.putPolicy({ id: 'slow', match: '/slow', limits }, 0, jane)
    expect(made).toMatchObject({ version: 1, updatedBy: 'jane', policy: { id: 'slow', mode: 'enforce' } })
    await until('it bites', async () => (await way.hit('198.51.100.1', 1, '/slow'))[0] === 'limited')
    await expect(control.putPolicy({ id: 'slow', match: '/slow', limits }, 0, jane)).rejects.toMatchObject({
      code: 'ERR_CONFLICT',
    })
    await control.putPolicy({ id: 'slow', match: '/slow', limits: [{ limit: 9, window: '1m' }] }, 1, jane)
    const back = await control.rollbackPolicy('slow', 1, jane)
    expect(back).toMatchObject({ version: 3, policy: { limits: [{ limit: 3 }] } })
    expect((await control.policyHistory('slow')).map(({ version }) => version)).toEqual([3, 2, 1])
    await control.deletePolicy('slow', 3, jane)
    await expect(control.deletePolicy('slow', undefined, jane)).rejects.toMatchObject({ code: 'ERR_NOT_FOUND' })
  })

  it('takes a change back by itself unless it is confirmed', async () => {
    const original = (await control.state()).policies.find(({ policy }) => policy.id === 'auth')
    const changed = { ...original?.policy, limits: [{ limit: 1, window: '1m' }] }
    await control.putPolicy(changed, original?.version, jane, '1s')
    const limitNow = async () => {
      const { usage } = await control.client('198.51.100.77')
      return usage.find(({ policy }) => policy === 'auth')?.limits[0]?.limit
    }
    expect(await limitNow()).toBe(1)
    await until('it has gone back', async () => (await limitNow()) === 30)
    await expect(control.confirmPolicy('auth', jane)).rejects.toMatchObject({ code: 'ERR_CONFLICT' })

    const kept = await control.putPolicy(changed, undefined, jane, '1h')
    expect(kept.revert?.policy?.limits).toEqual([{ limit: 30, window: '1m' }])
    expect((await control.confirmPolicy('auth', jane)).revert).toBeUndefined()
    const [confirmed, put] = await control.audit({ limit: 2 })
    expect(confirmed).toMatchObject({ action: 'policy.confirm', target: 'auth', after: changed })
    expect(confirmed).not.toHaveProperty('before')
    expect(put).toMatchObject({ action: 'policy.put', goesBackAt: kept.revert?.at })
    await control.rollbackPolicy('auth', 1, jane)
  })

  it('goes back to what was confirmed last, whatever is written meanwhile', async () => {
    const of = (limit: number) => ({ id: 'twice', match: '/twice', limits: [{ limit, window: '1m' }] })
    const confirmed = await control.putPolicy(of(9), 0, jane)
    const first = await control.putPolicy(of(8), 1, jane, '1h')
    const second = await control.putPolicy(of(7), 2, jane)
    expect(second.revert).toEqual({ at: first.revert?.at, policy: confirmed.policy })
    const third = await control.putPolicy(of(6), 3, jane, '2h')
    expect(third.revert).toEqual({ at: expect.any(Number), policy: confirmed.policy })
    expect(third.revert?.at).toBeGreaterThan(second.revert?.at as number)
    // Who returns by hand has nothing left to go back from.
    expect((await control.rollbackPolicy('twice', 1, jane)).revert).toBeUndefined()

    await control.putPolicy(of(5), undefined, jane, '1s')
    await control.putPolicy(of(4), undefined, jane)
    const limitNow = async () => {
      const { usage } = await control.client('198.51.100.77')
      return usage.find(({ policy }) => policy === 'twice')?.limits[0]?.limit
    }
    expect(await limitNow()).toBe(4)
    await until('it has gone back', async () => (await limitNow()) === 9)
    await control.putPolicy(of(3), undefined, jane, '1h')
    await control.putPolicy(of(2), undefined, jane)
    expect(await control.confirmPolicy('twice', jane)).toMatchObject({ policy: { limits: [{ limit: 2 }] } })
    await control.deletePolicy('twice', undefined, jane)
  })

  it('has no policy that was made and not confirmed, but knows it was there', async () => {
    const policy = { id: 'brief', match: '/brief', limits }
    const { version } = await control.putPolicy(policy, 0, jane, '1s')
    const ids = async () => (await control.state()).policies.map(({ policy }) => policy.id)
    expect(await ids()).toContain('brief')
    // A policy that would clash with what it goes back to is refused while that may still happen.
    await control.putPolicy({ id: 'moved', match: '/there', limits }, 0, jane)
    await control.putPolicy({ id: 'moved', match: '/elsewhere', limits }, 1, jane, '1h')
    await expect(control.putPolicy({ id: 'clash', match: '/there', limits }, 0, jane)).rejects.toMatchObject({
      code: 'ERR_CONTRADICTION',
      message: expect.stringContaining('goes back'),
    })
    await control.deletePolicy('moved', undefined, jane)

    await until('it has gone back', async () => !(await ids()).includes('brief'))
    expect(await control.status()).toMatchObject({ policies: (await ids()).length })
    await expect(control.deletePolicy('brief', undefined, jane)).rejects.toMatchObject({ code: 'ERR_NOT_FOUND' })
    await expect(control.confirmPolicy('brief', jane)).rejects.toMatchObject({
      code: 'ERR_NOT_FOUND',
      message: expect.stringContaining('went back'),
    })
    expect((await control.policyHistory('brief')).map(record => record.version)).toEqual([version])
    // Its place is free: another may have the same route, and it may be made again, as a later version.
    await control.putPolicy({ ...policy, id: 'other' }, 0, jane)
    await control.deletePolicy('other', undefined, jane)
    expect(await control.rollbackPolicy('brief', version, jane)).toMatchObject({ version: version + 1 })
    expect(await ids()).toContain('brief')
    await control.deletePolicy('brief', undefined, jane)
  })

  it('keeps lists, and an allowlisted client passes over its block', async () => {
    await control.block({ client: '198.51.100.9', for: '1h' }, jane)
    const entry = await control.putListEntry('allow', '198.51.100.0/28', { comment: 'office', for: '1h' }, jane)
    expect(entry).toMatchObject({ list: 'allow', cidr: '198.51.100.0/28', comment: 'office', addedBy: 'jane' })
    await until('the list is in force', async () => (await way.hit('198.51.100.9', 1))[0] === 'exempt')
    expect((await control.client('198.51.100.9')).allowlisted).toBe('198.51.100.0/28')
    const listed = async () => ({
      block: (await control.blocks()).blocks.find(({ client }) => client === '198.51.100.9'),
      client: (await control.clients({ limit: 500 })).find(({ client }) => client === '198.51.100.9'),
    })
    const letIn = await listed()
    expect(letIn).toMatchObject({
      block: { allowlisted: '198.51.100.0/28' },
      client: { state: 'ok', allowlisted: '198.51.100.0/28' },
    })
    expect(letIn.client).not.toHaveProperty('blockedUntil')
    await control.deleteListEntry('allow', '198.51.100.0/28', jane)
    await until('it is refused again', async () => (await way.hit('198.51.100.9', 1))[0] === 'blocked')
    const refused = await listed()
    expect(refused).toMatchObject({ block: { by: 'jane' }, client: { state: 'blocked', used: 0, limit: 0 } })
    expect(refused.client).not.toHaveProperty('policy')
    expect(refused.block).not.toHaveProperty('allowlisted')
    await expect(control.deleteListEntry('allow', '198.51.100.0/28', jane)).rejects.toMatchObject({
      code: 'ERR_NOT_FOUND',
    })
  })

  it('has the history of all, and of a client that stood out', async () => {
    await way.hit('198.51.100.30', 12)
    await until('the history', async () => {
      const { buckets } = await control.stats({})
      const told = buckets.reduce((sum, { policies }) => sum + (policies.default?.allowed ?? 0), 0)
      return told >= 100 + 12
    })
    for (const range of ['5m', '1h', '24h'] as const) {
      const { buckets, ...rest } = await control.stats({ range })
      expect(rest).toEqual({ range, stepMs: STATS_RANGES[range].stepMs, at: expect.any(Number) })
      for (const { at } of buckets) expect(at % rest.stepMs).toBe(0)
      expect(buckets.reduce((sum, { blocks }) => sum + blocks, 0)).toBe(1)
      expect(Math.max(...buckets.map(({ instances }) => instances))).toBe(1)
    }
    const of = async (client: string) => {
      const { buckets, events, ...rest } = await control.clientHistory(client)
      for (const event of events) expect(event).toMatchObject({ client: rest.client })
      const sum = (outcome: 'allowed' | 'limited') =>
        buckets.reduce((n, { outcomes }) => n + (outcomes[outcome] ?? 0), 0)
      const told = events.map(({ type }) => type)
      return { ...rest, told, allowed: sum('allowed'), limited: sum('limited') }
    }
    await until("the client's history", async () => (await of('198.51.100.30')).allowed === 12)
    expect(await of('203.0.113.9')).toMatchObject({
      client: '203.0.113.9',
      stepMs: 60_000,
      limited: 5,
      told: expect.arrayContaining(['violation', 'blocked', 'unblocked']),
    })
    expect(await of('2001:db8:9::1')).toEqual({
      client: '2001:db8:9::/64',
      stepMs: 60_000,
      at: expect.any(Number),
      eventsFrom: expect.any(Number),
      told: [],
      allowed: 0,
      limited: 0,
    })
    await expect(control.stats({ range: '7d' as never })).rejects.toMatchObject({ code: 'ERR_INVALID' })
  })

  it('shows keys in words, and deletes one', async () => {
    await way.hit('198.51.100.20', 2)
    const named = (await control.keys({ match: '*198.51.100.20*' })).keys.find(({ key }) =>
      key.includes('sliding_window'),
    )
    expect(named?.words).toMatch(/198\.51\.100\.20 under default \(60s\)/)
    const key = named?.key as string
    expect(await control.key(key)).toMatchObject({ key })
    await control.deleteKey(key, jane)
    await expect(control.key(key)).rejects.toMatchObject({ code: 'ERR_NOT_FOUND' })

    await control.block({ client: '198.51.100.21', for: '1h' }, jane)
    const [block] = (await control.keys({ match: '*block*198.51.100.21*' })).keys
    await control.deleteKey(block?.key as string, jane)
    const { events } = await control.events({ limit: 5 })
    expect(events.at(-1)).toMatchObject({ type: 'unblocked', client: '198.51.100.21', by: 'jane', lifted: ['block'] })
  })

  it('tells events in order, and who changed what from what', async () => {
    await until('the events of all this', async () => (await control.events({ limit: 1000 })).events.length > 10)
    const { events } = await control.events({ limit: 1000 })
    for (const [i, event] of events.slice(1).entries()) expect(event.prev).toBe(events[i]?.id)
    const after = await control.events({ after: events[2]?.id as string, limit: 2 })
    expect(after).toEqual({ events: events.slice(3, 5), gap: false })
    const audit = await control.audit({ limit: 1000 })
    expect(new Set(audit.map(({ action }) => action))).toEqual(
      new Set([
        'block',
        'unblock',
        'policy.put',
        'policy.confirm',
        'policy.delete',
        'list.put',
        'list.delete',
        'key.delete',
      ]),
    )
    expect(audit.every(({ by }) => by === 'jane')).toBe(true)
    const removed = audit.find(({ action, target }) => action === 'policy.delete' && target === 'slow')
    expect(removed?.before).toMatchObject({ id: 'slow' })
  })

  it('lists blocks by pages, and says how many there are', async () => {
    for (const { client } of (await control.blocks()).blocks) await control.unblock(client, {}, { by: 'ann' })
    const clients = ['192.0.2.61', '192.0.2.62', '192.0.2.63']
    for (const client of clients) await control.block({ client, for: '2h' }, { by: 'ann' })
    const first = await control.blocks({ limit: 2 })
    expect(first).toMatchObject({ blocks: [{}, {}], total: 3, next: expect.any(String) })
    const second = await control.blocks({ limit: 2, after: first.next })
    expect(second.next).toBeUndefined()
    expect([...first.blocks, ...second.blocks].map(({ client }) => client).sort()).toEqual(clients)
    expect((await control.blocks()).blocks).toHaveLength(3)
    await expect(control.blocks({ limit: 10_001 })).rejects.toMatchObject({ code: 'ERR_INVALID' })
    await expect(control.blocks({ after: 'x' })).rejects.toMatchObject({ code: 'ERR_INVALID' })
    for (const client of clients) await control.unblock(client, {}, { by: 'ann' })
  })

  it.each([
    ['an address that is none', (c: ControlPlane) => c.client('1.2.3.400'), 'ERR_INVALID'],
    [
      'a policy with an unknown field',
      (c: ControlPlane) => c.putPolicy({ id: 'x', limit: [] }, undefined, jane),
      'ERR_INVALID',
    ],
    ['a range where a client is meant', (c: ControlPlane) => c.unblock('10.0.0.0/8', {}, jane), 'ERR_INVALID'],
    ['a policy nobody has', (c: ControlPlane) => c.policyHistory('nobody'), 'ERR_NOT_FOUND'],
    ['control state as a key', (c: ControlPlane) => c.deleteKey('api_bouncer:{control}:none', jane), 'ERR_NOT_FOUND'],
  ])('refuses %s with a mend', async (_what, act, code) => {
    await expect(act(control)).rejects.toMatchObject({ code })
  })
})
