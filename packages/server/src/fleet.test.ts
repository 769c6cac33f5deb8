import { freePort, RedisServer } from '@api-bouncer/limiter/testing/redis-server'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { endAll, type Instance, instance, type Json, run, runMain, TOKEN, temporaryFolder } from './testing.fixture.ts'

const PASSWORD = 'hunter2-of-the-tests'

let redis: RedisServer
let url: string
beforeAll(async () => {
  redis = await RedisServer.start('--requirepass', PASSWORD)
  url = `redis://:${PASSWORD}@127.0.0.1:${redis.port}`
})
afterAll(() => redis.stop())
afterEach(endAll)

/** Each test has a prefix of its own, so that none sees another's counters. */
let tests = 0
// A busy machine may pause a process for longer than the usual 50 ms; that is not what is tested here.
const settings = () => ({ REDIS_URL: url, KEY_PREFIX: `t${++tests}`, DECISION_DEADLINE: '2s' })

async function two(env: Record<string, string> = {}): Promise<[Instance, Instance]> {
  const shared = { ...settings(), ...env }
  return Promise.all([instance(shared), instance(shared)])
}

const statuses = async (calls: readonly (() => Promise<Response>)[]) => {
  const all: Record<number, number> = {}
  for (const call of calls) {
    const { status } = await call()
    all[status] = (all[status] ?? 0) + 1
  }
  return all
}

const metric = async (one: Instance, name: string) => {
  const { body } = await one.admin('GET', '/metrics')
  const line = String(body)
    .split('\n')
    .find(line => line.startsWith(`${name} `))
  return line === undefined ? undefined : Number(line.slice(name.length + 1))
}

describe('two server processes on one Redis', () => {
  it('share one limit to the unit, one policy, one block', async () => {
    const [a, b] = await two()
    const alternating = Array.from({ length: 101 }, (_, i) => () => (i % 2 ? a : b).as('192.0.2.1', '/api/data'))
    expect(await statuses(alternating)).toEqual({ 200: 100, 429: 1 })

    const limits = [{ limit: 3, window: '1m' }]
    const put = await a.admin('PUT', '/admin/policies/data', { policy: { id: 'data', match: '/api/*', limits } })
    expect(put.status).toBe(200)
    const limitAtB = async () => (await b.as('192.0.2.2', '/api/data')).headers.get('x-ratelimit-limit')
    await expect.poll(limitAtB, { timeout: 1000, interval: 20 }).toBe('3')

    const refused = Array.from({ length: 10 }, () => () => b.as('192.0.2.3', '/api/data'))
    expect(await statuses(refused)).toEqual({ 200: 3, 429: 7 })
    const blocked: Json = await (await a.as('192.0.2.3', '/anything')).json()
    expect(blocked.type).toContain('abnormal-usage-detected')
    expect((await a.admin('POST', '/admin/unblock/192.0.2.3')).body).toMatchObject({ wasBlocked: true })
    const statusAtB = async () => (await b.as('192.0.2.3', '/api/data')).status
    await expect.poll(statusAtB, { timeout: 1000, interval: 20 }).toBe(200)
    const status = (await b.admin('GET', '/admin/status')).body
    const known = { version: expect.stringMatching(/^(Redis|Valkey) \d+\.\d/), memoryBytes: expect.any(Number) }
    expect(status).toMatchObject({ store: { kind: 'redis', detail: `Redis at 127.0.0.1:${redis.port}`, ...known } })
    await expect.poll(async () => (await b.admin('GET', '/admin/status')).body.instances.length).toBe(2)
  })

  it('log what happens once, where it happened', async () => {
    const [a, b] = await two()
    await a.admin('POST', '/admin/blocks', { client: '192.0.2.4' })
    await a.process.printed('blocked 192.0.2.4')
    const heard = async () => (await b.admin('GET', '/admin/events')).body.events.map((event: Json) => event.type)
    await expect.poll(heard).toContain('blocked')
    expect(b.process.output().stdout).not.toContain('blocked 192.0.2.4')
  })

  it('never print the password', async () => {
    const [a, b] = await two({ LOG_LEVEL: 'trace' })
    const wrong = await instance({ ...settings(), REDIS_URL: url.replace('hunter2', 'hunter3'), LOG_LEVEL: 'trace' })
    expect(await (await wrong.get('/health')).json()).toMatchObject({ status: 'degraded' })
    const told = [
      ...[a, b, wrong].map(({ process }) => JSON.stringify(process.output())),
      ...(await Promise.all([a, wrong].flatMap(one => [one.admin('GET', '/admin/status'), one.get('/health')]))).map(
        answer => JSON.stringify(answer),
      ),
    ].join()
    expect(told).toContain(`Redis at 127.0.0.1:${redis.port}`)
    expect(told).toMatch(/WRONGPASS|NOAUTH/)
    expect(told).not.toMatch(/hunter[23]/)
  })
})

