import { request } from 'node:http'
import { BouncerError, createBouncer } from '@api-bouncer/limiter'
import express from 'express'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type TestServer, TOKEN, testServer } from '../testing.fixture.ts'
import { controlRouter } from './router.ts'
import { routes } from './routes.ts'

let server: TestServer
beforeAll(async () => {
  server = await testServer()
})
afterAll(() => server.close())

/** fetch() sets Host itself; this sends what it is told. */
const send = (path: string, method: string, headers: Record<string, string>) =>
  new Promise<{ status: number; headers: Record<string, unknown> }>((resolve, reject) => {
    request(server.controlPlane + path, { method, headers }, res => {
      res.resume().on('end', () => resolve({ status: res.statusCode ?? 0, headers: res.headers }))
    })
      .on('error', reject)
      .end()
  })

const auth = { authorization: `Bearer ${TOKEN}` }
const limits = [{ limit: 7, window: '1m' }]

describe('who may call the control plane', () => {
  it.each(routes.map(({ method, path }) => [method, path]))('%s %s wants the token', async (method, path) => {
    const { status, headers } = await send(path, method.toUpperCase(), {})
    expect(status).toBe(401)
    expect(headers['www-authenticate']).toMatch(/^Bearer /)
  })

  it.each([
    ['a wrong token', { authorization: 'Bearer wrong' }, 401],
    ['a prefix of the token', { authorization: `Bearer ${TOKEN.slice(0, -1)}` }, 401],
    ['another scheme', { authorization: `Basic ${TOKEN}` }, 401],
    ['the token', auth, 200],
    ['the token after a lower-case scheme', { authorization: `bearer ${TOKEN}` }, 200],
  ])('%s', async (_, headers, status) => {
    expect((await send('/admin/status', 'GET', headers)).status).toBe(status)
  })

  it('does not tell strangers what is there', async () => {
    for (const path of ['/admin/nothing', '/health', '/nothing']) expect((await send(path, 'GET', {})).status).toBe(401)
  })

  it.each([
    ['evil.example', 403],
    ['127.0.0.1.evil.example', 403],
    ['evil.example:8900', 403],
    ['127.0.0.1@evil.example', 403],
    ['localhost:1', 200],
    ['LOCALHOST', 200],
    ['127.0.0.1', 200],
    ['[::1]:8900', 200],
  ])('a Host of %s gets %i (DNS rebinding)', async (host, status) => {
    expect((await send('/admin/status', 'GET', { ...auth, host })).status).toBe(status)
  })

  it.each([
    ['https://evil.example', 403],
    ['null', 403],
    ['http://localhost:9999', 403],
    ['http://127.0.0.1:8900', 200],
  ])('a change with an Origin of %s gets %i', async (origin, status) => {
    const headers = { ...auth, origin, host: '127.0.0.1:8900' }
    expect((await send('/admin/unblock/192.0.2.99', 'POST', headers)).status).toBe(status)
  })
})

