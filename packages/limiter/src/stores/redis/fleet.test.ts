import { Cluster, type Redis } from 'ioredis'
import { afterEach, describe, expect, test, vi } from 'vitest'
import type { BouncerEvent } from '../../contracts/index.ts'
import type { BouncerError } from '../../errors.ts'
import type { BouncerOptions } from '../../options.ts'
import { connectTo, endAll, ending, type Opened, openBouncer } from './fleet.fixture.ts'
import { AS_LIMITER, RedisServer, startCluster, until } from './redis-server.fixture.ts'
import type { RedisOptions } from './settings.ts'

afterEach(endAll)
// Servers start, die and fail over while others use the machine too.
vi.setConfig({ testTimeout: 60_000 })

const ann = { by: 'ann' }
const START = { policies: [{ id: 'default', match: '*', limits: [{ limit: 100, window: '1h' }] }] }
const limited = (limit: number) => ({ id: 'default', match: '*', limits: [{ limit, window: '1h' }] })

// How quick a machine is that others use too is not what is tested here.
const deadline = '1s'

/** Somewhere to share, and a plain connection to look and meddle. */
interface Place {
  readonly redis: RedisOptions
  readonly look: Redis | Cluster
  readonly servers: () => Redis[]
}

async function standalone(): Promise<Place> {
  const server = ending(await RedisServer.start(), one => one.stop())
  const look = connectTo(server)
  return { redis: { url: server.url, deadline }, look, servers: () => [look] }
}

async function cluster(): Promise<Place> {
  const { endpoints } = ending(await startCluster(), one => one.stop())
  const startup = endpoints.map(endpoint => ({ host: '127.0.0.1', port: Number(endpoint.split(':')[1]) }))
  const look = ending(new Cluster(startup), one => one.disconnect())
  look.on('error', () => {})
  await until('the cluster', () => look.status === 'ready')
  return { redis: { cluster: endpoints, ...AS_LIMITER, deadline }, look, servers: () => look.nodes('master') }
}

async function fleet(
  { redis }: Pick<Place, 'redis'>,
  size: number,
  options: Partial<BouncerOptions> = {},
): Promise<Opened[]> {
  const opened = Array.from({ length: size }, (_, i) =>
    openBouncer({ redis, ...START, instance: `i${i + 1}`, ...options }),
  )
  for (const { bouncer, ask } of opened) {
    await until('Redis', async () => /^(allowed|exempt)$/.test((await ask('warm')).outcome))
    await until('the control state', () => bouncer.epoch > 0 && bouncer.health().state === 'ok')
  }
  const epochs = () => new Set(opened.map(({ bouncer }) => bouncer.epoch))
  await until('one control state', async () => {
    const { epoch } = await (opened[0] as Opened).bouncer.control.state()
    return epochs().size === 1 && epochs().has(epoch)
  })
  return opened
}

async function cutPubSub({ servers }: Place): Promise<void> {
  for (const server of servers()) await server.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
}

/** How long until all see it, ms. */
async function seenBy(opened: readonly Opened[], what: string, sees: (one: Opened) => boolean | Promise<boolean>) {
  const started = performance.now()
  for (const one of opened) await until(what, () => sees(one))
  return Math.round(performance.now() - started)
}