describe('a server whose Redis goes away', () => {
  it('serves without it, says degraded, and recovers by itself', { timeout: 60_000 }, async () => {
    const own = await RedisServer.start()
    const env = { REDIS_URL: `redis://127.0.0.1:${own.port}` }
    const both = await Promise.all([instance(env), instance(env)])
    for (const one of both) {
      await one.as('192.0.2.5', '/api/data')
      expect(await metric(one, 'rate_limit_store_up')).toBe(1)
      expect(await metric(one, 'rate_limit_store_latency_seconds')).toBeGreaterThan(0)
    }
    await own.kill()
    for (const one of both) {
      await one.process.printed('degraded: Redis at')
      expect((await one.as('192.0.2.5', '/api/data')).status).toBe(200)
      const health = await one.get('/health')
      expect([health.status, await health.json()]).toEqual([
        200,
        { status: 'degraded', store: 'redis', uptime: expect.any(Number) },
      ])
      expect(await metric(one, 'rate_limit_store_up')).toBe(0)
      expect(await metric(one, 'rate_limit_store_latency_seconds')).toBeUndefined()
      expect(await metric(one, 'rate_limit_hits_total{policy="default",outcome="degraded-allowed"}')).toBe(1)
      const { status, body } = await one.admin('GET', '/admin/status')
      expect([status, body]).toMatchObject([200, { state: 'degraded', store: { kind: 'redis' }, degradedDecisions: 1 }])
    }
    const decisions = (one: (typeof both)[number]) =>
      metric(one, 'rate_limit_hits_total{policy="default",outcome="degraded-allowed"}')
    const decided = (await Promise.all(both.map(decisions))) as [number, number]
    await own.start()
    for (const one of both) {
      await expect.poll(() => metric(one, 'rate_limit_store_up'), { timeout: 10_000 }).toBe(1)
      expect(await (await one.get('/health')).json()).toMatchObject({ status: 'ok' })
      // Both had decided by themselves, and each knows it of both.
      const told = async () => (await one.admin('GET', '/admin/status')).body
      await expect.poll(told, { timeout: 5000 }).toMatchObject({
        degradedDecisions: decided[0] + decided[1],
        instances: expect.arrayContaining(decided.map(degradedTotal => expect.objectContaining({ degradedTotal }))),
      })
      // One line a change of state: the start, the fall, the return.
      const lines = () =>
        one.process
          .output()
          .stdout.split('\n')
          .filter(line => /counting is shared|degraded:/.test(line))
      await expect.poll(lines, { timeout: 3000 }).toHaveLength(3)
    }
    await own.stop()
  })

  it('starts while it is away, and ends quickly', async () => {
    const one = await instance({ REDIS_HOST: '127.0.0.1', REDIS_PORT: String(await freePort()) })
    expect(one.process.output().stderr).toContain('store: degraded (Redis at 127.0.0.1:')
    expect((await one.as('192.0.2.6', '/api/data')).status).toBe(200)
    const since = performance.now()
    one.process.child.kill('SIGTERM')
    expect(await one.process.exited).toEqual({ code: 0, signal: null })
    expect(performance.now() - since).toBeLessThan(2000)
  })

  it('tells at once that it could not read, and since when Redis is silent', async () => {
    const own = await RedisServer.start()
    const one = await instance({ REDIS_URL: `redis://127.0.0.1:${own.port}` })
    const told = async () => (await one.admin('GET', '/admin/status')).body
    expect((await told()).store.state).toBe('ok')
    const frozen = Date.now()
    own.freeze()
    const status = await told()
    expect(status).toMatchObject({ state: 'degraded', store: { detail: expect.stringMatching(/: no answer/) } })
    for (const asked of ['latencyMs', 'version', 'memoryBytes']) expect(status.store).not.toHaveProperty(asked)
    // It last answered when it was last asked, which is twice a second.
    expect(status.store.since).toBeGreaterThan(frozen - 2000)
    expect(status.store.since).toBeLessThan(frozen + 100)
    expect(await (await one.get('/health')).json()).toMatchObject({ status: 'degraded' })
    own.thaw()
    await expect.poll(told, { timeout: 5000 }).toMatchObject({ state: 'ok', store: { latencyMs: expect.any(Number) } })
    expect((await told()).store).not.toHaveProperty('since')
    await own.stop()
  })

  it('ends in time though Redis has frozen', async () => {
    const own = await RedisServer.start()
    const one = await instance({ REDIS_URL: `redis://127.0.0.1:${own.port}` })
    own.freeze()
    expect((await one.as('192.0.2.7', '/api/data')).status).toBe(200)
    const since = performance.now()
    one.process.child.kill('SIGTERM')
    expect(await one.process.exited).toEqual({ code: 0, signal: null })
    expect(performance.now() - since).toBeLessThan(4000)
    await own.stop()
  })
})