describe('the admin API', () => {
  it('lists its routes and tells the status', async () => {
    const index = await server.admin('GET', '/admin')
    expect(index.body.routes).toContainEqual(expect.stringContaining('GET /admin/status'))
    const { status, body } = await server.admin('GET', '/admin/status')
    expect(status).toBe(200)
    expect(body).toMatchObject({ state: 'ok', store: { kind: 'memory' }, policies: 2, dataPlane: server.dataPlane })
  })

  it('blocks, lists and unblocks a client', async () => {
    const made = await server.admin('POST', '/admin/blocks', { client: '192.0.2.20', for: '1h', reason: 'scraping' })
    expect(made).toMatchObject({ status: 201, body: { client: '192.0.2.20', reason: 'scraping', by: 'admin' } })
    expect((await server.as('192.0.2.20', '/api/data')).status).toBe(429)
    expect((await server.admin('GET', '/admin/blocks')).body.blocks).toMatchObject([{ client: '192.0.2.20' }])
    const lifted = await server.admin('POST', '/admin/unblock/192.0.2.20', { reason: 'sorry' })
    expect(lifted).toMatchObject({ status: 200, body: { wasBlocked: true, block: { reason: 'scraping' } } })
    expect((await server.as('192.0.2.20', '/api/data')).status).toBe(200)
    const again = await server.admin('POST', '/admin/unblock/192.0.2.20')
    expect(again).toMatchObject({ status: 200, body: { wasBlocked: false } })
  })

  it('takes an IPv6 client by its address or its encoded prefix', async () => {
    await server.admin('POST', '/admin/blocks', { client: '2001:db8::7' })
    const lifted = await server.admin('POST', `/admin/unblock/${encodeURIComponent('2001:db8::/64')}`)
    expect(lifted.body).toMatchObject({ client: '2001:db8::/64', wasBlocked: true })
  })

  it('changes a policy, keeps its history, and goes back', async () => {
    const policy = { id: 'data', match: '/api/*', limits }
    const put = (body: unknown) => server.admin('PUT', '/admin/policies/data', body)
    expect(await put({ policy, expectedVersion: 0 })).toMatchObject({
      status: 200,
      body: { version: 1, updatedBy: 'admin' },
    })
    expect(await put({ policy, expectedVersion: 0 })).toMatchObject({ status: 409, body: { code: 'ERR_CONFLICT' } })
    expect((await server.as('192.0.2.21', '/api/data')).headers.get('x-ratelimit-limit')).toBe('7')
    await put({ policy: { ...policy, limits: [{ limit: 8, window: '1m' }] }, expectedVersion: 1 })
    const { body } = await server.admin('GET', '/admin/policies/data/history')
    expect(body.history.map((one: { version: number }) => one.version)).toEqual([2, 1])
    const back = await server.admin('POST', '/admin/policies/data/rollback', { version: 1 })
    expect(back).toMatchObject({ status: 200, body: { version: 3, policy: { limits } } })
    expect((await server.admin('GET', '/admin/policies/data')).body.version).toBe(3)
    expect((await server.admin('GET', '/admin/policies')).body.policies).toHaveLength(3)
    expect((await server.admin('DELETE', '/admin/policies/data?expectedVersion=1')).status).toBe(409)
    expect((await server.admin('DELETE', '/admin/policies/data?expectedVersion=3')).status).toBe(204)
    expect((await server.admin('GET', '/admin/policies/data')).status).toBe(404)
  })

  it('keeps the lists', async () => {
    const range = encodeURIComponent('198.51.100.0/24')
    const put = await server.admin('PUT', `/admin/lists/deny/${range}`, { comment: 'scanners', for: '1h' })
    expect(put).toMatchObject({ status: 200, body: { list: 'deny', cidr: '198.51.100.0/24', comment: 'scanners' } })
    expect((await server.as('198.51.100.9', '/api/data')).status).toBe(403)
    expect((await server.admin('PUT', '/admin/lists/allow/198.51.100.9')).status).toBe(200)
    expect((await server.as('198.51.100.9', '/api/data')).status).toBe(200)
    expect((await server.admin('GET', '/admin/lists')).body).toMatchObject({ allow: [{}], deny: [{}] })
    expect((await server.admin('DELETE', `/admin/lists/deny/${range}`)).status).toBe(204)
    expect((await server.admin('DELETE', `/admin/lists/deny/${range}`)).status).toBe(404)
  })

  it('keeps the settings', async () => {
    const { body } = await server.admin('GET', '/admin/settings')
    expect(body).toMatchObject({ penalty: { threshold: 5, block: ['15m'] }, ipv6Prefix: 64 })
    const changed = await server.admin('PUT', '/admin/settings', { ...body, ipv6Prefix: 56 })
    expect(changed).toMatchObject({ status: 200, body: { ipv6Prefix: 56 } })
    await server.admin('PUT', '/admin/settings', body)
  })

  it('tells no more blocks at once than is asked for, nor than 10,000', async () => {
    for (let i = 0; i < 5; i++)
      await server.bouncer.control.block({ client: `192.0.2.${i + 100}`, for: '3h' }, { by: 'ann' })
    const { body } = await server.admin('GET', '/admin/blocks?limit=2')
    expect(body).toMatchObject({ blocks: [{}, {}], total: expect.any(Number), next: expect.any(String) })
    expect(body.total).toBeGreaterThanOrEqual(5)
    const rest = await server.admin('GET', `/admin/blocks?after=${encodeURIComponent(body.next)}`)
    expect(rest.body.blocks).toHaveLength(body.total - 2)
    expect((await server.admin('GET', '/admin/blocks?limit=10001')).status).toBe(400)
  })

  it('tells events, and those after an id', async () => {
    await server.admin('POST', '/admin/unblock/192.0.2.22')
    await server.admin('POST', '/admin/unblock/192.0.2.23')
    const { events } = (await server.admin('GET', '/admin/events?limit=2')).body
    expect(events).toMatchObject([{ client: '192.0.2.22' }, { client: '192.0.2.23' }])
    const after = await server.admin('GET', `/admin/events?after=${events[0].id}`)
    expect(after.body).toMatchObject({ events: [{ id: events[1].id }], gap: false })
  })

  it.each([
    ['POST', '/admin/blocks', {}, 400, 'client'],
    ['POST', '/admin/blocks', undefined, 400, 'JSON body'],
    ['POST', '/admin/blocks', { client: '1.2.3.4', fro: '1h' }, 400, 'did you mean "for"?'],
    ['POST', '/admin/blocks', { client: '1.2.3.400' }, 400, 'is not an IP address'],
    ['POST', '/admin/blocks', { client: '10.0.0.0/8' }, 400, 'is a range'],
    ['POST', '/admin/blocks', '{"client":', 400, 'not JSON'],
    ['POST', '/admin/unblock/1.2.3.400', undefined, 400, 'is not an IP address'],
    ['POST', '/admin/unblock/%ff', undefined, 400, 'decode'],
    ['POST', '/admin/unblock/1.2.3.4', { grace: 'long' }, 400, 'is not a duration'],
    ['PUT', '/admin/policies/a', { policy: { id: 'b', limits } }, 400, 'is not the "a" of the path'],
    ['PUT', '/admin/policies/a', { policy: { id: 'a', limits: [] } }, 400, 'policy.limits'],
    ['PUT', '/admin/policies/a', { policy: { id: 'a', limits, match: '/x/:' } }, 400, 'does not parse'],
    ['PUT', '/admin/policies/a', { policy: { id: 'a', limits } }, 400, 'equally well'],
    ['PUT', '/admin/policies/valueOf', { policy: { id: 'valueOf', limits } }, 400, 'every JavaScript object has'],
    ['GET', '/admin/policies/none', undefined, 404, 'there is no policy "none"'],
    ['GET', '/admin/policies/none/history', undefined, 404, 'there is no policy'],
    ['POST', '/admin/policies/auth/rollback', { version: 9 }, 404, 'has no version 9'],
    ['DELETE', '/admin/policies/auth?expectedVersion=x', undefined, 400, 'a version is a whole number'],
    ['PUT', '/admin/lists/grey/1.2.3.4', undefined, 404, 'there is no list "grey"'],
    ['PUT', '/admin/lists/deny/1.2.3.4%2F99', undefined, 400, 'is not an IP address or a CIDR'],
    ['PUT', '/admin/settings', { ipv6Prefx: 64 }, 400, 'did you mean "ipv6Prefix"?'],
    ['GET', '/admin/events?limit=0', undefined, 400, 'limit'],
    ['GET', '/admin/events?after=yesterday', undefined, 400, 'an event id looks like'],
    ['GET', '/admin/events?aftr=1-0', undefined, 400, 'did you mean "after"?'],
    ['GET', '/admin/block', undefined, 404, 'did you mean /admin/blocks'],
    ['GET', '/nothing-at-all', undefined, 404, 'GET /admin lists'],
  ])('%s %s %j is a problem', async (method, path, body, status, detail) => {
    const answer = await server.admin(method, path, body)
    expect(answer.status).toBe(status)
    expect(answer.headers.get('content-type')).toContain('application/problem+json')
    expect(answer.body).toMatchObject({ status })
    expect(answer.body.detail).toContain(detail)
  })

  it('refuses a body of 2 MB', async () => {
    const answer = await server.admin('POST', '/admin/blocks', JSON.stringify({ client: 'x'.repeat(2_000_000) }))
    expect(answer).toMatchObject({ status: 413, body: { detail: 'The body is too large' } })
  })

  it('names the methods of a path', async () => {
    const answer = await server.admin('DELETE', '/admin/blocks')
    expect(answer.status).toBe(405)
    expect(answer.headers.get('allow')).toBe('HEAD, GET, POST')
  })
})

describe('the control router in an app of its user', () => {
  it('works below a path, keeps no limit on the names it is called by, and tells when the store is away', async () => {
    const bouncer = createBouncer()
    bouncer.control.blocks = () => Promise.reject(new BouncerError('ERR_UNAVAILABLE', 'Redis does not answer', 'Wait'))
    const app = express().use('/bouncer', controlRouter({ bouncer, token: TOKEN, logger: console }))
    const listener = app.listen(0, '127.0.0.1')
    await new Promise(resolve => listener.once('listening', resolve))
    const { port } = listener.address() as { port: number }
    const ask = (path: string) => fetch(`http://127.0.0.1:${port}/bouncer${path}`, { headers: { ...auth } })
    expect((await ask('/admin/policies')).status).toBe(200)
    expect((await ask('/admin/blocks')).status).toBe(503)
    expect(await (await ask('/metrics')).text()).toMatch(/rate_limit_active_blocks gauge\n\n/)
    await new Promise(resolve => listener.close(resolve))
    await bouncer.close()
  })
})
