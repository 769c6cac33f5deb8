import { RedisServer, until } from '@api-bouncer/limiter/testing/redis-server'
import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { Browser, endAll, instance, raw, type TestServer, TOKEN, testServer, VIEWER_TOKEN } from './testing.fixture.ts'

const SEED = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31))
const CASES = 3000

let redis: RedisServer
let look: Redis
let server: TestServer
beforeAll(async () => {
  redis = await RedisServer.start()
  look = new Redis(redis.port, '127.0.0.1')
  server = await testServer({ REDIS_URL: redis.url, DECISION_DEADLINE: '2s', VIOLATION_THRESHOLD: '1000' })
  await until('Redis', () => server.bouncer.health().state === 'ok')
})
afterAll(async () => {
  await server.close()
  look.disconnect()
  await redis.stop()
})
afterEach(endAll)

/** mulberry32 */
function random(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296
  }
}

/** What might shape a key, a script, a log line, a terminal, a path or a header, were it let. */
const PIECES = [
  ...['{', '}', '{control}', '}:{', ':', '*', '?', '[a-z]', '\\', '"', "'", '`', '$(id)', ';', '|', '&', '#', '%', ' '],
  ...[
    "redis.call('flushall')",
    '\n',
    '%0d%0a',
    '%00',
    '%2f',
    '%2e%2e',
    '../',
    './',
    '//',
    '/;/',
    '.',
    '~',
    '\u001b[2J',
  ],
  ...[
    '__proto__',
    'constructor',
    'api_bouncer:{control}:policies',
    'block',
    'auth',
    'login',
    '/auth/login',
    '/api/data',
  ],
  ...[
    '1.2.3.4',
    '::ffff:1.2.3.4',
    'fe80::1%eth0',
    '2001:db8::1',
    '999.1.1.1',
    '0x7f.1',
    '127.0.0.1',
    '[::1]:80',
    '"[::1]"',
  ],
  ...['unknown', '_hidden', 'for=', 'é', '\u202e', '𝟙', '=cmd()', '@SUM(1)', '-1', '1e9', 'NaN', 'a'.repeat(2000)],
]

/** A key as createKeys makes it: what stands in braces has no brace, space or control byte of anybody's. */
const KEY =
  /^api_bouncer:(\{control\}:[a-z0-9_:.-]+|(sliding_window|block|violations|client|refusals|history):\{[A-Za-z0-9._:@/+=%-]{1,128}\}(:[a-z0-9_-]+(:\d+m?s)?)?)$/

it(`of what a client sends nothing shapes a key, a decision or the server (${CASES} cases, SEED=${SEED})`, async () => {
  const chance = random(SEED)
  const pick = <T>(list: readonly T[]) => list[Math.floor(chance() * list.length)] as T
  const some = (most: number) => Array.from({ length: Math.ceil(chance() * most) }, () => pick(PIECES)).join('')
  const bytes = () => {
    // What no header or target may hold would end the request before it is one: half of the cases keep to what may stand there.
    const tame = (text: string) => (chance() < 0.5 ? text.replace(/[^\x21-\x7e]/g, '~') : text)
    const target = pick([
      () => `/${tame(some(4))}`,
      () => tame(some(3)),
      () => `http://${tame(some(2))}/auth/login`,
      () => `/auth${tame(some(1))}login`,
    ])()
    const names = [
      'X-Forwarded-For',
      'X-Real-IP',
      'Forwarded',
      'CF-Connecting-IP',
      'X-Bouncer-Actor',
      'Host',
      'X-Request-Id',
    ]
    const headers = Array.from({ length: Math.floor(chance() * 5) }, () => `${pick(names)}: ${tame(some(4))}`)
    const method = pick(['GET', 'POST', 'HEAD', 'OPTIONS', 'PUT', 'TRACE', 'PROPFIND', 'get', 'CONNECT', tame(some(1))])
    return `${method} ${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${headers.map(line => `${line}\r\n`).join('')}\r\n`
  }
  for (let done = 0; done < CASES; done += 20) {
    const asked = Array.from({ length: 20 }, bytes)
    const answers = await Promise.all(asked.map(text => raw(server.dataPlane, text).catch(() => 'ended')))
    answers.forEach((answer, i) => {
      const why = `SEED=${SEED} ${JSON.stringify(asked[i]).slice(0, 500)}`
      expect(answer, why).not.toMatch(/^HTTP\/1\.1 5/)
      const [head = ''] = answer.split('\r\n\r\n')
      expect(head, why).not.toMatch(/\r\n(set-cookie|x-powered-by|location):/i)
    })
  }
  expect((await server.as('192.0.2.1', '/api/data')).status).toBe(200)
  const keys = await look.keys('*')
  expect(keys.length).toBeGreaterThan(10)
  expect(keys.filter(key => !KEY.test(key))).toEqual([])
  const { policies } = await server.bouncer.control.state()
  expect(policies.map(({ policy }) => policy.id).sort()).toEqual(['auth', 'default'])
})

