import { afterAll, describe, expect, it, test } from 'vitest'
import { type StatsFrame, settingsSchema } from '../contracts/index.ts'
import type { Backend } from '../stores/backend.ts'
import { memoryBackend } from '../stores/memory/memory-backend.ts'
import { connectTo, endAll, ending } from '../stores/redis/fleet.fixture.ts'
import { redisBackend } from '../stores/redis/redis-backend.ts'
import { AS_LIMITER, RedisServer, startCluster, until } from '../stores/redis/redis-server.fixture.ts'
import { parseRedis, type RedisOptions, redisSchema } from '../stores/redis/settings.ts'
import { CLIENT_BUCKETS, MemoryHistory, secondOf } from './history.ts'

afterAll(endAll)

const seed = { epoch: 0, policies: [], tombstones: {}, settings: settingsSchema.parse({}), lists: [] }
const quiet = { info() {}, warn() {}, error() {} }

const latency = (place: number, count: number) => Array.from({ length: 16 }, (_, i) => (i === place ? count : 0))

const frameOf = (instance: string, at: number, more: Partial<StatsFrame> = {}): StatsFrame => ({
  v: 1,
  at,
  instance,
  version: '0',
  epoch: 0,
  spanMs: 1000,
  uptimeMs: 0,
  policies: { default: { allowed: 3, limited: 1 } },
  latency: latency(2, 4),
  top: [{ client: '192.0.2.1', count: 4, outcomes: { allowed: 3, limited: 1 } }],
  blocks: 1,
  overflow: 0,
  store: { kind: 'test', state: 'ok' },
  ...more,
})

const openRedis = (server: RedisServer, instance: string) => openOn({ url: server.url }, instance)

const openOn = async (redis: RedisOptions, instance: string): Promise<Backend> => {
  const settings = parseRedis(redisSchema.parse(redis))
  const options = { seed, instance, logger: quiet, maxClients: 100, clock: undefined }
  const backend = ending(redisBackend(settings, options), one => one.close())
  await until('Redis', () => backend.store.health().state === 'ok')
  return backend
}

const total = async (backend: Backend, range: '5m' | '1h' | '24h') => {
  const sum = { allowed: 0, limited: 0, latency: 0, blocks: 0, instances: 0 }
  for (const { policies, latency, blocks, instances } of await backend.history.stats(range)) {
    sum.allowed += policies.default?.allowed ?? 0
    sum.limited += policies.default?.limited ?? 0
    sum.latency += latency[2] ?? 0
    sum.blocks += blocks
    sum.instances = Math.max(sum.instances, instances)
  }
  return sum
}

describe('the second that a frame is about', () => {
  it.each([
    ['the first', 10_500, 1000, undefined, 10_000],
    ['told right after a full second', 11_001, 1000, undefined, 10_000],
    ['late by a jitter over the edge', 12_510, 1000, 10_000, 11_000],
    ['early by a jitter over the edge', 11_490, 1000, 10_000, 11_000],
    ['at once after another one', 10_600, 1000, 12_000, 12_000],
    ['after a pause', 20_500, 1000, 10_000, 20_000],
    ['over a long span: its last second', 20_500, 9000, undefined, 20_000],
  ])('%s', (_, at, spanMs, previous, second) => {
    expect(secondOf(at, spanMs, previous)).toBe(second)
  })
})

describe('the embedded history', () => {
  const now = { ms: 1_764_000_000_000 }
  const history = new MemoryHistory(() => now.ms)

  it('has a bucket a step in each range, and keeps no more than the range', () => {
    for (let i = 0; i < 4000; i++) {
      now.ms += 1000
      history.add(frameOf('a', now.ms))
    }
    expect(history.stats('5m').length).toBeLessThanOrEqual(302)
    const hour = history.stats('1h')
    expect(hour.length).toBeLessThanOrEqual(362)
    expect(hour.at(-2)).toMatchObject({ policies: { default: { allowed: 30, limited: 10 } }, blocks: 10, instances: 1 })
    const day = history.stats('24h')
    expect(day.reduce((sum, { policies }) => sum + (policies.default?.allowed ?? 0), 0)).toBe(12_000)
    for (const buckets of [hour, day]) {
      expect(buckets.map(({ at }) => at)).toEqual(buckets.map(({ at }) => at).sort((a, b) => a - b))
    }
  })

  it('counts a policy of any name, and touches nothing that every object has', () => {
    const before = Object.getOwnPropertyNames(Object)
    const odd = new MemoryHistory(() => now.ms)
    odd.add(frameOf('a', now.ms, { policies: { constructor: { allowed: 2 }, toString: { limited: 1 } } as never }))
    odd.add(frameOf('a', now.ms, { policies: { constructor: { allowed: 3 } } as never }))
    const counted = odd.stats('5m').map(({ policies }) => ({ ...policies }))
    expect(counted).toEqual([{ constructor: { allowed: 5 }, toString: { limited: 1 } }])
    expect(Object.getOwnPropertyNames(Object)).toEqual(before)
  })

  it('has a client by the minute for an hour, and forgets whom it has not seen for long', () => {
    const minutes = history.client('192.0.2.1')
    expect(minutes.length).toBeLessThanOrEqual(CLIENT_BUCKETS + 1)
    expect(minutes.at(-2)?.outcomes).toEqual({ allowed: 180, limited: 60 })
    for (let i = 0; i < 20; i++) {
      const top = Array.from({ length: 200 }, (_, n) => ({ client: `c${i}-${n}`, count: 1, outcomes: { limited: 1 } }))
      history.add(frameOf('a', now.ms, { top }))
    }
    expect(history.client('192.0.2.1')).toEqual([])
    expect(history.client('c19-0')).toHaveLength(1)
  })
})

