import { readFileSync } from 'node:fs'
import type { Redis } from 'ioredis'
import { afterEach, expect, test, vi } from 'vitest'
import type { BouncerEvent } from '../../contracts/index.ts'
import { connectTo, endAll, ending, type Opened, openBouncer } from './fleet.fixture.ts'
import { RedisServer, until } from './redis-server.fixture.ts'

afterEach(endAll)
vi.setConfig({ testTimeout: 60_000 })

/** What the first version that shared through Redis wrote there, word for word but for names and numbers. */
const earlier = JSON.parse(readFileSync(new URL('earlier.fixture.json', import.meta.url), 'utf8'))

const ann = { by: 'ann' }
const key = (name: string) => `api_bouncer:{control}:${name}`
const limited = (limit: number) => ({ id: 'default', match: '*', limits: [{ limit, window: '1h' }] })

async function place() {
  const server = ending(await RedisServer.start(), one => one.stop())
  return { redis: { url: server.url, deadline: '1s' } as const, look: connectTo(server) }
}

const open = async (redis: { url: string; deadline: '1s' }, instance: string): Promise<Opened> => {
  const opened = openBouncer({ redis, instance, policies: [limited(100)] })
  await until('Redis', () => opened.bouncer.health().state === 'ok')
  await until('what it holds', async () => opened.bouncer.epoch === (await opened.bouncer.control.state()).epoch)
  return opened
}

/** What a process of another version tells of itself, once a second; answers how to stop. */
function beat(look: Redis, frame: Readonly<Record<string, unknown>>): void {
  const tell = async () => {
    const epoch = Number(await look.get(key('epoch')))
    const text = JSON.stringify({ ...frame, epoch })
    const [seconds] = await look.time()
    await look.zadd(key('instances'), Number(seconds) * 1000 + 999, String(frame.instance))
    await look.hset(key('frames'), String(frame.instance), text)
    await look.publish('api_bouncer:0:stats', text)
  }
  ending(
    setInterval(() => tell().catch(() => {}), 200),
    clearInterval,
  )
}

/** As another version changes the control state: a record, then the epoch, and word of it. */
async function commit(look: Redis, write: (look: Redis) => Promise<unknown>): Promise<void> {
  await write(look)
  await look.publish('api_bouncer:0:control', String(await look.incr(key('epoch'))))
}

const allowed = async ({ ask }: Opened) => (await ask('c1')).outcome === 'allowed'
const prefixOf = ({ bouncer }: Opened) =>
  bouncer.identify({ headers: {}, socket: { remoteAddress: '2001:db8:1:2:3::4' } } as never).client
const outcomeAt = async ({ bouncer }: Opened, address: string) => {
  const peer = { headers: {}, socket: { remoteAddress: address } } as never
  return (await bouncer.check({ peer, method: 'GET', path: '/' })).outcome
}

