import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { Browser, type TestServer, TOKEN, testServer, VIEWER_TOKEN } from '../testing.fixture.ts'
import { routes } from './routes.ts'
import { CODE_MS, IDLE_MS, LIFE_MS, Sessions } from './session.ts'

const now = { ms: 1_764_000_000_000 }
const sessions = new Sessions(() => now.ms)

let server: TestServer
beforeAll(async () => {
  server = await testServer({ ADMIN_READONLY_TOKEN: VIEWER_TOKEN }, sessions)
})
afterAll(() => server.close())

let browser: Browser
beforeEach(() => {
  browser = new Browser(server.controlPlane)
})

const link = async () => {
  const { status, body } = await server.admin('POST', '/admin/sign-in-link')
  expect(status).toBe(201)
  const url = new URL(body.url)
  expect(url.origin + url.pathname).toBe(`${server.controlPlane}/dashboard/sign-in`)
  return { code: url.hash.slice(1), expiresAt: body.expiresAt }
}

describe('signing in', () => {
  it('by the token gives a session, in a cookie that no script and no other site can use', async () => {
    const { status, body, headers } = await browser.send('POST', '/dashboard/session', { token: TOKEN })
    expect(status).toBe(200)
    expect(body).toEqual({
      role: 'operator',
      by: 'admin',
      csrf: expect.stringMatching(/^[\w-]{43}$/),
      now: now.ms,
      expiresAt: now.ms + LIFE_MS,
      idleMs: IDLE_MS,
      dataPlane: server.dataPlane,
      version: expect.any(String),
    })
    const { port } = new URL(server.controlPlane)
    expect(headers['set-cookie']).toEqual([
      expect.stringMatching(new RegExp(`^api_bouncer_${port}=[\\w-]{43}; Path=/; HttpOnly; SameSite=Strict$`)),
    ])
    expect(headers['cache-control']).toBe('no-store')
    const again = await browser.send('GET', '/dashboard/session')
    expect(again).toMatchObject({ status: 200, body })
    expect((await browser.send('GET', '/admin/status')).status).toBe(200)
  })

  it('over TLS, as the proxy in front says, the cookie is Secure and of this host alone', async () => {
    const tls = { 'x-forwarded-proto': 'https' }
    const { headers } = await browser.send('POST', '/dashboard/session', { token: TOKEN }, tls)
    expect(headers['set-cookie']?.[0]).toMatch(
      /^__Host-api_bouncer_\d+=.*; Path=\/; HttpOnly; Secure; SameSite=Strict$/,
    )
    expect((await browser.send('GET', '/admin/status', undefined, tls)).status).toBe(200)
    expect((await browser.send('GET', '/admin/status')).status).toBe(401)
  })

  it('by a link works once', async () => {
    const { code } = await link()
    expect(await browser.signIn({ code })).toMatchObject({ role: 'operator' })
    const second = await new Browser(server.controlPlane).send('POST', '/dashboard/session', { code })
    expect(second).toMatchObject({ status: 401, body: { code: 'ERR_UNAUTHORISED' } })
  })

  it('by a link works for ten minutes', async () => {
    const { code, expiresAt } = await link()
    expect(expiresAt).toBe(now.ms + CODE_MS)
    now.ms += CODE_MS
    expect((await browser.send('POST', '/dashboard/session', { code })).status).toBe(401)
  })

  it('by the read-only token makes a viewer', async () => {
    expect(await browser.signIn({ token: VIEWER_TOKEN })).toMatchObject({ role: 'viewer', by: 'viewer' })
  })

  it('takes the name that somebody gives, for the audit', async () => {
    const named = { 'x-bouncer-actor': 'jane%20d' }
    const { body } = await browser.send('POST', '/dashboard/session', { token: TOKEN }, named)
    expect(body.by).toBe('jane d')
    await browser.send('POST', '/admin/unblock/192.0.2.200', undefined, { 'x-csrf-token': body.csrf })
    expect((await server.admin('GET', '/admin/audit?limit=1')).body.audit).toMatchObject([{ by: 'jane d' }])
  })

  it.each([
    ['nothing', undefined, 400],
    ['neither', {}, 400],
    ['both', { token: TOKEN, code: 'x' }, 400],
    ['a token that is no text', { token: 1 }, 400],
    ['a token of 5 KB', { token: 'x'.repeat(5000) }, 413],
  ])('with %s is a problem, and no guess', async (_, body, status) => {
    const answer = await browser.send('POST', '/dashboard/session', body)
    expect(answer).toMatchObject({ status, headers: { 'content-type': expect.stringContaining('problem+json') } })
  })

  it('is asked for where nobody is signed in', async () => {
    const answer = await browser.send('GET', '/dashboard/session')
    expect(answer).toMatchObject({ status: 401, body: { status: 401, code: 'ERR_UNAUTHORISED' } })
    const bearer = { authorization: `Bearer ${TOKEN}` }
    expect((await browser.send('GET', '/dashboard/session', undefined, bearer)).status).toBe(401)
    expect((await browser.send('PUT', '/dashboard/session', {}, bearer)).status).toBe(401)
  })
})

