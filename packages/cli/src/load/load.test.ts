import { once } from 'node:events'
import { mkdtempSync, readFileSync } from 'node:fs'
import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { ALGORITHMS, type ClientHistory, type KeyPage } from '@api-bouncer/limiter/contracts'
import { RedisServer } from '@api-bouncer/limiter/testing/redis-server'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { bouncer, endAll, hasTmux, type Ran, type RealServer, realServer, Terminal } from '../commands/real.fixture.ts'
import type { Report } from './report.ts'

// The real command against real servers, each a process of its own.

const start = (at: Pick<RealServer, 'env'>, args: readonly string[]) => bouncer(['load', ...args], at.env)
const load = (at: Pick<RealServer, 'env'>, ...args: string[]): Promise<Ran> => start(at, args).done

async function reportOf(at: RealServer, ...args: string[]): Promise<Ran & { report: Report }> {
  const ended = await load(at, '-o', 'json', ...args)
  if (ended.stdout === '') throw new Error(ended.stderr)
  return { ...ended, report: JSON.parse(ended.stdout) }
}

const nowhere = { env: { BOUNCER_URL: 'http://127.0.0.1:1', BOUNCER_TOKEN: 'x' } }

const plain: Server[] = []
async function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener).listen(0, '127.0.0.1')
  plain.push(server)
  await once(server, 'listening')
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** A limiter that is wrong: it counts as it should, but admits so many of each client for ever. */
function admitting(most: number): RequestListener {
  const counts = new Map<string, number>()
  return async (req, res) => {
    const client = String(req.headers['x-forwarded-for'])
    await fetch(`${shared.dataPlane}/api/data`, { headers: { 'x-forwarded-for': client } }).then(answer =>
      answer.text(),
    )
    res.setHeader('ratelimit', '"default";r=1;t=60')
    const used = (counts.get(client) ?? 0) + 1
    counts.set(client, used)
    if (used <= most) return res.end('ok')
    res.writeHead(429, { 'content-type': 'application/problem+json' })
    res.end('{"type":"https://iana.org/assignments/http-problem-types#quota-exceeded"}')
  }
}

/** Waits until the first requests of a run have been counted. */
async function underWay(at: RealServer): Promise<void> {
  for (;;) {
    const { usage } = await detailOf(at)
    if (usage.some(({ limits }) => limits.some(({ limit, remaining }) => limit - remaining >= 5))) return
    await sleep(20)
  }
}

interface Detail {
  readonly block?: unknown
  readonly violations: Readonly<Record<string, unknown>>
  readonly refusals: readonly unknown[]
  readonly usage: readonly { limits: readonly { limit: number; remaining: number }[] }[]
}

const detailOf = ({ admin }: RealServer) => admin('GET', '/admin/clients/198.18.0.1') as Promise<Detail>

let shared: RealServer
beforeAll(async () => {
  shared = await realServer({ RATE_LIMIT_ALGORITHM: 'gcra' })
})
afterEach(() => {
  for (const server of plain.splice(0)) {
    server.close()
    server.closeAllConnections()
  }
})
afterAll(endAll)

const policy = (more: Record<string, unknown> = {}) => ({
  id: 'default',
  match: '*',
  limits: [{ limit: 100, window: '1m', burst: 120 }],
  ...more,
})

const put = (policy: unknown) => shared.admin('PUT', '/admin/policies/default', { policy })