describe('the history', () => {
  const opened: Record<string, () => Promise<[Backend, Backend]>> = {
    async 'of one process'() {
      const backend = memoryBackend({ seed, instance: 'a', maxClients: 100, clock: undefined })
      ending(backend, one => one.close())
      return [backend, backend]
    },
    async 'of two instances on Redis'() {
      const server = ending(await RedisServer.start(), one => one.stop())
      return [await openRedis(server, 'a'), await openRedis(server, 'b')]
    },
    async 'of two instances on a Cluster'() {
      const { endpoints } = ending(await startCluster(), one => one.stop())
      return [
        await openOn({ cluster: endpoints, ...AS_LIMITER }, 'a'),
        await openOn({ cluster: endpoints, ...AS_LIMITER }, 'b'),
      ]
    },
  }
  test.each(Object.entries(opened))('%s adds up what each has told, in every range', async (_, open) => {
    const [a, b] = await open()
    // In every slot of a Cluster.
    const others = Array.from({ length: 50 }, (_, i) => ({
      client: `192.0.2.${i + 2}`,
      count: 1,
      outcomes: { limited: 1 },
    }))
    a.publish(frameOf('a', a.store.now(), { policies: {}, latency: [], blocks: 0, top: others }))
    for (let i = 0; i < 3; i++) {
      a.publish(frameOf('a', a.store.now()))
      b.publish(frameOf('b', b.store.now()))
    }
    for (const range of ['5m', '1h', '24h'] as const) {
      await until('all frames', async () => (await total(a, range)).allowed === 18)
      expect(await total(b, range)).toMatchObject({ limited: 6, latency: 24, blocks: 6, instances: a === b ? 1 : 2 })
    }
    await a.close()
    const { outcomes } = (await b.history.client('192.0.2.1')).at(-1) ?? {}
    expect(outcomes).toEqual(a === b ? { allowed: 18, limited: 6 } : { allowed: 9, limited: 3 })
    expect(await b.history.client('192.0.2.250')).toEqual([])
    for (const { client } of others) expect(await b.history.client(client), client).toHaveLength(1)
  })

  test('on Redis has what happened while Redis was away, in its own time, once', async () => {
    const server = ending(await RedisServer.start(), one => one.stop())
    const a = await openRedis(server, 'a')
    a.publish(frameOf('a', a.store.now()))
    await until('the first frame', async () => (await total(a, '5m')).allowed === 3)
    await server.kill()
    await until('degraded', () => a.store.health().state === 'degraded')
    const since = a.store.now()
    const outage = { policies: { default: { 'degraded-allowed': 5 } } }
    a.publish(frameOf('a', a.store.now(), outage))
    a.publish(frameOf('a', a.store.now() + 1000, outage))
    await server.start()
    await until('Redis is back', () => a.store.health().state === 'ok')
    await until('what was missed', async () => {
      a.publish(frameOf('a', a.store.now(), { policies: {} }))
      return (await a.history.stats('24h')).some(({ policies }) => policies.default?.['degraded-allowed'] === 10)
    })
    const told = (await a.history.stats('5m')).filter(({ policies }) => policies.default?.['degraded-allowed'])
    for (const { at } of told) expect(Math.abs(at - since)).toBeLessThan(4000)
  })

  test('on Redis ends by itself, says in words what it is, and stays small', async () => {
    const server = ending(await RedisServer.start(), one => one.stop())
    const redis = connectTo(server)
    const a = await openRedis(server, 'a')
    const top = Array.from({ length: 200 }, (_, i) => ({ client: `192.0.2.${i}`, count: 1, outcomes: { limited: 1 } }))
    a.publish(frameOf('a', a.store.now(), { top }))
    // A client's earlier minutes: those that are past leave with the next one.
    const minute = Math.floor(Date.now() / 60_000)
    for (let i = 1; i <= 90; i++) await redis.hset('api_bouncer:history:{192.0.2.7}', String(minute - i), 'allowed=1')
    await a.close()
    const keys = await redis.keys('*stats:*')
    expect(keys.map(key => key.split(':')[3]).sort()).toEqual(['10s', '1s', '300s'])
    const ttls: Record<string, number> = {}
    for (const key of keys) ttls[key.split(':')[3] as string] = await redis.pttl(key)
    expect(ttls['1s']).toBeGreaterThan(295_000)
    expect(ttls['1s']).toBeLessThanOrEqual(302_000)
    expect(ttls['300s']).toBeGreaterThan(86_400_000)
    expect(await redis.keys('*:history:{*')).toHaveLength(200)
    expect(await redis.hlen('api_bouncer:history:{192.0.2.7}')).toBe(CLIENT_BUCKETS + 1)
    expect(await redis.pttl('api_bouncer:history:{192.0.2.7}')).toBeGreaterThan(3_600_000)
    const b = await openRedis(server, 'b')
    expect((await b.keys.get('api_bouncer:history:{192.0.2.7}'))?.words).toMatch(
      /^requests by the minute of 192\.0\.2\.7: 61 minutes/,
    )
    const second = keys.find(key => key.includes(':10s:')) as string
    expect((await b.keys.get(second))?.words).toMatch(/^all requests in 10s from \d{4}-.*: \d+ fields/)
  })
})
