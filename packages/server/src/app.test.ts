import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { jsonOf, raw, type TestServer, testServer } from './testing.fixture.ts'

let server: TestServer
beforeAll(async () => {
  server = await testServer()
})
afterAll(() => server.close())

const post = (body: unknown, type = 'application/json') => ({
  method: 'POST',
  headers: { 'content-type': type },
  body: typeof body === 'string' ? body : JSON.stringify(body),
})

const statuses = async (n: number, ask: () => Promise<Response>) => {
  const all: number[] = []
  for (let i = 0; i < n; i++) all.push((await ask()).status)
  return all
}

describe('the data plane', () => {
  it('answers 100 requests a minute and refuses the 101st, with headers and a problem', async () => {
    const all = await statuses(100, () => server.as('192.0.2.1', '/api/data'))
    expect(new Set(all)).toEqual(new Set([200]))
    const refused = await server.as('192.0.2.1', '/api/data')
    expect(refused.status).toBe(429)
    expect(refused.headers.get('x-ratelimit-limit')).toBe('100')
    expect(refused.headers.get('x-ratelimit-remaining')).toBe('0')
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0)
    expect(refused.headers.get('content-type')).toBe('application/problem+json')
    expect(await refused.json()).toMatchObject({ status: 429, 'violated-policies': ['default'] })
  })

  it('blocks after five violations, everywhere but at /health', async () => {
    const all = await statuses(35, () => server.as('192.0.2.2', '/auth/nothing'))
    expect(all.filter(status => status === 429)).toHaveLength(5)
    const blocked = await server.as('192.0.2.2', '/api/data')
    expect(blocked.status).toBe(429)
    expect((await jsonOf(blocked)).type).toContain('abnormal-usage-detected')
    expect(await statuses(3, () => server.as('192.0.2.2', '/health'))).toEqual([200, 200, 200])
    expect((await server.as('192.0.2.3', '/api/data')).status).toBe(200)
  })

  it('tells its health without counting', async () => {
    const res = await server.as('192.0.2.4', '/health')
    expect(await res.json()).toEqual({ status: 'ok', store: 'memory', uptime: expect.any(Number) })
    expect(res.headers.get('x-ratelimit-limit')).toBeNull()
    expect(res.headers.get('x-powered-by')).toBeNull()
  })

  it('tells callers their own counters under each policy', async () => {
    await server.as('192.0.2.5', '/auth/x')
    const { client, policies, block } = await jsonOf(await server.as('192.0.2.5', '/stats'))
    expect(client).toBe('192.0.2.5')
    expect(block).toBeUndefined()
    expect(policies).toMatchObject([
      { policy: 'default', match: ['*'], limits: [{ limit: 100, remaining: 99 }] },
      { policy: 'auth', match: ['/auth/*'], limits: [{ limit: 30, remaining: 29 }] },
    ])
  })

  it('checks passwords, and does not tell which part was wrong', async () => {
    const login = (username: unknown, password: unknown) =>
      server.as('192.0.2.6', '/auth/login', post({ username, password }))
    expect((await login('demo', 'correct horse battery')).status).toBe(200)
    const [name, password] = [await login('nobody', 'correct horse battery'), await login('demo', 'wrong')]
    expect([name.status, password.status]).toEqual([401, 401])
    expect(await name.text()).toBe(await password.text())
    expect((await login(5, ['x'])).status).toBe(400)
  })

  it('registers once, and the new user can log in', async () => {
    const register = (body: unknown) => server.as('192.0.2.7', '/auth/register', post(body))
    const ada = { username: 'ada', password: 'analytical engine' }
    expect((await register(ada)).status).toBe(201)
    expect((await register(ada)).status).toBe(409)
    expect((await server.as('192.0.2.7', '/auth/login', post(ada))).status).toBe(200)
    expect((await register({ username: 'x', password: 'short' })).status).toBe(400)
    const typo = await register({ usrname: 'eve', password: 'long enough' })
    expect((await jsonOf(typo)).detail).toContain('did you mean "username"')
  })

  it('answers every password reset alike', async () => {
    const bodies = [{ username: 'demo' }, { username: 'nobody' }, {}]
    const all = await Promise.all(bodies.map(body => server.as('192.0.2.8', '/auth/reset-password', post(body))))
    expect(all.map(({ status }) => status)).toEqual([202, 202, 202])
    expect(new Set(await Promise.all(all.map(res => res.text()))).size).toBe(1)
  })

  it.each([
    ['no body', { method: 'POST' }, 400],
    ['malformed JSON', post('{"username":'), 400],
    ['JSON that is no object', post('"demo"'), 400],
    ['a body of 1 MB', post(JSON.stringify({ username: 'x'.repeat(1_000_000) })), 413],
    ['a form', post('username=demo', 'application/x-www-form-urlencoded'), 415],
    ['an unknown charset', post('{}', 'application/json; charset=klingon'), 415],
  ])('refuses %s with a problem', async (_, init, status) => {
    const res = await server.as('192.0.2.9', '/auth/login', init)
    expect(res.status).toBe(status)
    expect(res.headers.get('content-type')).toContain('application/problem+json')
    expect(await res.json()).toMatchObject({ status, detail: expect.stringMatching(/./) })
  })

  it.each([
    ['OPTIONS', '/api/data', 204, 'GET, HEAD, OPTIONS'],
    ['POST', '/api/data', 405, 'GET, HEAD, OPTIONS'],
    ['DELETE', '/stats', 405, 'GET, HEAD, OPTIONS'],
    ['OPTIONS', '/auth/login', 204, 'POST, OPTIONS'],
    ['GET', '/auth/login', 405, 'POST, OPTIONS'],
    ['GET', '/auth/reset-password/', 405, 'POST, OPTIONS'],
  ])('%s %s is %i and says what is allowed', async (method, path, status, allow) => {
    const res = await server.as('192.0.2.77', path, { method })
    expect([res.status, res.headers.get('allow')]).toEqual([status, allow])
    expect(res.headers.get('ratelimit-policy')).toContain(path.startsWith('/auth') ? 'auth' : 'default')
  })

  it('has a problem for what is not there', async () => {
    const res = await server.as('192.0.2.10', '/nowhere')
    expect(res.status).toBe(404)
    expect(await res.json()).toMatchObject({ status: 404, title: 'Not Found' })
  })

  it.each([
    [
      'a path of 100 kB',
      `GET /${'a'.repeat(100_000)} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`,
      /^HTTP\/1.1 431 /,
    ],
    [
      'a path of invalid UTF-8',
      Buffer.from('GET /\xff\xfe%ff%c0 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n', 'latin1'),
      /^HTTP\/1.1 4\d\d /,
    ],
    ['junk for a header', 'GET /api/data HTTP/1.1\r\nHost: x\r\nno colon here\r\n\r\n', /^HTTP\/1.1 400 /],
    ['junk for a request', '\x00\x01\x02\r\n\r\n', /^HTTP\/1.1 400 /],
    [
      'two lengths',
      'POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx',
      /^HTTP\/1.1 400 /,
    ],
    [
      'a header of 100 kB',
      `GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: ${'1,'.repeat(50_000)}\r\n\r\n`,
      /^HTTP\/1.1 431 /,
    ],
  ])('refuses %s and still serves', async (_, bytes, answer) => {
    expect(await raw(server.dataPlane, bytes)).toMatch(answer)
    expect((await server.as('192.0.2.11', '/api/data')).status).toBe(200)
  })

  it('counts a client by its address whatever junk the forwarding header holds', async () => {
    const junk = ['', 'unknown', '"><script>', '1.2.3.4.5', '::::', '999.1.1.1', '%00', '-1']
    for (const value of junk) expect((await server.as(value, '/api/data')).status).toBe(200)
  })
})
