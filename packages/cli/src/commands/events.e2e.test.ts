import { setTimeout as sleep } from 'node:timers/promises'
import { RedisServer } from '@api-bouncer/limiter/testing/redis-server'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { bouncer, endAll, type RealServer, realServer, run } from './real.fixture.ts'

let server: RealServer
beforeEach(async () => {
  server = await realServer()
})
afterEach(endAll)

const block = (client: string) => server.admin('POST', '/admin/blocks', { client, reason: 'a test' })
const until = (what: () => boolean, seen: { stdout: string; stderr: string }) =>
  expect.poll(what, { timeout: 20_000, message: () => `${seen.stdout}${seen.stderr}` } as object).toBe(true)

interface Line {
  type: string
  id: string
  client?: string
  after?: string
}
const linesOf = (text: string) =>
  text
    .split('\n')
    .filter(Boolean)
    .map(line => JSON.parse(line) as Line)

describe('events', () => {
  it('tells what happened, oldest first, by type and client', async () => {
    await block('192.0.2.1')
    await block('192.0.2.2')
    await server.admin('POST', '/admin/unblock/192.0.2.1', {})
    const all = await run(['events'], server.env)
    expect(all.stdout.replace(/\d\d:\d\d:\d\d/g, 'TIME').replace(/until [^)]*/, 'until …')).toBe(
      [
        'TIME  blocked    192.0.2.1 for 15m · a test · by admin',
        'TIME  blocked    192.0.2.2 for 15m · a test · by admin',
        'TIME  unblocked  192.0.2.1 · lifted: block (until …) · by admin',
        '',
      ].join('\n'),
    )
    const some = await run(['events', '--type', 'unblocked', '--client', '192.0.2.1', '-o', 'ndjson'], server.env)
    expect(linesOf(some.stdout)).toMatchObject([{ type: 'unblocked', client: '192.0.2.1' }])
    const csv = await run(['events', '-o', 'csv', '--limit', '1'], server.env)
    expect(csv.stdout).toMatch(/^at,id,type,client,says,instance\r\n[^\r]+,unblocked,192\.0\.2\.1,/)
  })

  it("disarms an attacker's path", async () => {
    await server.admin('PUT', '/admin/policies/auth', {
      policy: { id: 'auth', match: '/auth/*', limits: [{ limit: 1, window: '1m' }] },
    })
    await server.request('192.0.2.9', '/auth/\u202e%1b[31m', 3)
    await expect
      .poll(async () => (await run(['events', '--type', 'violation'], server.env)).stdout, { timeout: 20_000 })
      .toMatch(/limited +192\.0\.2\.9/)
    const { stdout } = await run(['events'], server.env)
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what it is about
    expect(stdout).not.toMatch(/[\x00-\x09\x0b-\x1f\u202e]/)
  })

  it('follows as JSON lines through a pipe, says when it is cut off, and where events are lost', async () => {
    await block('192.0.2.1')
    const { child, seen, done } = bouncer(['events', '--follow'], server.env)
    await until(() => linesOf(seen.stdout).length === 1, seen)
    await block('192.0.2.2')
    await until(() => linesOf(seen.stdout).length === 2, seen)
    expect(linesOf(seen.stdout).map(({ client }) => client)).toEqual(['192.0.2.1', '192.0.2.2'])

    await server.stop()
    await until(() => seen.stderr.includes('cut off at'), seen)
    await server.start()
    await until(() => seen.stderr.includes('connected again after'), seen)
    // The embedded log began anew with its server; what came between is not known to be nothing.
    await block('192.0.2.3')
    await until(() => linesOf(seen.stdout).length === 4, seen)
    const [, second, gap, fourth] = linesOf(seen.stdout)
    expect(gap).toMatchObject({ type: 'gap', after: second?.id })
    expect(fourth).toMatchObject({ type: 'blocked', client: '192.0.2.3' })

    child.kill('SIGINT')
    expect((await done).code).toBe(130)
    expect(seen.stderr.match(/cut off/g)).toHaveLength(1)
  })

  it('misses nothing on Redis while its server is away', async () => {
    const redis = await RedisServer.start()
    try {
      const [mine, other] = [await realServer({ REDIS_URL: redis.url }), await realServer({ REDIS_URL: redis.url })]
      const { child, seen, done } = bouncer(['events', '--follow', '--type', 'blocked,gap'], mine.env)
      await other.admin('POST', '/admin/blocks', { client: '192.0.2.1' })
      await until(() => linesOf(seen.stdout).length === 1, seen)
      await mine.stop()
      await until(() => seen.stderr.includes('cut off at'), seen)
      for (const i of [2, 3, 4]) await other.admin('POST', '/admin/blocks', { client: `192.0.2.${i}` })
      await mine.start()
      await until(() => linesOf(seen.stdout).length >= 4, seen)
      expect(linesOf(seen.stdout).map(({ type, client }) => `${type} ${client}`)).toEqual(
        [1, 2, 3, 4].map(i => `blocked 192.0.2.${i}`),
      )
      child.kill('SIGINT')
      expect((await done).code).toBe(130)
    } finally {
      await endAll()
      await redis.stop()
    }
  })

  it('goes on after an id that it is given', async () => {
    await block('192.0.2.1')
    const [first] = linesOf((await run(['events', '-o', 'ndjson'], server.env)).stdout)
    await block('192.0.2.2')
    const { stdout } = await run(['events', '--since', first?.id as string, '-o', 'ndjson'], server.env)
    expect(linesOf(stdout).map(({ client }) => client)).toEqual(['192.0.2.2'])
  })

  it.each([
    [['--type', 'blokced'], 2],
    [['--since', 'yesterday'], 2],
    [['--limit', '0'], 2],
  ])('%j: exit %i', async (args, exit) => {
    expect((await run(['events', ...args], server.env)).code).toBe(exit)
  })

  it('has an exit code for nobody there, and for a wrong token', async () => {
    expect((await run(['events', '--follow'], { BOUNCER_URL: 'http://127.0.0.1:1' })).code).toBe(5)
    expect((await run(['events', '--follow'], { ...server.env, BOUNCER_TOKEN: 'wrong' })).code).toBe(4)
  })

  it('ends when its reader does', async () => {
    const { child, done } = bouncer(['events', '--follow'], server.env)
    child.stdout.destroy()
    await sleep(500)
    await block('192.0.2.1')
    expect((await done).code).toBe(0)
  })
})