test('newer and older instances beside us: all are in the view, what is known holds, what is not stays as it is', async () => {
  const { redis, look } = await place()
  const [first, second] = [await open(redis, 'i1'), await open(redis, 'i2')]
  const told = [first, second].map(({ bouncer }) => {
    const events: BouncerEvent[] = []
    bouncer.events.subscribe(event => events.push(event))
    return events
  })

  // More fields and outcomes, a state of the store that nobody here has, and one field that is another thing altogether.
  beat(look, {
    ...earlier.frame,
    v: 2,
    instance: 'newer',
    version: '9.0.0',
    policies: { default: { allowed: 5, limited: 1, challenged: 3 } },
    top: { by: 'region' },
    store: { kind: 'redis', state: 'recovering' },
    regions: ['eu'],
  })
  beat(look, earlier.frame)
  const versions = async () =>
    (await first.bouncer.control.status()).instances.map(({ instance, version }) => `${instance} ${version}`).sort()
  const own = first.bouncer.control.status().then(({ version }) => version)
  await until('all four', async () => (await versions()).length === 4)
  expect(await versions()).toEqual(['earlier 0.0.9', `i1 ${await own}`, `i2 ${await own}`, 'newer 9.0.0'])
  for (const { instance, requestsPerSecond } of (await first.bouncer.control.status()).instances) {
    if (/earlier|newer/.test(instance)) expect([instance, requestsPerSecond]).toEqual([instance, 6])
  }
  expect(await allowed(first)).toBe(true)

  // An event of a type to come, in the log and said; nobody misses those around it.
  await first.bouncer.control.block({ client: 'c2', for: '1h' }, ann)
  await until('the first', () => told.every(events => events.some(({ type }) => type === 'blocked')))
  const event = { type: 'quota-lent', to: 'eu' }
  const prev = (await look.xrevrange(key('log'), '+', '-', 'COUNT', 1))[0]?.[0] as string
  const id = await look.xadd(key('log'), '*', 'event', JSON.stringify(event), 'prev', prev, 'instance', 'newer')
  await look.publish('api_bouncer:0:events', JSON.stringify({ id, prev, at: 1, instance: 'newer', ...event }))
  await second.bouncer.control.block({ client: 'c3', for: '1h' }, ann)
  for (const events of told) {
    await until('the next', () => events.some(one => one.type === 'blocked' && one.client === 'c3'))
    expect(events.map(({ type }) => type)).not.toContain('gap')
  }

  // Known records with a field more hold, and keep it when they are written here.
  const stored = async (hash: string, field: string) => JSON.parse((await look.hget(key(hash), field)) ?? 'null')
  const labelled = { ...(await stored('policies', 'default')), labels: ['gold'], version: 2 }
  labelled.policy.limits[0].limit = 9
  const settings = { ...JSON.parse((await look.get(key('settings'))) ?? ''), ipv6Prefix: 48, regions: ['eu'] }
  const entry = { list: 'deny', cidr: '203.0.113.0/24', addedAt: 1, addedBy: 'eve', ticket: 812 }
  const field = 'deny 203.0.113.0/24'
  await commit(look, to => to.hset(key('policies'), 'default', JSON.stringify(labelled)))
  await commit(look, to => to.set(key('settings'), JSON.stringify(settings)))
  await commit(look, to => to.hset(key('lists'), field, JSON.stringify(entry)))
  for (const one of [first, second]) {
    await until('the policy', async () => (await one.peek('c4')).limit === 9)
    await until('the settings', () => prefixOf(one) === '2001:db8:1::/48')
    await until('the list', async () => (await outcomeAt(one, '203.0.113.5')) === 'blocked')
  }
  await second.bouncer.control.putPolicy(limited(8), 2, ann)
  await second.bouncer.control.putSettings({ ipv6Prefix: 56 }, ann)
  await second.bouncer.control.putListEntry('deny', '203.0.113.0/24', { comment: 'botnet' }, ann)
  expect(await stored('policies', 'default')).toMatchObject({ version: 3, updatedBy: 'ann', labels: ['gold'] })
  expect(JSON.parse((await look.get(key('settings'))) ?? '')).toMatchObject({ ipv6Prefix: 56, regions: ['eu'] })
  expect(await stored('lists', field)).toMatchObject({ comment: 'botnet', addedBy: 'ann', ticket: 812 })

  // A policy that cannot be read here is left out, and nobody here writes over it.
  const policy = { id: 'future', match: ['*'], limits: [{ limit: 1, window: '1h' }], algorithm: 'leaky_bucket' }
  const future = JSON.stringify({ policy, version: 4, updatedAt: 1, updatedBy: 'eve' })
  await commit(look, to => to.hset(key('policies'), 'future', future))
  await until('its epoch', async () => second.bouncer.epoch === Number(await look.get(key('epoch'))))
  expect((await second.peek('c4')).policy).toBe('default')
  const { control } = second.bouncer
  for (const change of [
    control.putPolicy({ ...limited(5), id: 'future', match: '/x' }, undefined, ann),
    control.confirmPolicy('future', ann),
    control.deletePolicy('future', undefined, ann),
  ]) {
    await expect(change).rejects.toMatchObject({
      code: 'ERR_CONFLICT',
      message: expect.stringMatching(/policy "future" was written by another version, and this one cannot read it/),
    })
  }
  expect(await look.hget(key('policies'), 'future')).toBe(future)

  expect(await allowed(second)).toBe(true)
  const { epoch } = await first.bouncer.control.state()
  expect(await first.bouncer.control.seenBy(epoch)).toEqual({ seen: 4, of: 4 })
})

test('what an earlier version wrote holds', async () => {
  const { redis, look } = await place()
  const texts = (records: object) => Object.entries(records).flatMap(([id, one]) => [id, JSON.stringify(one)])
  await look.set(key('epoch'), 5)
  await look.hset(key('policies'), ...texts(earlier.policies))
  await look.set(key('settings'), JSON.stringify(earlier.settings))
  await look.hset(key('lists'), ...texts(earlier.lists))
  await look.set('api_bouncer:block:{c9}', JSON.stringify(earlier.block), 'EX', 3600)
  await look.zadd(key('blocks'), earlier.block.until, 'c9')
  const event = JSON.stringify(earlier.event)
  await look.xadd(key('log'), '*', 'event', event, 'prev', '0-0', 'instance', 'earlier')
  await look.xadd(key('audit'), '*', 'entry', JSON.stringify(earlier.audit))

  const one = await open(redis, 'i1')
  const { control } = one.bouncer
  expect(await one.peek('c1')).toMatchObject({ policy: 'default', limit: 7 })
  expect(prefixOf(one)).toBe('2001:db8:1::/48')
  expect(await outcomeAt(one, '203.0.113.5')).toBe('blocked')
  expect((await one.ask('c9')).outcome).toBe('blocked')
  expect((await control.blocks()).blocks).toEqual([earlier.block])
  expect((await control.events({})).events[0]).toMatchObject({ ...earlier.event, instance: 'earlier' })
  expect(await control.audit({})).toMatchObject([earlier.audit])
  expect((await control.state()).tombstones).toEqual({ gone: 2 })
  expect(one.lines.filter(line => line.includes('cannot read'))).toEqual([])
  expect((await control.putPolicy(limited(8), 3, ann)).version).toBe(4)
})