describe('WORKERS=2', () => {
  it('share the limit and the port; one control plane adds them up, and replaces one that dies', async () => {
    const one = await instance({ ...settings(), WORKERS: '2', INSTANCE: 'box' })
    expect(one.process.output().stderr).toContain('(2 processes)')
    const calls = Array.from({ length: 101 }, () => () => one.as('192.0.2.8', '/api/data'))
    expect(await statuses(calls)).toEqual({ 200: 100, 429: 1 })
    const hits = (outcome: string) => metric(one, `rate_limit_hits_total{policy="default",outcome="${outcome}"}`)
    expect([await hits('allowed'), await hits('limited')]).toEqual([100, 1])
    expect(await metric(one, 'rate_limit_store_up')).toBe(1)
    const names = async () =>
      (await one.admin('GET', '/admin/status')).body.instances.map((live: Json) => live.instance).sort()
    await expect.poll(names).toEqual(['box', 'box#1', 'box#2'])

    const children = run('pgrep', ['-P', String(one.process.child.pid)], {})
    await children.exited
    // tsx may have a child of its own; the workers say who they are.
    const workers = one.process
      .output()
      .stdout.split('\n')
      .flatMap(line => (line.includes('counting is shared') ? [JSON.parse(line).pid as number] : []))
      .filter(pid => pid !== one.process.child.pid)
    expect(children.output().stdout.split('\n')).toEqual(expect.arrayContaining(workers.map(String)))
    expect(workers).toHaveLength(2)
    // Connections are being handed to it when it dies: Node then tells of its end only by half.
    const knocking = new AbortController()
    const knocks = Array.from({ length: 40 }, async () => {
      while (!knocking.signal.aborted) await one.as('192.0.2.9', '/health').catch(() => {})
    })
    process.kill(workers[0] as number, 'SIGKILL')
    await one.process.printed('ended with SIGKILL; it is replaced')
    knocking.abort()
    await Promise.all(knocks)
    await expect.poll(names, { timeout: 20_000 }).toContain('box#3')
    expect((await one.as('192.0.2.8', '/api/data')).status).toBe(429)
    expect(await hits('allowed')).toBe(100)

    one.process.child.kill('SIGTERM')
    expect(await one.process.exited).toEqual({ code: 0, signal: null })
    for (const pid of workers) expect(() => process.kill(pid, 0)).toThrow('ESRCH')
    expect(one.process.output().stderr).not.toContain('Error')
  })

  it('are two instances to the fleet, and what they see the control plane knows', async () => {
    const own = await RedisServer.start()
    // Loopback is a proxy, and nobody has said so.
    const shared = { REDIS_URL: `redis://127.0.0.1:${own.port}`, INSTANCE: 'box', TRUST_PROXY: 'false' }
    const one = await instance({ ...shared, WORKERS: '2', FAIL_MODE: 'local' })
    const instances = async (): Promise<Json[]> => (await one.admin('GET', '/admin/status')).body.instances
    const all = [{ instance: 'box', decides: false }, { instance: 'box#1' }, { instance: 'box#2' }]
    await expect.poll(async () => (await instances()).length).toBe(3)
    const first = new Map((await instances()).map(({ instance, uptimeMs }) => [instance, uptimeMs]))
    expect((await instances()).toSorted((a, b) => (a.instance < b.instance ? -1 : 1))).toMatchObject(all)
    expect((await instances()).filter(live => 'decides' in live)).toHaveLength(1)

    expect((await one.as('192.0.2.8', '/api/data')).status).toBe(200)
    const doctor = async () => (await one.admin('GET', '/admin/diagnose')).body.diagnoses
    const proxy = { about: 'proxy', verdict: 'problem', says: expect.stringContaining('requests from 127.0.0.1 carry') }
    await expect.poll(doctor, { timeout: 3000 }).toContainEqual(expect.objectContaining(proxy))

    expect((await one.admin('POST', '/admin/unblock/127.0.0.1')).body.seenBy).toEqual({ seen: 2, of: 2 })
    // Each has heard since then of all that live.
    const told = async () =>
      (await instances()).every(({ instance, uptimeMs }) => uptimeMs > first.get(instance) + 1500)
    await expect.poll(told, { timeout: 5000 }).toBe(true)
    await own.kill()
    // The default policy allows 100.
    const share = async () => (await one.get('/api/data')).headers.get('x-ratelimit-limit')
    await expect.poll(share, { timeout: 5000 }).toBe('50')
    const { body } = await one.admin('GET', '/admin/status')
    expect(body).toMatchObject({ state: 'degraded', instances: [{ instance: 'box', decides: false }] })
    expect(body).not.toHaveProperty('policies')
    await own.stop()
  })

  it('stops the start with one line when the port is in use', async () => {
    const other = await instance(settings())
    const env = { ...settings(), WORKERS: '2', PORT: String(other.port), ADMIN_PORT: '0', ADMIN_TOKEN: TOKEN }
    const process = runMain({ ...env, XDG_STATE_HOME: temporaryFolder() })
    expect((await process.exited).code).toBe(1)
    expect(process.output().stderr).toBe(
      `api-bouncer: PORT: port ${other.port} is in use. Stop what listens there, or choose another: PORT=${other.port + 1}\n`,
    )
  })
})
