import { request } from 'node:http'
import type { Socket as NodeSocket } from 'node:net'
import {
  type BouncerEvent,
  type BrowserToLive,
  createBouncer,
  fleetViewOf,
  LIVE_PATH,
  type LiveEvents,
  type LiveFrame,
  type LiveToBrowser,
  liveEventsSchema,
  liveFrameSchema,
} from '@api-bouncer/limiter'
import { RedisServer, until } from '@api-bouncer/limiter/testing/redis-server'
import { io, type Socket } from 'socket.io-client'
import { afterEach, describe, expect, it } from 'vitest'
import { IDLE_MS, Sessions } from './control/session.ts'
import { EVENTS_A_SECOND, MAX_SOCKETS } from './live.ts'
import { Browser, endAll, instance, type TestServer, TOKEN, testServer, VIEWER_TOKEN } from './testing.fixture.ts'

type LiveClient = Socket<LiveToBrowser, BrowserToLive>

const ends: (() => unknown)[] = []
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end()
  endAll()
})

async function open(env: Record<string, string> = {}, sessions?: Sessions): Promise<TestServer> {
  const server = await testServer({ ADMIN_READONLY_TOKEN: VIEWER_TOKEN, ...env }, sessions)
  ends.push(() => server.close())
  return server
}

const bearer = (token = TOKEN) => ({ authorization: `Bearer ${token}` })

/** What one browser sees. */
class Watcher {
  readonly socket: LiveClient
  readonly frames: LiveFrame[] = []
  readonly batches: LiveEvents[] = []
  signedOut: string | undefined

  constructor(url: string, headers: Record<string, string>) {
    this.socket = io(url, {
      path: LIVE_PATH,
      transports: ['websocket'],
      extraHeaders: headers,
      forceNew: true,
      reconnectionDelay: 50,
    })
    this.socket.on('frame', frame => this.frames.push(frame))
    this.socket.on('events', batch => this.batches.push(batch))
    this.socket.on('signedOut', why => {
      this.signedOut = why
    })
    ends.push(() => this.socket.disconnect())
  }

  get events(): BouncerEvent[] {
    return this.batches.flatMap(({ events }) => events)
  }

  /** How it went: connected, or refused. */
  outcome(): Promise<'connected' | 'refused'> {
    return new Promise(resolve => {
      this.socket.once('connect', () => resolve('connected'))
      this.socket.once('connect_error', () => resolve('refused'))
    })
  }
}

async function watch(server: Pick<TestServer, 'controlPlane'>, ...topics: ('frames' | 'events')[]): Promise<Watcher> {
  const watcher = new Watcher(server.controlPlane, bearer())
  expect(await watcher.outcome()).toBe('connected')
  for (const topic of topics) watcher.socket.emit('subscribe', topic)
  return watcher
}

const allowedIn = (frames: readonly LiveFrame[]) =>
  frames.reduce((sum, { policies }) => sum + (policies.default?.allowed ?? 0), 0)