describe.each([
  ['Redis', standalone],
  ['a Cluster', cluster],
] as const)('instances on %s', (name, open) => {
  test.each(['heard', 'lost'])('a change is in force everywhere within a second, its message %s', async message => {
    const place = await open()
    const opened = await fleet(place, 3)
    const [first, ...others] = opened as [Opened, ...Opened[]]
    const lose = () => (message === 'lost' ? cutPubSub(place) : undefined)
    const took: Record<string, number> = {}

    await lose()
    await first.bouncer.control.putPolicy(limited(7), undefined, ann)
    took.policy = await seenBy(others, 'the policy', async ({ peek }) => (await peek('a')).limit === 7)
    await lose()
    await first.bouncer.control.putListEntry('deny', '198.51.100.1', {}, ann)
    took.list = await seenBy(others, 'the list', async ({ bouncer }) => (await denied(bouncer)) === 'blocked')
    await lose()
    await first.bouncer.control.putSettings({ ipv6Prefix: 48 }, ann)
    took.settings = await seenBy(others, 'the settings', ({ bouncer }) => prefixOf(bouncer) === 48)
    console.log(`${name}, message ${message}: in force everywhere after ${JSON.stringify(took)} ms`)
    // It is asked for twice a second.
    for (const ms of Object.values(took)) expect(ms).toBeLessThan(1000)
  })

  test('of changes made from the same version exactly one wins; history and rollback', async () => {
    const opened = await fleet(await open(), 3)
    const results = await Promise.allSettled(
      opened.map(({ bouncer }, i) => bouncer.control.putPolicy(limited(10 + i), 1, ann)),
    )
    const won = results.filter(({ status }) => status === 'fulfilled')
    const lost = results.filter(result => result.status === 'rejected')
    expect(won).toHaveLength(1)
    expect(lost.map(({ reason }) => (reason as BouncerError).code)).toEqual(['ERR_CONFLICT', 'ERR_CONFLICT'])
    const [first, second] = opened as [Opened, Opened]
    expect((await first.bouncer.control.rollbackPolicy('default', 1, ann)).version).toBe(3)
    await second.bouncer.control.putPolicy({ ...limited(9), id: 'other', match: '/other' }, undefined, ann)
    await second.bouncer.control.deletePolicy('default', 3, ann)
    expect((await first.bouncer.control.rollbackPolicy('default', 1, ann)).version).toBe(5)
    const history = await second.bouncer.control.policyHistory('default')
    expect(history.map(({ version }) => version)).toEqual([5, 3, 2, 1])
    await seenBy(opened, 'the rollback', async ({ peek }) => (await peek('a')).limit === 100)
    // Without an expected version all are made, one after the other.
    await Promise.all(opened.map(({ bouncer }, i) => bouncer.control.putPolicy(limited(20 + i), undefined, ann)))
    const { policies } = await first.bouncer.control.state()
    expect(policies.find(({ policy }) => policy.id === 'default')?.version).toBe(8)
  })

  test('what was taken under a policy that was changed since comes back under the new one', async () => {
    const bursting = (burst: number) => ({
      id: 'default',
      match: '*',
      algorithm: 'gcra' as const,
      limits: [{ limit: 10, window: '1h', burst }],
    })
    const [first, second] = (await fleet(await open(), 2)) as [Opened, Opened]
    await first.bouncer.control.putPolicy(bursting(2), undefined, ann)
    await seenBy([second], 'the policy', async ({ peek }) => (await peek('a')).limit === 2)
    const decision = await second.ask('a')
    await first.bouncer.control.putPolicy(bursting(500), undefined, ann)
    await seenBy([second], 'its change', async ({ peek }) => (await peek('a')).limit === 500)
    for (let i = 0; i < 400; i++) await first.ask('a')
    const { remaining } = await second.peek('a')
    expect(await second.bouncer.refund(decision)).toBe(1)
    expect((await first.peek('a')).remaining).toBe(remaining + 1)
  })

  test('every instance is told all events in order; who was cut off catches up', async () => {
    const place = await open()
    const opened = await fleet(place, 3)
    const [first] = opened as [Opened]
    const told = opened.map(({ bouncer }) => {
      const events: BouncerEvent[] = []
      bouncer.events.subscribe(event => events.push(event))
      return events
    })
    const blocks = (events: readonly BouncerEvent[]) =>
      events.filter(event => event.type === 'blocked' && event.client !== 'first')
    // Who has just started is told from the first event on that it hears of.
    await until('all listen', async () => {
      await first.bouncer.control.block({ client: 'first', for: '1h' }, ann)
      return told.every(events => events.length > 0)
    })
    for (let i = 0; i < 30; i++) {
      if (i % 10 === 5) await cutPubSub(place)
      const { bouncer } = opened[i % 3] as Opened
      await bouncer.control.block({ client: `c${i}`, for: '1h' }, ann)
    }
    const tookMs = await seenBy(opened, 'all events', one => blocks(told[opened.indexOf(one)] ?? []).length === 30)
    console.log(`${name}: all 30 events everywhere ${tookMs} ms after the last, with pub/sub cut three times`)
    expect(tookMs).toBeLessThan(1100)
    for (const events of told) {
      expect(blocks(events).map(event => event.type === 'blocked' && event.client)).toEqual(
        Array.from({ length: 30 }, (_, i) => `c${i}`),
      )
      expect(events.map(({ type }) => type)).not.toContain('gap')
      for (let i = 1; i < events.length; i++) expect(events[i]?.prev).toBe(events[i - 1]?.id)
    }
    expect(new Set(blocks(told[0] ?? []).map(({ instance }) => instance))).toEqual(new Set(['i1', 'i2', 'i3']))
    // And by id, as a reader who comes back asks.
    const [oldest, newest] = [told[0]?.[0], told[0]?.at(-1)] as [BouncerEvent, BouncerEvent]
    const after = await first.bouncer.events.after(oldest.id, 1000)
    expect(after).toMatchObject({ gap: false })
    expect(after.events.at(-1)?.id).toBe(newest.id)
  })

  test('status shows every instance, and none that has died 5 s ago', async () => {
    const place = await open()
    const opened = await fleet(place, 3)
    const [first, , third] = opened as [Opened, Opened, Opened]
    const names = async () => (await first.bouncer.control.status()).instances.map(({ instance }) => instance)
    await until('all three', async () => (await names()).length === 3)
    expect(await names()).toEqual(['i1', 'i2', 'i3'])
    const { store } = await first.bouncer.control.status()
    const infos = await Promise.all(place.servers().map(server => server.info()))
    const used = infos.reduce((sum, info) => sum + Number(/^used_memory:(\d+)/m.exec(info)?.[1]), 0)
    expect(store.version).toContain(/^(?:redis|valkey)_version:([\d.]+)/m.exec(infos[0] as string)?.[1])
    expect((store.memoryBytes as number) / used).toBeCloseTo(1, 0)
    // One that says goodbye is gone at once, one that does not after 5 s.
    await third.bouncer.close()
    expect(await names()).toEqual(['i1', 'i2'])
    const now = Number((await place.servers()[0]?.time())?.[0]) * 1000
    await place.look.zadd('api_bouncer:{control}:instances', now, 'crashed')
    await place.look.hset(
      'api_bouncer:{control}:frames',
      'crashed',
      ((await place.look.hget('api_bouncer:{control}:frames', 'i2')) ?? '').replaceAll('i2', 'crashed'),
    )
    const died = performance.now()
    expect(await names()).toEqual(['crashed', 'i1', 'i2'])
    await until('the dead one gone', async () => (await names()).length === 2)
    expect(performance.now() - died).toBeLessThan(6100)
    await until('its frame gone', async () => !(await place.look.hexists('api_bouncer:{control}:frames', 'crashed')))
  })

  test('many clients, blocks and their list, unblock, and a TTL on every key of a client', async () => {
    const place = await open()
    const algorithms = ['sliding_window', 'token_bucket', 'gcra', 'sliding_window_counter', 'fixed_window'] as const
    const [first, second] = (await fleet({ redis: place.redis }, 2, {
      policies: algorithms.map(algorithm => ({
        id: algorithm,
        match: `/${algorithm}`,
        algorithm,
        limits: [
          { limit: 3, window: '1m' },
          { limit: 10, window: '1h' },
        ],
      })),
      penalty: { threshold: 2, block: ['1m', '1h'] },
    })) as [Opened, Opened]
    const clients = Array.from({ length: 60 }, (_, i) => `c${i}`)
    const outcomes = await Promise.all(
      clients.flatMap(client => algorithms.map(algorithm => first.ask(client, `/${algorithm}`))),
    )
    expect(new Set(outcomes.map(({ outcome }) => outcome))).toEqual(new Set(['allowed']))
    const villains = clients.slice(0, 12)
    for (let i = 0; i < 5; i++) await Promise.all(villains.map(villain => second.ask(villain, '/gcra')))
    // One violation, which is not a block yet.
    for (let i = 0; i < 3; i++) await first.ask('c50', '/gcra')
    await until(
      'the list of blocks',
      async () => (await first.bouncer.control.blocks()).blocks.length === villains.length,
    )
    const listed = (await first.bouncer.control.blocks()).blocks.map(({ client }) => client)
    expect(listed.sort()).toEqual([...villains].sort())
    await first.bouncer.control.block({ client: 'by-hand', for: '1h' }, ann)
    expect((await second.ask('by-hand', '/gcra')).outcome).toBe('blocked')
    // What the index names and is blocked no more is no end of the list.
    const index = 'api_bouncer:{control}:blocks'
    await place.look.zadd(index, Date.now() + 20_000, 'gone-1', Date.now() + 20_001, 'gone-2')
    const page = await first.bouncer.control.blocks({ limit: 1 })
    expect(page).toMatchObject({ blocks: [{}], total: villains.length + 1, next: expect.any(String) })
    await until('the index mended', async () => (await place.look.zscore(index, 'gone-2')) === null)

    expect((await first.ask('c3', '/gcra')).outcome).toBe('blocked')
    const lifted = await second.bouncer.control.unblock('c3', { grace: '1m' }, ann)
    expect(lifted).toMatchObject({ wasBlocked: true, block: { by: 'auto' } })
    expect(lifted.counters.sort()).toEqual([...algorithms].sort())
    const took = await seenBy(
      [first, second],
      'unblocked',
      async ({ ask }) => (await ask('c3', '/gcra')).outcome === 'allowed',
    )
    expect(took).toBeLessThan(1100)
    expect((await first.bouncer.control.blocks()).blocks.map(({ client }) => client)).not.toContain('c3')

    await until('the last refusals written', async () => (await place.look.exists('api_bouncer:refusals:{c0}')) === 1)
    const keys = (await Promise.all(place.servers().map(server => server.keys('api_bouncer:*')))).flat()
    const ofClients = keys.filter(key => !key.includes('{control}'))
    expect(ofClients.length).toBeGreaterThan(500)
    const kinds = new Set(ofClients.map(key => key.split(':')[1]))
    expect([...kinds].sort()).toEqual([...algorithms, 'block', 'client', 'refusals', 'violations'].sort())
    for (const key of ofClients) expect(await place.look.pttl(key), key).toBeGreaterThan(0)
  })
})

