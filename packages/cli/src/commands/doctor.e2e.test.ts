import { chmodSync, mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { RedisServer } from '@api-bouncer/limiter/testing/redis-server'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { endAll, hasTmux, type RealServer, realServer, run, Terminal } from './real.fixture.ts'

let server: RealServer
let redis: RedisServer
let onRedis: RealServer
beforeAll(async () => {
  redis = await RedisServer.start('--appendonly', 'yes')
  server = await realServer()
  onRedis = await realServer({ REDIS_URL: redis.url })
})
afterAll(async () => {
  await endAll()
  await redis.stop()
})

describe('doctor', () => {
  it('finds nothing in a fresh server: exit 0', async () => {
    const { code, stdout } = await run(['doctor'], server.env)
    expect(stdout).toMatch(/^nothing found of \d+ things looked at, 1 could not be looked at\n/)
    expect(stdout).toMatch(/^unknown {2}proxy +no instance has seen a request yet/m)
    expect(code).toBe(0)
  })

  it.runIf(hasTmux)('breaks no word on a narrow terminal', async () => {
    const terminal = Terminal.open('doctor', server.env, 60, 40)
    const screen = await terminal.shows('ended with 0')
    expect(screen.replace(/\n +/g, ' ')).toMatch(
      /proxy +no instance has seen a request yet, which would show its proxies/,
    )
  })

  it('says what it found, with its mend, worst first: exit 1', async () => {
    await server.admin('PUT', `/admin/lists/allow/${encodeURIComponent('10.1.0.0/16')}`, {})
    await server.admin('PUT', `/admin/lists/deny/${encodeURIComponent('10.0.0.0/8')}`, {})
    const token = join(mkdtempSync(join(tmpdir(), 'bouncer-test-')), 'token')
    writeFileSync(token, server.env.BOUNCER_TOKEN)
    chmodSync(token, 0o644)
    const { code, stdout } = await run(['doctor', '--token-file', token], server.env)
    const lines = stdout.split('\n')
    expect(code).toBe(1)
    expect(lines[0]).toMatch(/^2 findings of /)
    expect(lines[2]).toMatch(/^problem {2}token file +.*can be read by others \(mode 644\)/)
    expect(lines[3]).toContain(`mend: chmod 600 ${token}`)
    expect(lines[4]).toMatch(/^warning {2}lists +10\.1\.0\.0\/16 is allowed and 10\.0\.0\.0\/8 denied/)
    const json = JSON.parse((await run(['doctor', '-o', 'json'], server.env)).stdout)
    expect(json.findings).toBe(1)
  })

  it('looks into Redis, through a server and straight', async () => {
    for (const args of [
      ['doctor', '-o', 'json'],
      ['doctor', '-o', 'json', '--redis', `redis://127.0.0.1:${redis.port}`],
    ]) {
      const { stdout, stderr, code } = await run(args, args.length > 3 ? {} : onRedis.env)
      expect([code, stderr]).toEqual([0, ''])
      const verdicts = Object.fromEntries(
        JSON.parse(stdout).diagnoses.map(({ about, verdict }: { about: string; verdict: string }) => [about, verdict]),
      )
      expect(verdicts).toMatchObject({
        'redis eviction': 'ok',
        'redis scripts': 'ok',
        'redis pub/sub': 'ok',
        epochs: 'ok',
      })
    }
  })

  it.each([
    ['frozen', () => redis.freeze(), () => redis.thaw()],
    ['killed', () => redis.kill(), () => redis.start()],
  ])('reports a Redis that is %s, through a server and straight: exit 1', async (_, away, back) => {
    await away()
    try {
      for (const args of [['doctor'], ['doctor', '--redis', `redis://127.0.0.1:${redis.port}`]]) {
        const { stdout, stderr, code } = await run(args, args.length > 1 ? {} : onRedis.env)
        expect([code, stderr]).toEqual([1, ''])
        expect(stdout).toMatch(
          /^1 finding of \d+ things looked at, \d+ could not be looked at\n\nproblem {2}store +\S.*\n +mend: /,
        )
        // A server knows its instances for some seconds more.
        for (const about of [
          ...(args.length > 1 ? ['versions', 'epochs'] : []),
          'shadow policies',
          'catch-all',
          'lists',
        ])
          expect(stdout).toMatch(
            new RegExp(`^unknown {2}${about} +could not be looked at: the store does not answer$`, 'm'),
          )
        expect(stdout).not.toContain('maxRetriesPerRequest')
        expect(stdout).toMatch(/^ok {7}exposure /m)
        if (args.length === 1) expect(stdout).toMatch(/^ok {7}control plane .*answers in /m)
      }
    } finally {
      await back()
    }
  })

  it('cannot examine who does not answer: above 1', async () => {
    expect((await run(['doctor'], { BOUNCER_URL: 'http://127.0.0.1:1' })).code).toBe(5)
    expect((await run(['doctor'], { ...server.env, BOUNCER_TOKEN: 'wrong' })).code).toBe(4)
    expect((await run(['doctor', '--url', 'nonsense'])).code).toBe(2)
  })
})