describe('who may look on', () => {
  it.each([
    ['nobody in particular', {}, 'refused'],
    ['a wrong token', bearer('wrong'), 'refused'],
    ['the token', bearer(), 'connected'],
    ['the read-only token', bearer(VIEWER_TOKEN), 'connected'],
    ['the token from a page of another site', { ...bearer(), origin: 'https://evil.example' }, 'refused'],
    ['the token, for another host', { ...bearer(), host: 'evil.example' }, 'refused'],
    ['a session', { session: 'operator' }, 'connected'],
    ["a viewer's session", { session: 'viewer' }, 'connected'],
    ['a session from a page of another site', { session: 'operator', origin: 'https://evil.example' }, 'refused'],
    ['a session from another port', { session: 'operator', origin: 'http://127.0.0.1:3000' }, 'refused'],
    ['a session from a page without an origin', { session: 'operator', origin: 'null' }, 'refused'],
    ['a session from no page at all', { session: 'operator', origin: '' }, 'refused'],
    [
      'a session on another host (DNS rebinding)',
      { session: 'operator', host: 'evil.example', origin: 'http://evil.example' },
      'refused',
    ],
    ['a cookie that is none', { cookie: 'api_bouncer_1=x', origin: 'own' }, 'refused'],
  ])('%s', async (_, { session, origin, ...headers }: Record<string, string>, outcome) => {
    const server = await open()
    const browser = new Browser(server.controlPlane)
    if (session) await browser.signIn({ token: session === 'viewer' ? VIEWER_TOKEN : TOKEN })
    const from = session || origin === 'own' ? (origin ?? server.controlPlane) : origin
    const watcher = new Watcher(server.controlPlane, {
      ...(browser.cookie && { cookie: browser.cookie }),
      ...(from && { origin: from === 'own' ? server.controlPlane : from }),
      ...headers,
    })
    expect(await watcher.outcome()).toBe(outcome)
  })

  it('an operator, though as many viewers look on as may', async () => {
    const server = await open()
    const { host } = new URL(server.controlPlane)
    // Connections that say nothing more: what a viewer's token can hold open most cheaply.
    const upgrade = (token: string) =>
      new Promise<number>((resolve, reject) => {
        const req = request(`${server.controlPlane}${LIVE_PATH}/?EIO=4&transport=websocket`, {
          agent: false,
          headers: {
            ...bearer(token),
            host,
            connection: 'Upgrade',
            upgrade: 'websocket',
            'sec-websocket-version': '13',
            'sec-websocket-key': 'AAAAAAAAAAAAAAAAAAAAAA==',
          },
        })
        req.on('upgrade', (_, socket) => {
          socket.on('error', () => {})
          ends.push(() => socket.destroy())
          resolve(101)
        })
        req.on('response', res => {
          res.resume()
          resolve(res.statusCode ?? 0)
        })
        req.on('error', reject).end()
      })
    for (let i = 0; i < MAX_SOCKETS; i += 50) {
      const answers = await Promise.all(Array.from({ length: 50 }, () => upgrade(VIEWER_TOKEN)))
      expect(new Set(answers)).toEqual(new Set([101]))
    }
    expect(await upgrade(VIEWER_TOKEN)).not.toBe(101)
    expect(await upgrade(TOKEN)).toBe(101)
    const watcher = await watch(server, 'frames')
    await until('a frame', () => watcher.frames.length > 0)
  }, 30_000)

  it('nobody by long polling, which has no Origin to check', async () => {
    const server = await open()
    const poll = await fetch(`${server.controlPlane}${LIVE_PATH}/?EIO=4&transport=polling`, { headers: bearer() })
    expect(poll.status).toBe(400)
  })

  it('is told and let go when the session ends: signed out, or not used while only looking on', async () => {
    const now = { ms: 1_764_000_000_000 }
    const server = await open({}, new Sessions(() => now.ms))
    const lookOn = async () => {
      const browser = new Browser(server.controlPlane)
      await browser.signIn({ token: TOKEN })
      const watcher = new Watcher(server.controlPlane, { cookie: browser.cookie, origin: server.controlPlane })
      expect(await watcher.outcome()).toBe('connected')
      watcher.socket.emit('subscribe', 'frames')
      return { browser, watcher }
    }
    const [a, b] = [await lookOn(), await lookOn()]
    await a.browser.send('DELETE', '/dashboard/session')
    await until('the end of the first', () => a.watcher.signedOut !== undefined && !a.watcher.socket.connected)
    expect(a.watcher.signedOut).toBe('signed out')
    expect(b.watcher.socket.connected).toBe(true)
    now.ms += IDLE_MS
    await until('the end of the second', () => b.watcher.signedOut !== undefined && !b.watcher.socket.connected)
    expect(b.watcher.signedOut).toBe('unused for too long')
  })

  it('may only subscribe: anything else is heard by nobody, and what is too long ends the connection', async () => {
    const server = await open()
    const watcher = await watch(server)
    const say = (...said: unknown[]) => watcher.socket.emit('subscribe', ...(said as ['frames']))
    for (const word of ['nothing', 1, null, { topic: 'frames' }, ['frames']]) say(word)
    ;(watcher.socket as unknown as Socket).emit('unblock', '192.0.2.1')
    let beats = 0
    ends.push(server.bouncer.onFrame(() => beats++))
    await until('two beats', () => beats >= 2)
    expect([watcher.frames, watcher.batches, watcher.socket.connected]).toEqual([[], [], true])
    const ended = new Promise(resolve => watcher.socket.once('disconnect', resolve))
    say('x'.repeat(5000))
    await ended
  })
})