describe('bouncer load', () => {
  it('works as typed, knows the algorithm that the server chose, and cleans up', async () => {
    const { code, stdout, stderr } = await load(shared, '--rps', '200', '--duration', '2s', '/api/data')
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toContain(`GET ${shared.dataPlane}/api/data   200 rps for 2s, 1 client (198.18.0.1), open loop`)
    expect(stdout).toMatch(/offered 400 {3}sent 400 \(\d+\.\d rps\)/)
    expect(stdout).toMatch(/oracle: default allows 100 per 1m \(burst 120\) a client \(gcra\); .* agrees\n/)
    expect(stdout).toContain('cleaned up: the counters of default, 1 block of 1 client')
    const { block, violations, usage } = await detailOf(shared)
    expect({ block, violations }).toEqual({ block: undefined, violations: {} })
    expect(usage.every(({ limits }) => limits.every(({ limit, remaining }) => limit === remaining))).toBe(true)
  })

  it.each(['memory', 'redis'])('leaves nothing of its clients behind (%s), nor writes it down later', async kind => {
    const redis = kind === 'redis' ? await RedisServer.start() : undefined
    const at = await realServer(redis ? { REDIS_URL: redis.url } : {})
    const { code, stderr } = await load(at, '--rps', '200', '--duration', '2s', '--clients', '2', '/api/data')
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    // Whoever comes after them is written down after them.
    await at.request('192.0.2.1', '/api/data', 3)
    const historyOf = (client: string) => at.admin('GET', `/admin/clients/${client}/history`) as Promise<ClientHistory>
    while ((await historyOf('192.0.2.1')).buckets.length === 0) await sleep(100)
    expect((await historyOf('198.18.0.1')).buckets).toEqual([])
    expect((await detailOf(at)).refusals).toEqual([])
    const { keys } = (await at.admin('GET', '/admin/keys?match=*198.18.*')) as KeyPage
    expect(keys.map(({ key }) => key)).toEqual([])
    await at.stop()
    await redis?.stop()
  })

  it.each(ALGORITHMS)('agrees with %s, over many of its windows', async algorithm => {
    await put(policy({ algorithm, limits: [{ limit: 20, window: '500ms' }], penalty: false }))
    const { code, report } = await reportOf(shared, '--rps', '200', '--duration', '2s', '/api/data')
    expect(report.oracle).toMatchObject({ verdict: 'agrees', wrong: [] })
    expect(code).toBe(0)
    expect(report.sent + report.dropped).toBe(400)
    const { admitted, limited, blocked } = report.outcomes
    expect([admitted + limited, blocked]).toEqual([400, 0])
    expect(admitted).toBeGreaterThan(40)
    // A band that says nothing would agree with everything.
    if (report.oracle.verdict !== 'none') expect(report.oracle.most - report.oracle.least).toBeLessThan(100)
  })

  it('agrees on several limits, costs and blocks', async () => {
    await put(
      policy({
        algorithm: 'sliding_window',
        limits: [
          { limit: 10, window: '500ms' },
          { limit: 30, window: '10s' },
        ],
        cost: 2,
        penalty: { threshold: 40, window: '1m', block: '1m' },
      }),
    )
    const { code, report } = await reportOf(shared, '--rps', '200', '--clients', '4', '--duration', '2s', '/api/data')
    expect(report.oracle).toMatchObject({ verdict: 'agrees' })
    expect(code).toBe(0)
    expect(report.outcomes.blocked).toBeGreaterThan(0)
    // As /metrics counts: what sets the block was refused by its limit.
    expect(report.outcomes.limited).toBe(4 * 40)
  })

  it('sends as 20 clients, in the order of a seed, each its share', async () => {
    await put(policy({ algorithm: 'sliding_window' }))
    const args = ['--rps', '500', '--duration', '2s', '--clients', '20', '--seed', '42', '/api/data'] as const
    const { code, report } = await reportOf(shared, ...args)
    expect(code).toBe(0)
    expect(report).toMatchObject({ seed: 42, clients: 20, statuses: { 200: 1000 }, refused: [] })
    expect(report.oracle).toMatchObject({ verdict: 'agrees', least: 1000, most: 1000, admitted: 1000 })
    expect(report.cleaned).toMatchObject({ clients: 20, policies: ['default'] })
  })

  it('lets attackers misbehave and the others wait', async () => {
    await put(policy({ algorithm: 'sliding_window', limits: [{ limit: 10, window: '1m' }] }))
    const args = ['--rps', '200', '--duration', '2s', '--clients', '10', '--attackers', '0.2', '/api/data'] as const
    const { code, report } = await reportOf(shared, ...args)
    expect(code).toBe(0)
    // 28 requests a round: 8 by those who behave, of which each is refused once at most before it waits.
    expect(report).toMatchObject({ attackers: 2, offered: 400, oracle: { verdict: 'agrees' } })
    expect(report.heldBack).toBeGreaterThan(0)
    expect(report.sent + report.heldBack + report.dropped).toBe(400)
    expect(
      report.refused
        .slice(0, 2)
        .map(({ client }) => client)
        .sort(),
    ).toEqual(['198.18.0.10', '198.18.0.9'])
  })

  it('says who got too much, or too little, and exits 1', async () => {
    await put(policy({ algorithm: 'sliding_window' }))
    const open = await load(
      shared,
      '--rps',
      '150',
      '--duration',
      '1s',
      '--target',
      await serve(admitting(Number.POSITIVE_INFINITY)),
      '/x',
    )
    expect(open.code).toBe(1)
    expect(open.stdout).toMatch(/100 had to be admitted, 150 were {3}DISAGREES\n/)
    expect(open.stdout).toContain('198.18.0.1  sent 150   had to be 100   admitted 150   50 too many')
    expect(open.stdout).toContain('nothing was refused: is this target behind API Bouncer')
    expect(open.stderr).toBe(
      'bouncer: the limiter did not do what its policies say: 198.18.0.1 had to get 100 requests through, and got 150\n',
    )
    for (const [most, words] of [
      [99, '1 too few'],
      [101, '1 too many'],
    ] as const) {
      const { code, stdout } = await load(
        shared,
        '--rps',
        '150',
        '--duration',
        '1s',
        '--target',
        await serve(admitting(most)),
        '/x',
      )
      expect(code).toBe(1)
      expect(stdout).toContain(words)
    }
  })

  it('gives no verdict on what another control plane governs, or nobody limits, and says that it cleaned nothing', async () => {
    await put(policy({ algorithm: 'sliding_window', limits: [{ limit: 10, window: '1m' }] }))
    const other = await realServer()
    const run = ['--rps', '50', '--duration', '1s'] as const
    for (const [target, why] of [
      [`${other.dataPlane}/api/data`, /counted none of these requests: the target is governed by another one/],
      [await serve((_, res) => void res.end()), /no answer had the limiter's headers/],
      [`${shared.dataPlane}/health`, /no answer had the limiter's headers/],
    ] as const) {
      const { code, stdout, stderr } = await load(shared, ...run, target)
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
      expect(stdout).toMatch(
        new RegExp(`oracle: no verdict: [^\\n]*${why.source}[^\\n]*Nothing was cleaned up there\\n`),
      )
      expect(stdout).not.toContain('cleaned up:')
    }
    await other.stop()
  })

  it('gives no verdict when the policies change meanwhile', async () => {
    await put(policy({ algorithm: 'sliding_window' }))
    const run = start(shared, ['--rps', '100', '--duration', '3s', '/api/data'])
    await underWay(shared)
    await put(policy({ algorithm: 'sliding_window', mode: 'off' }))
    const { code, stdout } = await run.done
    expect(stdout).toMatch(/oracle: no verdict: the policies were changed meanwhile \(epoch \d+, now \d+\)/)
    expect(code).toBe(0)
  })

  it('exits 99 when a threshold is missed, and writes the report', async () => {
    await put(policy({ algorithm: 'sliding_window', limits: [{ limit: 10, window: '1m' }] }))
    const file = join(mkdtempSync(join(tmpdir(), 'api-bouncer-')), 'report.json')
    const failIf = ['--fail-if', 'refused>10%', '--fail-if', 'p50>9s', '--out', file]
    const { code, stdout, stderr } = await load(shared, '--rps', '50', '--duration', '1s', ...failIf, '/api/data')
    expect(code).toBe(99)
    expect(stderr).toBe('bouncer: missed: refused>10% (it was 80%)\n')
    expect(stdout).toContain('thresholds: refused>10% (80%)   MISSED')
    const report = JSON.parse(readFileSync(file, 'utf8')) as Report
    expect(report.thresholds.map(({ missed }) => missed)).toEqual([true, false])
    // Found before anything is sent.
    const unwritable = await load(shared, '--rps', '1', '--duration', '10m', '--out', '/nowhere/x', '/api/data')
    expect(unwritable).toEqual({ code: 2, stdout: '', stderr: 'bouncer: --out: cannot write /nowhere/x (ENOENT)\n' })
  })

  it('works without a control plane, and says that nobody knows the policies', async () => {
    const target = await serve((_, res) => void res.end())
    const { code, stdout } = await load(nowhere, '--rps', '50', '--duration', '1s', `${target}/x`)
    expect(code).toBe(0)
    expect(stdout).toContain('oracle: no verdict: without a control plane nobody knows the policies')
    expect((await load(nowhere, '--rps', '50', '/x')).code).toBe(5)
  })

  it('refuses to load what is beyond this machine, and says when nobody listens', async () => {
    const beyond = await load(shared, '--rps', '10', '--no-oracle', 'http://192.0.2.1/')
    expect(beyond).toEqual({
      code: 2,
      stdout: '',
      stderr: 'bouncer: 192.0.2.1 is beyond this machine; load is sent there only if it is yours: --i-own-this-host\n',
    })
    const nobody = await load(shared, '--rps', '10', '--no-oracle', 'http://127.0.0.1:1/')
    expect(nobody.code).toBe(5)
    expect(nobody.stderr).toBe(
      'bouncer: cannot reach http://127.0.0.1:1 (connection refused). Is the server up? Nothing was sent\n',
    )
  })

  it('counts errors when the server goes half-way, and sums up all the same', async () => {
    const going = await realServer()
    const run = start(going, ['--rps', '100', '--duration', '4s', '/api/data'])
    await underWay(going)
    await going.stop()
    const { code, stdout, stderr } = await run.done
    expect(stdout).toMatch(/ECONN(REFUSED|RESET) {2}\d+/)
    expect(stdout).toContain('oracle: no verdict: the control plane could not be asked after the run')
    expect(stderr).toMatch(
      /could not clean up what the run left behind: .*\ndo it later: {2}bouncer unblock 198\.18\.0\.1\n$/,
    )
    expect(code).toBe(1)
  })

  it('stops at Ctrl-C with a summary, cleaned up, and 130', async () => {
    await put(policy({ algorithm: 'sliding_window' }))
    const run = start(shared, ['--rps', '50', '--duration', '60s', '/api/data'])
    await underWay(shared)
    run.child.kill('SIGINT')
    const { code, stdout } = await run.done
    expect(code).toBe(130)
    expect(stdout).toMatch(/interrupted after \d+\.\d s/)
    expect(stdout).toMatch(/agrees\n/)
    expect(stdout).toContain('cleaned up: the counters of default')
  })

  it.skipIf(!hasTmux)('draws a calm picture while it runs, and leaves nothing but the summary', async () => {
    await put(policy({ algorithm: 'sliding_window', limits: [{ limit: 20, window: '1m' }] }))
    const terminal = Terminal.open('load --rps 100 --duration 4s --clients 2 --seed 1 /api/data', shared.env)
    const live = await terminal.shows(/\nblocked +\d+ █/)
    expect(live).toMatch(/ {3}\ds of 4s/)
    expect(live).toMatch(/\nms p50 [\d.]+ {3}p90/)
    expect(live).toContain('Ctrl-C stops early')
    const screen = await terminal.shows('ended with 0')
    expect(screen).not.toContain('Ctrl-C')
    expect(screen).toMatch(
      /^before\nGET http:[^\n]+\n {2}100 rps for 4s, 2 clients \(198\.18\.0\.1 to \.2\), open loop {3}seed 1\n\n/,
    )
    expect(screen).toMatch(/agrees\ncleaned up: [^\n]+\nended with 0$/)
    terminal.close()
  })

  it.skipIf(!hasTmux)('gives the screen back at Ctrl-C', async () => {
    await put(policy({ algorithm: 'sliding_window' }))
    const terminal = Terminal.open('load --rps 20 --duration 60s /api/data', shared.env, 200, 50)
    await terminal.shows(/admitted +[1-9]/)
    terminal.keys('C-c')
    const screen = await terminal.shows('ended with 130')
    expect(screen).toMatch(/^before\n(\^C)?GET /)
    expect(screen).toMatch(/interrupted after \d+\.\d s\n/)
    terminal.close()
  })
})