describe('no spelling of a path comes round a stricter policy', () => {
  const SPELLINGS = [
    ...[
      '/auth/login',
      '/auth/login/',
      '/AUTH/LOGIN',
      '/Auth/Login/',
      '/auth/login?x=1',
      '/auth/login?/api/data',
      '/auth/login#x',
    ],
    ...[
      '//auth/login',
      '/auth//login',
      '/auth/./login',
      '/x/../auth/login',
      '/%61uth/login',
      '/auth%2Flogin',
      '/auth/%6cogin',
    ],
    ...[
      '/auth/login;v=1',
      '/auth/login%20',
      '/auth/login%00',
      '/auth\\login',
      '/auth/login.json',
      '/auth/login//',
      '/auth/login/.',
    ],
    ...[
      'http://evil.example/auth/login',
      'http://evil.example//auth/login',
      'http://a@b/auth/login',
      'HTTP://X/AUTH/LOGIN',
    ],
    ...['?/auth/login', '*', '', 'auth/login', '\\auth\\login', '/\t/auth/login', '/auth/login\u00a0'],
  ]
  it.each(SPELLINGS)('%j: who reaches the handler is counted as such', async target => {
    const body = '{"username":"demo","password":"wrong"}'
    const answer = await raw(
      server.dataPlane,
      `POST ${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Forwarded-For: 198.51.100.7\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    ).catch(() => 'ended')
    // Only the handler says so.
    if (!answer.includes('Wrong username or password')) return expect(answer).toMatch(/^HTTP\/1\.1 4|^ended|^$/)
    expect(answer).toMatch(/\r\nratelimit-policy: "auth";/i)
  })
})

it('no token is in the log, at any level, whatever is sent', async () => {
  const one = await instance({ LOG_LEVEL: 'trace', ADMIN_READONLY_TOKEN: VIEWER_TOKEN, DECISION_DEADLINE: '2s' })
  const { controlPlane } = one
  const wrong = 'a-wrong-token-that-somebody-mistyped'
  const secrets = [TOKEN, VIEWER_TOKEN, wrong]
  for (const token of secrets.slice()) {
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
    await fetch(`${controlPlane}/admin/status`, { headers })
    await fetch(`${controlPlane}/admin/nowhere?token=${token}`, { headers })
    await fetch(`${controlPlane}/admin/blocks`, { method: 'POST', headers, body: `{"client":"${token}` })
    await fetch(`http://127.0.0.1:${one.port}/api/data?token=${token}`, { headers })
  }
  /** Signs in, and says all that a session can be told by; then once more in ways that are refused. */
  const use = async (by: { token: string } | { code: string }, status: number) => {
    const browser = new Browser(controlPlane)
    const { status: answered, body } = await browser.send('POST', '/dashboard/session', by)
    expect(answered).toBe(status)
    const twice = await browser.send('POST', '/dashboard/session', { ...by, token: wrong, code: wrong })
    expect(twice.status).toBe(400)
    if (status !== 200) return
    const cookie = browser.cookie.split('=')[1] as string
    secrets.push(cookie, body.csrf)
    expect([cookie.length, body.csrf.length]).toEqual([43, 43])
    const csrf = { 'x-csrf-token': body.csrf }
    await browser.send('GET', '/dashboard/session')
    await browser.send('POST', '/admin/unblock/192.0.2.1', { reason: 'a test' }, csrf)
    await browser.send('POST', '/admin/unblock/1.2.3.400', { reason: 'a test' }, csrf)
    await browser.send('POST', '/admin/unblock/192.0.2.1', {}, { 'x-csrf-token': `${body.csrf}x` })
    await browser.send('GET', `/admin/nowhere?csrf=${body.csrf}&cookie=${cookie}`)
    await browser.send('GET', '/dashboard/live/?EIO=4&transport=websocket', undefined, {
      origin: 'https://evil.example',
    })
    await browser.send('DELETE', '/dashboard/session', undefined, csrf)
    // It is over, and worth nothing.
    expect((await browser.send('GET', '/dashboard/session')).status).toBe(401)
  }
  const link = await one.admin('POST', '/admin/sign-in-link')
  expect(link.status).toBe(201)
  const code = new URL(link.body.url).hash.slice(1)
  const wrongCode = 'c'.repeat(code.length)
  secrets.push(code, wrongCode)
  await use({ token: TOKEN }, 200)
  await use({ token: VIEWER_TOKEN }, 200)
  await use({ token: wrong }, 401)
  await use({ code }, 200)
  await use({ code }, 401)
  await use({ code: wrongCode }, 401)
  const output = () => one.process.output().stdout + one.process.output().stderr
  // That of the greeting is for who started it: there it stands, once, used or not.
  const greeted = /\/dashboard\/sign-in#([\w-]+)\n/.exec(one.process.output().stderr)?.[1]
  if (greeted !== undefined) {
    await use({ code: greeted }, 200)
    expect(output().split(greeted)).toHaveLength(2)
  }
  expect(one.process.output().stdout).toContain('"level"')
  expect(output()).toContain('the control plane was sent a wrong token from')
  expect(secrets.filter(secret => output().includes(secret))).toEqual([])
})