describe('a session', () => {
  it('ends when nobody has used it for half an hour', async () => {
    await browser.signIn({ token: TOKEN })
    for (let i = 0; i < 3; i++) {
      now.ms += IDLE_MS - 1
      expect((await browser.send('GET', '/admin/status')).status).toBe(200)
    }
    now.ms += IDLE_MS
    expect((await browser.send('GET', '/admin/status')).status).toBe(401)
  })

  it.each([
    ['asks on by itself while nobody touches it', '60000', undefined],
    ['says nonsense of when it was touched', 'never', undefined],
    ['was touched within a minute', '59999', 200],
  ])('of a page that %s', async (_, untouched, status = 401) => {
    await browser.signIn({ token: TOKEN })
    for (let i = 0; i < 4; i++) {
      now.ms += IDLE_MS / 3
      await browser.send('GET', '/admin/status', undefined, { 'x-untouched-ms': untouched })
      await browser.send('GET', '/dashboard/session', undefined, { 'x-untouched-ms': untouched })
    }
    expect((await browser.send('GET', '/admin/status')).status).toBe(status)
  })

  it('is used by a change, however it was asked for', async () => {
    await browser.signIn({ token: TOKEN })
    for (let i = 0; i < 4; i++) {
      now.ms += IDLE_MS / 3
      const change = await browser.send('POST', '/admin/unblock/192.0.2.205', undefined, { 'x-untouched-ms': '90000' })
      expect(change.status).toBe(200)
    }
  })

  it('ends after twelve hours, whatever is done with it', async () => {
    await browser.signIn({ token: TOKEN })
    for (let spent = 0; spent + IDLE_MS / 2 < LIFE_MS; spent += IDLE_MS / 2) {
      expect((await browser.send('GET', '/dashboard/session')).status).toBe(200)
      now.ms += IDLE_MS / 2
    }
    now.ms += IDLE_MS / 2
    expect((await browser.send('GET', '/dashboard/session')).status).toBe(401)
  })

  it('ends when its owner signs out; the cookie is worth nothing from then on', async () => {
    await browser.signIn({ token: TOKEN })
    const { cookie } = browser
    const { status, headers } = await browser.send('DELETE', '/dashboard/session')
    expect(status).toBe(204)
    expect(headers['set-cookie']?.[0]).toMatch(/^api_bouncer_\d+=; Max-Age=0; Path=\/; HttpOnly; SameSite=Strict$/)
    expect((await browser.send('GET', '/admin/status', undefined, { cookie })).status).toBe(401)
  })

  it('is one of at most a thousand of its role: the one that was not used for longest makes room', () => {
    const many = new Sessions(() => now.ms)
    const operator = many.start('operator', 'admin').secret
    const secrets = Array.from({ length: 1001 }, () => many.start('viewer', 'viewer').secret)
    expect(many.find(secrets[0] as string)).toBeUndefined()
    expect(many.find(secrets[1] as string)).toBeDefined()
    expect(many.find(secrets[1000] as string)).toBeDefined()
    // However many look on, who acts is not signed out.
    expect(many.find(operator)).toBeDefined()
  })
})

describe('a change that a session makes', () => {
  const change = ['POST', '/admin/unblock/192.0.2.201'] as const
  beforeEach(() => browser.signIn({ token: TOKEN }))

  it('is made with its CSRF token', async () => {
    expect((await browser.send(...change)).status).toBe(200)
  })

  it.each([
    ['without the CSRF token', { 'x-csrf-token': '' }, 403],
    ['with a wrong one', { 'x-csrf-token': 'x'.repeat(43) }, 403],
    ['from a page of another site', { origin: 'https://evil.example' }, 403],
    ['from another port of this host', { origin: 'http://127.0.0.1:3000' }, 403],
    ['from a page without an origin', { origin: 'null' }, 403],
    ['for another host (DNS rebinding)', { host: 'evil.example', origin: 'http://evil.example' }, 403],
    ['sent by another site', { 'sec-fetch-site': 'cross-site' }, 401],
    ['sent by another port of this host', { 'sec-fetch-site': 'same-site' }, 401],
  ])('%s is refused', async (_, headers, status) => {
    expect((await browser.send(...change, undefined, headers)).status).toBe(status)
  })

  it("with another session's CSRF token is refused", async () => {
    const other = new Browser(server.controlPlane)
    await other.signIn({ token: TOKEN })
    expect((await browser.send(...change, undefined, { 'x-csrf-token': other.csrf })).status).toBe(403)
    // Signing out is one too.
    expect((await browser.send('DELETE', '/dashboard/session', undefined, { 'x-csrf-token': '' })).status).toBe(403)
  })
})