describe('frames', () => {
  it('come once a second, say what happened since, and where clients stand', async () => {
    const server = await open()
    const watcher = await watch(server, 'frames')
    await until('a frame', () => watcher.frames.length > 0)
    for (let i = 0; i < 105; i++) await server.as('192.0.2.1', '/api/data')
    await until('all of it', () => allowedIn(watcher.frames) === 100)
    await until('the block', () => watcher.frames.at(-1)?.activeBlocks === 1)
    for (const frame of watcher.frames) liveFrameSchema.parse(frame)
    watcher.frames.forEach(({ seq }, i) => void expect(seq).toBe((watcher.frames[0]?.seq ?? 0) + i))
    expect(watcher.frames.some(({ busiest }) => busiest[0]?.client === '192.0.2.1')).toBe(true)
    expect(watcher.frames.at(-1)).toMatchObject({
      store: { kind: 'memory', state: 'ok' },
      instances: [{ instance: server.bouncer.instance }],
      nearest: [{ client: '192.0.2.1', state: 'blocked', used: 100, limit: 100 }],
    })
    const spans = watcher.frames.slice(1).map(({ spanMs }) => spanMs)
    for (const span of spans) expect(span).toBeGreaterThan(500)
  })

  it('greet who comes with the last second of the whole fleet: nobody waits for the next beat', async () => {
    const redis = await RedisServer.start()
    ends.push(() => redis.stop())
    const env = { REDIS_URL: redis.url, DECISION_DEADLINE: '2s' }
    const [a, b] = [await open({ ...env, INSTANCE: 'a', DATA_PLANE: 'off' }), await open({ ...env, INSTANCE: 'b' })]
    const beats: number[] = []
    ends.push(a.bouncer.onFrame(({ at }) => beats.push(at)))
    const greeted = async () => {
      for (let i = 0; i < 5; i++) await b.as('192.0.2.1', '/api/data')
      const watcher = await watch(a)
      const before = beats.at(-1) ?? 0
      watcher.socket.emit('subscribe', 'frames')
      await until('a frame', () => watcher.frames.length > 0)
      watcher.socket.disconnect()
      // A beat may fall between asking and being heard.
      return watcher.frames[0]?.at === before && allowedIn(watcher.frames.slice(0, 1)) > 0
    }
    await until('a greeting by the first who comes', greeted)
    await watch(a, 'frames')
    await until('one by who comes later', greeted)
  })

  it('of two instances on Redis add up to their /metrics', async () => {
    const redis = await RedisServer.start()
    ends.push(() => redis.stop())
    const env = { REDIS_URL: redis.url, DECISION_DEADLINE: '2s' }
    const [a, b] = [await open({ ...env, INSTANCE: 'a' }), await open({ ...env, INSTANCE: 'b' })]
    const watcher = await watch(a, 'frames')
    await until('both', () => watcher.frames.at(-1)?.instances.length === 2)
    for (let i = 0; i < 60; i++) {
      await a.as(`192.0.2.${i % 3}`, '/api/data')
      await b.as(`192.0.2.${i % 3}`, '/auth/login')
    }
    const sum = (policy: string, outcome: 'allowed' | 'limited') =>
      watcher.frames.reduce((sum, { policies }) => sum + (policies[policy]?.[outcome] ?? 0), 0)
    const metric = async (server: TestServer, policy: string, outcome: string) => {
      const { body } = await server.admin('GET', '/metrics')
      const line = `rate_limit_hits_total{policy="${policy}",outcome="${outcome}"} `
      return Number(String(body).split(line)[1]?.split('\n')[0] ?? 0)
    }
    for (const policy of ['default', 'auth']) {
      const shown = (await metric(a, policy, 'allowed')) + (await metric(b, policy, 'allowed'))
      expect(shown).toBeGreaterThan(0)
      await until(`all of ${policy}`, () => sum(policy, 'allowed') >= shown)
    }
    // And no more, however long it goes on.
    const { length } = watcher.frames
    await until('three more', () => watcher.frames.length >= length + 3)
    for (const policy of ['default', 'auth']) {
      for (const outcome of ['allowed', 'limited'] as const) {
        const shown = (await metric(a, policy, outcome)) + (await metric(b, policy, outcome))
        expect(sum(policy, outcome), `${policy} ${outcome}`).toBe(shown)
      }
    }
    expect(watcher.frames.at(-1)?.instances.map(({ instance }) => instance)).toEqual(['a', 'b'])
  })

  it('go on while Redis is away, say since when, and are whole again after', { timeout: 60_000 }, async () => {
    const redis = await RedisServer.start()
    ends.push(() => redis.stop())
    const server = await open({ REDIS_URL: redis.url })
    const watcher = await watch(server, 'frames')
    await until('a frame', () => watcher.frames.at(-1)?.activeBlocks === 0)
    expect(watcher.frames.at(-1)?.store.state).toBe('ok')
    const before = watcher.frames.at(-1)?.at ?? 0
    await redis.kill()
    await until('degraded', () => watcher.frames.at(-1)?.store.state === 'degraded')
    await server.as('192.0.2.1', '/api/data')
    const degraded = () => watcher.frames.filter(({ store }) => store.state === 'degraded')
    const told = () => degraded().reduce((n, { policies }) => n + (policies.default?.['degraded-allowed'] ?? 0), 0)
    await until('what was decided without it', () => told() === 1)
    await until('some more', () => degraded().length >= 3)
    const [first] = degraded()
    for (const { store, activeBlocks } of degraded()) {
      expect(activeBlocks).toBeUndefined()
      expect(store).toMatchObject({
        kind: 'redis',
        detail: expect.stringContaining('Redis at'),
        since: first?.store.since,
      })
    }
    expect(first?.store.since).toBeGreaterThan(before)
    await redis.start()
    await until('ok again', () => watcher.frames.at(-1)?.store.state === 'ok')
    expect(watcher.frames.at(-1)?.store.since).toBeUndefined()
    await server.as('192.0.2.2', '/api/data')
    await until('what is counted now', () => watcher.frames.some(({ busiest }) => busiest[0]?.client === '192.0.2.2'))
    const { seq } = watcher.frames[0] as LiveFrame
    watcher.frames.forEach((frame, i) => void expect(frame.seq).toBe(seq + i))
  })

  it('of WORKERS are theirs, and while Redis is away too', { timeout: 60_000 }, async () => {
    const redis = await RedisServer.start()
    ends.push(() => redis.stop())
    const server = await instance({ REDIS_URL: redis.url, WORKERS: '2', INSTANCE: 'box', DECISION_DEADLINE: '2s' })
    const watcher = await watch(server, 'frames')
    const names = () => watcher.frames.at(-1)?.instances.map(({ instance }) => instance)
    await until('all three', () => names()?.join() === 'box,box#1,box#2')
    for (let i = 0; i < 20; i++) await server.as('192.0.2.1', '/api/data')
    await until('all of it', () => allowedIn(watcher.frames) === 20)
    await redis.kill()
    await until('degraded', () => watcher.frames.at(-1)?.store.state === 'degraded')
    const told = () => watcher.frames.reduce((n, { policies }) => n + (policies.default?.['degraded-allowed'] ?? 0), 0)
    const { length } = watcher.frames
    await until('the second after', () => watcher.frames.length >= length + 2)
    for (let i = 0; i < 20; i++) await server.as('192.0.2.1', '/api/data')
    await until('what was decided without it', () => told() === 20)
    await redis.start()
    await until('ok again', () => watcher.frames.at(-1)?.store.state === 'ok')
    await until('all three again', () => names()?.join() === 'box,box#1,box#2')
    expect([told(), allowedIn(watcher.frames)]).toEqual([20, 20])
  })

  it('are made once for fifty who watch, and not at all for nobody', async () => {
    const server = await open()
    const view = fleetViewOf(server.bouncer.control)
    if (!view) throw new Error('no view')
    let looks = 0
    const { look } = view
    view.look = (...args) => {
      looks++
      return look.apply(view, args)
    }
    let beats = 0
    server.bouncer.onFrame(() => beats++)
    await until('two beats', () => beats >= 2)
    expect(looks).toBe(0)
    const watchers: Watcher[] = []
    for (let i = 0; i < 50; i++) watchers.push(await watch(server, 'events', 'frames'))
    const [first] = [beats]
    await until('frames for all', () => watchers.every(({ frames }) => frames.length >= 3))
    expect(looks).toBeLessThanOrEqual(beats - first + 50)
    const [last, lookedAt] = [beats, looks]
    await until('five more beats', () => beats >= last + 5)
    expect(looks - lookedAt).toBeLessThanOrEqual(beats - last)
    const [one, ...others] = watchers.map(({ frames }) => frames.at(-2))
    for (const other of others) if (other?.seq === one?.seq) expect(other).toEqual(one)
    for (const { socket } of watchers) socket.emit('unsubscribe', 'frames')
    await until('nobody watches', async () => {
      const [before, at] = [looks, beats]
      await until('a beat', () => beats >= at + 2)
      return looks === before
    })
  })
})