async function denied(bouncer: Opened['bouncer']): Promise<string> {
  const peer = { headers: {}, socket: { remoteAddress: '198.51.100.1' } } as never
  return (await bouncer.check({ peer, method: 'GET', path: '/' })).outcome
}

function prefixOf(bouncer: Opened['bouncer']): number {
  const peer = { headers: {}, socket: { remoteAddress: '2001:db8:1:2:3::4' } } as never
  return Number(bouncer.identify(peer).client.split('/')[1])
}

describe('the log of events', () => {
  test('what the cap has dropped is told as a gap', async () => {
    const place = await standalone()
    const [first] = (await fleet(place, 1)) as [Opened]
    const events: BouncerEvent[] = []
    first.bouncer.events.subscribe(event => events.push(event))
    await first.bouncer.control.block({ client: 'a', for: '1h' }, ann)
    await until('the first', () => events.length > 0)
    const seen = events.at(-1) as BouncerEvent
    // Three events go by unheard, and two of them are dropped: written as another instance writes them, but untold.
    const log = 'api_bouncer:{control}:log'
    let prev = seen.id
    for (const client of ['b', 'c', 'd']) {
      const event = { ...seen, client, id: undefined, prev: undefined, at: undefined, instance: undefined }
      const fields = ['event', JSON.stringify(event), 'prev', prev, 'instance', 'i9']
      prev = (await place.look.xadd(log, '*', ...fields)) as string
    }
    await place.look.xtrim(log, 'MAXLEN', 1)
    await until('the gap and what is left', () =>
      events.some(event => event.type === 'blocked' && event.client === 'd'),
    )
    const [gap, last] = events.slice(-2) as [BouncerEvent, BouncerEvent]
    expect(gap).toMatchObject({ type: 'gap', after: seen.id, prev: seen.id, id: last.prev })
    expect(await first.bouncer.events.after(seen.id, 10)).toMatchObject({ gap: true, events: [{ client: 'd' }] })
    expect(await first.bouncer.events.after(last.prev, 10)).toMatchObject({ gap: false })
  })

  test('an event of a newer version is passed over without a gap', async () => {
    const place = await standalone()
    const [first] = (await fleet(place, 1)) as [Opened]
    const events: BouncerEvent[] = []
    first.bouncer.events.subscribe(event => events.push(event))
    await first.bouncer.control.block({ client: 'a', for: '1h' }, ann)
    await until('the first', () => events.length > 0)
    const { id: prev } = events.at(-1) as BouncerEvent
    const fields = ['event', '{"type":"of-the-future"}', 'prev', prev, 'instance', 'i9']
    await place.look.xadd('api_bouncer:{control}:log', '*', ...fields)
    await first.bouncer.control.block({ client: 'b', for: '1h' }, ann)
    await until('the next', () => events.at(-1)?.type === 'blocked' && events.length > 1)
    expect(events.map(({ type }) => type)).not.toContain('gap')
  })

  test('after an empty restart the new log begins with a gap', async () => {
    const server = ending(await RedisServer.start(), one => one.stop())
    const [first] = (await fleet({ redis: { url: server.url, deadline } }, 1)) as [Opened]
    const events: BouncerEvent[] = []
    first.bouncer.events.subscribe(event => events.push(event))
    await first.bouncer.control.block({ client: 'a', for: '1h' }, ann)
    await until('the first', () => events.length > 0)
    await server.kill()
    await until('degraded', () => first.bouncer.health().state === 'degraded')
    await server.start()
    await until('both changes of state', () => events.filter(({ type }) => type === 'store-state').length >= 2)
    expect(events.map(({ type }) => type).slice(-3)).toEqual(['gap', 'store-state', 'store-state'])
  })
})