describe('a viewer', () => {
  const writes = routes.filter(({ method, reads }) => method !== 'get' && !reads)
  const filled = (path: string) => path.replace(':list', 'deny').replace(/:\w+/g, '192.0.2.202')

  it('knows of every change there is', () => {
    expect(writes.length).toBeGreaterThan(10)
    expect(routes.filter(({ reads }) => reads).map(({ path }) => path)).toEqual(['/admin/explain'])
  })

  it.each(writes.map(({ method, path }) => [method.toUpperCase(), path]))('may not %s %s', async (method, path) => {
    const bearer = { authorization: `Bearer ${VIEWER_TOKEN}` }
    const answers = [await browser.send(method, filled(path), {}, bearer)]
    await browser.signIn({ token: VIEWER_TOKEN })
    answers.push(await browser.send(method, filled(path), {}))
    for (const answer of answers) {
      expect(answer).toMatchObject({ status: 403, body: { code: 'ERR_UNAUTHORISED' } })
      expect(answer.body.detail).toContain('read-only')
    }
  })

  it('may look, and ask why', async () => {
    await browser.signIn({ token: VIEWER_TOKEN })
    for (const path of ['/admin/status', '/admin/blocks', '/admin/stats', '/metrics']) {
      expect((await browser.send('GET', path)).status, path).toBe(200)
    }
    const bearer = { authorization: `Bearer ${VIEWER_TOKEN}` }
    for (const headers of [{}, bearer]) {
      const why = await browser.send('POST', '/admin/explain', { client: '192.0.2.203' }, headers)
      expect(why).toMatchObject({ status: 200, body: { outcome: 'allowed' } })
    }
  })
})

// Last: it spends this address's guesses.
describe('who guesses', () => {
  it('is told to wait, and keeps out nobody who has the token or a link; a right one costs no guess', async () => {
    for (let i = 0; i < 15; i++) await browser.signIn({ token: TOKEN })
    const guess = (token: string) => browser.send('POST', '/dashboard/session', { token })
    const answers = []
    for (let i = 0; i < 15; i++) answers.push(await guess(`guess ${i}`))
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([401, 429]))
    const refused = answers.at(-1)
    expect(refused).toMatchObject({ status: 429, headers: { 'content-type': expect.stringContaining('problem+json') } })
    expect(Number(refused?.headers['retry-after'])).toBeGreaterThan(0)
    expect(Number(refused?.headers['retry-after'])).toBeLessThanOrEqual(60)
    expect((await browser.send('POST', '/dashboard/session', { code: 'x' })).status).toBe(429)
    // Whoever guesses from the operator's address does not shut the operator out.
    expect((await guess(TOKEN)).status).toBe(200)
    expect((await browser.send('POST', '/dashboard/session', { code: (await link()).code })).status).toBe(200)
    expect((await guess('another guess')).status).toBe(429)
    expect((await server.admin('GET', '/admin/status')).status).toBe(200)
    expect((await browser.send('GET', '/admin/status')).status).toBe(200)
    expect((await server.as('192.0.2.204', '/api/data')).status).toBe(200)
  })
})

describe('the names it answers to', () => {
  it.each([
    [{}, 'admin.example.com', 403],
    [{ ADMIN_ALLOWED_HOSTS: 'admin.example.com, other.example' }, 'admin.example.com', 200],
    [{ ADMIN_ALLOWED_HOSTS: 'admin.example.com, other.example' }, 'OTHER.example:443', 200],
    [{ ADMIN_ALLOWED_HOSTS: 'admin.example.com' }, '127.0.0.1:1', 200],
    [{ ADMIN_ALLOWED_HOSTS: 'admin.example.com' }, 'evil.example', 403],
    [{ ADMIN_HOST: '0.0.0.0' }, 'anything.example', 200],
    [{ ADMIN_HOST: '0.0.0.0', ADMIN_ALLOWED_HOSTS: 'admin.example.com' }, 'anything.example', 403],
    [{ ADMIN_HOST: '0.0.0.0', ADMIN_ALLOWED_HOSTS: 'admin.example.com' }, 'admin.example.com', 200],
  ])('with %j, a Host of %s gets %i', async (env: Record<string, string>, host, status) => {
    const own = await testServer(env)
    const headers = { host, authorization: `Bearer ${TOKEN}`, origin: `http://${host}` }
    expect((await new Browser(own.controlPlane).send('GET', '/admin/status', undefined, headers)).status).toBe(status)
    await own.close()
  })
})