describe('events', () => {
  const violation = (i: number) =>
    ({ type: 'violation', client: `c${i}`, policy: 'default', route: 'GET /', count: 1, violations: 1 }) as const

  it('come at most once a second and fifty at once; the rest is counted, and what operators do goes first', async () => {
    const server = await open()
    const watcher = await watch(server, 'events', 'frames')
    await until('a frame', () => watcher.frames.length > 0)
    for (let i = 0; i < 300; i++) server.bouncer.events.append(violation(i))
    await server.admin('POST', '/admin/blocks', { client: '192.0.2.9' })
    await server.admin('PUT', '/admin/lists/deny/192.0.2.10')
    for (let i = 0; i < 300; i++) server.bouncer.events.append(violation(i))
    const total = () =>
      watcher.batches.reduce((sum, { events, dropped }) => sum + events.length + (dropped.violation ?? 0), 0)
    await until('all of them', () => total() === 602)
    for (const batch of watcher.batches) {
      liveEventsSchema.parse(batch)
      expect(batch.events.length).toBeLessThanOrEqual(EVENTS_A_SECOND)
      const times = batch.events.map(({ at }) => at)
      expect(times).toEqual(times.toSorted((a, b) => a - b))
    }
    expect(watcher.events.filter(({ type }) => type !== 'violation').map(({ type }) => type)).toEqual([
      'blocked',
      'list-changed',
    ])
    expect(watcher.batches.length).toBeLessThanOrEqual(watcher.frames.length + 1)
  })

  it('wait for nobody: who is too slow is told later how many were missed, and gets no old frames', async () => {
    const server = await open()
    const [slow, fast] = [await watch(server, 'events', 'frames'), await watch(server, 'events', 'frames')]
    await until('frames for both', () => slow.frames.length > 0 && fast.frames.length > 0)
    const { _socket: wire } = (slow.socket.io.engine.transport as unknown as { ws: { _socket: NodeSocket } }).ws
    wire.pause()
    // More than any buffer on the way holds.
    const route = `GET /${'x'.repeat(500_000)}`
    for (let i = 0; i < EVENTS_A_SECOND; i++) server.bouncer.events.append({ ...violation(i), route })
    const [first] = [fast.frames.length]
    await until('the great batch', () => fast.events.length === EVENTS_A_SECOND && fast.frames.length > first + 1)
    for (let i = 0; i < 30; i++) server.bouncer.events.append(violation(i))
    await until('the rest, elsewhere', () => fast.events.length === EVENTS_A_SECOND + 30)
    const missed = fast.frames.length
    await until('two more frames', () => fast.frames.length >= missed + 2)
    wire.resume()
    const counted = () =>
      slow.batches.reduce((n, { events, dropped }) => n + events.length + (dropped.violation ?? 0), 0)
    await until('the count of what was missed', () => counted() === EVENTS_A_SECOND + 30)
    expect(slow.events).toHaveLength(EVENTS_A_SECOND)
    const newest = fast.frames.at(-1)?.seq ?? 0
    await until('a new frame', () => (slow.frames.at(-1)?.seq ?? 0) > newest)
    expect(slow.frames.length).toBeLessThan(fast.frames.length - 1)
  })

  it('of another instance come too, and those of the time while Redis was away', { timeout: 60_000 }, async () => {
    const redis = await RedisServer.start()
    ends.push(() => redis.stop())
    const server = await open({ REDIS_URL: redis.url, DATA_PLANE: 'off' })
    const other = createBouncer({
      instance: 'other',
      redis: { url: redis.url },
      logger: { info() {}, warn() {}, error() {} },
    })
    ends.push(() => other.close())
    await until('the other', () => other.health().state === 'ok' && other.epoch > 0)
    const watcher = await watch(server, 'events', 'frames')
    await until('both', () => watcher.frames.at(-1)?.instances.length === 2)
    await other.control.block({ client: '192.0.2.1', reason: 'test' }, { by: 'jane' })
    await until('the block', () => watcher.events.some(({ type }) => type === 'blocked'))
    await redis.kill()
    await until('degraded', () => watcher.frames.at(-1)?.store.state === 'degraded')
    await redis.start()
    await until('ok', () => watcher.frames.at(-1)?.store.state === 'ok')
    await until('the outage', () => watcher.events.some(({ type }) => type === 'store-state'))
  })
})

describe('a server that stops', () => {
  it('lets go of those who look on; they find the next one by themselves', async () => {
    const first = await testServer()
    const { port } = new URL(first.controlPlane)
    const watcher = new Watcher(first.controlPlane, bearer())
    expect(await watcher.outcome()).toBe('connected')
    watcher.socket.on('connect', () => watcher.socket.emit('subscribe', 'frames'))
    const since = performance.now()
    await first.close()
    expect(performance.now() - since).toBeLessThan(5000)
    await open({ ADMIN_PORT: port })
    await until('a frame of the next one', () => watcher.frames.length > 0)
  })
})