describe('the control state', () => {
  test('two instances with different built-ins: the first seeds, the second adds what is missing', async () => {
    const place = await standalone()
    const [first] = (await fleet(place, 1)) as [Opened]
    const other = openBouncer({
      redis: place.redis,
      instance: 'other',
      policies: [limited(5), { id: 'extra', match: '/extra', limits: [{ limit: 2, window: '1h' }] }],
      deny: ['10.0.0.0/8'],
    })
    await until('the other', () => other.bouncer.health().state === 'ok')
    await seenBy([first, other], 'both', async ({ peek }) => (await peek('a', '/extra')).limit === 2)
    for (const { peek, bouncer } of [first, other]) {
      expect((await peek('a')).limit).toBe(100)
      expect((await bouncer.control.state()).lists).toEqual([])
    }
    // A deletion stays one, whoever starts.
    await first.bouncer.control.deletePolicy('extra', undefined, ann)
    const third = openBouncer({
      redis: place.redis,
      instance: 'third',
      policies: [limited(5), { id: 'extra', match: '/extra', limits: [{ limit: 2, window: '1h' }] }],
    })
    await seenBy(
      [first, other, third],
      'the deletion',
      async ({ bouncer, peek }) => bouncer.health().state === 'ok' && (await peek('a', '/extra')).limit === 100,
    )
  })

  test('what a newer version wrote is left out with a warning, kept as it is, and put back after a loss', async () => {
    const place = await standalone()
    const [first] = (await fleet(place, 1)) as [Opened]
    const policies = 'api_bouncer:{control}:policies'
    const future = JSON.stringify({ policy: { id: 'future', warp: 9 }, version: 4, by: 'tomorrow' })
    await place.look.hset(policies, 'future', future, 'broken', 'not json')
    await first.bouncer.control.putPolicy(limited(9), undefined, ann)
    expect((await first.peek('a')).limit).toBe(9)
    expect(first.lines.filter(line => line.includes('cannot read')).length).toBeGreaterThanOrEqual(2)
    const { tombstones, policies: readable } = await first.bouncer.control.state()
    expect(readable.map(({ policy }) => policy.id)).toEqual(['default'])
    expect(tombstones.future).toBe(4)
    const [second] = (await fleet(place, 1, { instance: 'second' })) as [Opened]
    expect((await second.peek('a')).limit).toBe(9)
    await place.look.flushall()
    await until('put back', async () => (await place.look.hlen(policies)) === 3)
    expect(await place.look.hgetall(policies)).toMatchObject({ future, broken: 'not json' })
  })

  test('after a flush the instance that knows most wins, a newcomer that was first only adds', async () => {
    const place = await standalone()
    const [first] = (await fleet(place, 1)) as [Opened]
    const { control } = first.bouncer
    await control.putPolicy(limited(33), undefined, ann)
    await control.putSettings({ ipv6Prefix: 48 }, ann)
    await control.putListEntry('deny', '10.1.0.0/16', {}, ann)
    // As if a newcomer had seeded the empty Redis a moment before.
    await place.look.flushall()
    const newcomer = openBouncer({
      redis: place.redis,
      instance: 'newcomer',
      policies: [limited(5)],
      deny: ['10.9.0.0/16'],
    })
    await until('the newcomer', () => newcomer.bouncer.health().state === 'ok')
    await seenBy(
      [first, newcomer],
      'one state',
      async ({ peek, bouncer }) => (await peek('a')).limit === 33 && prefixOf(bouncer) === 48,
    )
    await until('one list', async () => {
      const { lists } = await newcomer.bouncer.control.state()
      return lists.length === 1 && lists[0]?.cidr === '10.1.0.0/16'
    })
    await until('one epoch', () => first.bouncer.epoch === newcomer.bouncer.epoch)
  })
})

test('a Cluster that has lost a node: its clients are without Redis, the others are not, and it comes back', async () => {
  const { nodes, endpoints } = ending(await startCluster(3, '--cluster-require-full-coverage', 'no'), one => one.stop())
  const [{ bouncer, ask, states }] = (await fleet({ redis: { cluster: endpoints, ...AS_LIMITER, deadline } }, 1, {
    policies: [limited(100_000)],
  })) as [Opened]
  const clients = Array.from({ length: 60 }, (_, i) => `c${i}`)
  const outcomes = async () => (await Promise.all(clients.map(client => ask(client)))).map(({ outcome }) => outcome)
  await until('all counting', async () => (await outcomes()).every(outcome => outcome === 'allowed'))
  await until('the first line', () => states().length === 1)
  await nodes[2]?.kill()
  await until('degraded', () => bouncer.health().state === 'degraded')
  const share: number[] = []
  const until5s = performance.now() + 5000
  await until('five seconds', async () => {
    const decided = await outcomes()
    share.push(decided.filter(outcome => outcome === 'allowed').length)
    expect(bouncer.health().state).toBe('degraded')
    return performance.now() > until5s
  })
  const { detail } = bouncer.health()
  expect(detail).toContain(String(nodes[2]?.port))
  const settled = share.slice(10)
  console.log(
    `a Cluster without a node of three: ${Math.min(...settled)} to ${Math.max(...settled)} of 60 clients counted; ${detail}`,
  )
  expect(Math.min(...settled)).toBeGreaterThan(20)
  expect(Math.max(...settled)).toBeLessThan(60)
  await nodes[2]?.start()
  const started = performance.now()
  await until('all counting again', async () => (await outcomes()).every(outcome => outcome === 'allowed'))
  console.log(`all counted again ${Math.round(performance.now() - started)} ms after it was back`)
  await until('all lines', () => states().length >= 3)
  expect(states().map(line => line.slice(0, 8))).toEqual(['Redis Cl', 'degraded', 'Redis Cl'])
})
