import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from '@api-bouncer/limiter/testing/redis-server'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { bouncer, inShell, type LocalServer, localServer, runHere } from './cli.fixture.ts'

let server: LocalServer
const folder = mkdtempSync(join(tmpdir(), 'bouncer-cli-test-'))
const file = (name: string, text: string) => {
  const path = join(folder, name)
  writeFileSync(path, text)
  return path
}

beforeAll(async () => {
  server = await localServer()
})
afterAll(async () => {
  await server.close()
  rmSync(folder, { recursive: true, force: true })
})

/** Runs a command that must work, against the server. */
async function ok(...args: string[]): Promise<string> {
  const { code, out, err } = await runHere(args, server.env)
  expect({ code, err }).toEqual({ code: 0, err: '' })
  return out
}
const json = async (...args: string[]) => JSON.parse(await ok(...args, '-o', 'json'))

/** Times as they cannot be known. */
const timeless = (text: string) =>
  text
    .replace(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/g, 'ISO')
    .replace(/(\d\d-\d\d )?\d\d:\d\d:\d\d/g, 'TIME')
    .replace(/\d+d \d+h|\d+h \d\dm|\d+m \d\ds|\b\d+s\b/g, 'SPAN')
    .replace(/SPAN ago|just now/g, 'AGO')
    .replace(/in SPAN +(?=\w)/g, 'in SPAN  ')

/** Makes requests until the client is blocked: the built-in limit, and five violations. */
async function provoke(client: string, path = '/auth/login', method = 'POST'): Promise<void> {
  for (let i = 0; i < 30 + 5; i++) await server.as(client, path, method)
}

describe('what needs no server', () => {
  it('tells its version', async () => {
    for (const flag of ['--version', '-V']) {
      expect(await bouncer([flag])).toEqual({
        code: 0,
        out: expect.stringMatching(/^bouncer \d+\.\d+\.\d+\n$/),
        err: '',
      })
    }
  })

  it('lists its commands by what they are for', async () => {
    const { code, out } = await bouncer(['--help'])
    expect(code).toBe(0)
    for (const title of ['See who', 'Act', 'Policies', 'Rehearse', 'Mend', 'Examples'])
      expect(out).toContain(`\n${title}\n`)
    expect((await bouncer([])).out).toBe(out)
    expect((await bouncer(['--no-color', '--help'])).out).toBe(out)
    for (const line of out.split('\n')) expect(line.length).toBeLessThanOrEqual(100)
  })

  it.each(['list', 'get', 'history', 'set', 'edit', 'rollback', 'confirm', 'rm', 'apply', 'diff', 'validate'])(
    'shows examples of policy %s',
    async sub => {
      const { out } = await runHere(['policy', sub, '--help'])
      expect(out).toMatch(new RegExp(`\\nExamples\\n.*bouncer policy ${sub} ?`))
    },
  )
})

describe('the way to the control plane', () => {
  it('is not asked when a word is wrong, and answers for what only it can know', async () => {
    expect(await bouncer(['blok'], server.env)).toEqual({
      code: 2,
      out: '',
      err: 'bouncer: unknown command "blok"; did you mean block?\n',
    })
    // In the words that were typed, not in those of the way there.
    expect(await bouncer(['block', '192.0.2.3', '--for', '400d'], server.env)).toMatchObject({
      code: 2,
      err: expect.stringMatching(/^bouncer: --for: "400d" is out of range/),
    })
    expect(await bouncer(['audit', '--action', 'foo'], server.env)).toMatchObject({
      code: 2,
      err: expect.stringMatching(/--action.*"foo".*block, unblock, policy, policy\.put/),
    })
    expect(await bouncer(['block', '10.0.0.0/8'], server.env)).toMatchObject({
      code: 2,
      out: '',
      err: expect.stringMatching(/^bouncer: "10\.0\.0\.0\/8" is a range, not one client.*deny/),
    })
  })

  it('takes the token that a local server leaves, one from a file, or one from the environment', async () => {
    const strict = await localServer({ ADMIN_TOKEN: 'a-token-of-ours-0123456789' })
    try {
      const env = { BOUNCER_URL: strict.url }
      const refused = await bouncer(['status'], env)
      expect(refused).toMatchObject({
        code: 4,
        out: '',
        err: expect.stringMatching(/^bouncer: the control plane wants a token.*--token-file/),
      })
      const wrong = await bouncer(['status'], { ...env, BOUNCER_TOKEN: 'wrong' })
      expect(wrong).toMatchObject({
        code: 4,
        out: '',
        err: expect.stringMatching(/^bouncer: the control plane does not take this token/),
      })
      expect((await bouncer(['status'], { ...env, BOUNCER_TOKEN: 'a-token-of-ours-0123456789' })).code).toBe(0)
      const tokenFile = file('token', 'a-token-of-ours-0123456789\n')
      expect((await bouncer(['status', '--token-file', tokenFile], env)).code).toBe(0)
    } finally {
      await strict.close()
    }
    expect((await bouncer(['status', '--url', server.url], { XDG_STATE_HOME: server.env.XDG_STATE_HOME })).code).toBe(0)
  })

  it('says what it cannot reach, and how else it could go', async () => {
    const url = `http://127.0.0.1:${await freePort()}`
    expect(await bouncer(['status'], { BOUNCER_URL: url })).toEqual({
      code: 5,
      out: '',
      err: `bouncer: cannot reach the control plane at ${url} (connection refused). Is the server up? Straight on Redis: --redis redis://…\n`,
    })
  })

  it('says so when what answers is no control plane, or goes away half-way', async () => {
    const answers = ['HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi', 'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{']
    for (const answer of answers) {
      const other: Server = createServer(socket => socket.once('data', () => socket.end(answer)))
      await new Promise<void>(resolve => other.listen(0, '127.0.0.1', resolve))
      const { port } = other.address() as { port: number }
      const { code, out, err } = await bouncer(['status'], { BOUNCER_URL: `http://127.0.0.1:${port}` })
      other.close()
      expect({ code, out }).toEqual({ code: 5, out: '' })
      expect(err).toMatch(/^bouncer: (cannot reach|GET \/admin\/status answered 200, which is no answer)/)
    }
  })

  it('says so when it is the data plane, which knows no such paths', async () => {
    const { code, out, err } = await runHere(['status', '--url', server.dataPlane])
    expect({ code, out }).toEqual({ code: 5, out: '' })
    expect(err).toMatch(/answered 404, which is no answer of a control plane: .* is something else.*127\.0\.0\.1:8900/)
  })

  it('does not say of a write that was sent that nothing was done', async () => {
    const other: Server = createServer(socket => socket.once('data', () => socket.destroy()))
    await new Promise<void>(resolve => other.listen(0, '127.0.0.1', resolve))
    const env = { BOUNCER_URL: `http://127.0.0.1:${(other.address() as { port: number }).port}` }
    try {
      for (const [argv, look] of [
        [['block', '192.0.2.3'], /it may have been done\. Look: bouncer inspect 192\.0\.2\.3\n$/],
        [['deny', 'rm', '192.0.2.3'], /it may have been done\. Look: bouncer deny check 192\.0\.2\.3\n$/],
        [['explain', '192.0.2.3'], /^bouncer: cannot reach/],
      ] as const) {
        const { code, err } = await runHere(argv, env)
        expect(err).toMatch(look)
        expect(code).toBe(5)
      }
    } finally {
      other.close()
    }
  })

  it('lets it say itself what a token may not do', async () => {
    const readonly = await localServer({
      ADMIN_TOKEN: 'a-token-of-ours-0123456789',
      ADMIN_READONLY_TOKEN: 'look-only-0123456789',
    })
    const refused = await runHere(['block', '192.0.2.3'], {
      BOUNCER_URL: readonly.url,
      BOUNCER_TOKEN: 'look-only-0123456789',
    })
    await readonly.close()
    expect(refused).toMatchObject({
      code: 4,
      err: expect.stringContaining('read-only token may look, and change nothing'),
    })
  })

  it('shows a stack only when asked', async () => {
    const env = { BOUNCER_URL: 'http://127.0.0.1:1', BOUNCER_DEBUG: '1' }
    expect((await bouncer(['status'], env)).err).toContain('    at ')
  })
})

describe('as a process', () => {
  it.each([
    'status -o csv',
    'clients -o ndjson',
    'inspect 192.0.2.90',
    'explain 192.0.2.90 POST /auth/login',
    'blocks',
    'block 192.0.2.90 --dry-run',
    'unblock 192.0.2.90',
    'allow list',
    'deny list -o json',
    'audit --by nobody -o csv',
    'keys none-such',
  ])('bouncer %s says in a pipe what it says here', async line => {
    const { code, out, err } = await bouncer(line.split(' '), server.env)
    expect({ code, err }).toEqual({ code: 0, err: '' })
    const numberless = (text: string) => timeless(text).replace(/\b\d+(\.\d+)?\b/g, 'N')
    expect(numberless(out)).toBe(numberless(await ok(...line.split(' '))))
  })
})

describe('status', () => {
  it('says how it stands, then instance by instance', async () => {
    const [head, empty, header, row, ...rest] = (await ok('status')).split('\n')
    expect(head).toMatch(
      /^healthy · embedded, in this process · \d+ clients? · 1 instance · 2 policies · \d+ active blocks?$/,
    )
    expect([empty, header?.replace(/ +/g, ' ')]).toEqual(['', 'INSTANCE VERSION UP REQ/S REFUSED/S DEGRADED EPOCH'])
    expect(row).toMatch(/^api-1 {5}0\.1\.0 {4}(?:\d+m )?\d+s +[\d.]+ +[\d.]+ +0 +\d+$/)
    expect(rest).toEqual([''])
    expect(await json('status')).toMatchObject({ state: 'ok', instances: [{ instance: 'api-1' }], policies: 2 })
    expect(JSON.parse(await ok('status', '-o', 'ndjson'))).toMatchObject({ instance: 'api-1', version: '0.1.0' })
    expect(await ok('explain', '192.0.2.1', '-o', 'csv')).toMatch(
      /^client,method,path,.*\r\n192\.0\.2\.1,GET,\/,allowed,within every limit,/,
    )
    expect(await ok('status', '-o', 'csv')).toMatch(
      /^instance,version,uptime_s,requests_per_second,refused_per_second,degraded,epoch,decides\r\napi-1,.*,true\r\n$/,
    )
  })
})

describe('one client', () => {
  it('is seen, inspected, explained and let back in', async () => {
    await provoke('192.0.2.1')
    expect(await json('clients', '--nearest', '--limit', '1')).toMatchObject([{ state: expect.any(String) }])
    const listed = await ok('clients')
    expect(timeless(listed)).toMatch(/^CLIENT +REQ\/S +STATE +USED +POLICY +BLOCKED UNTIL\n/)
    expect(timeless(listed)).toMatch(/192\.0\.2\.1 +[\d.]+ +blocked +30 of 30 +auth +TIME \(in SPAN\)/)

    expect(timeless(await ok('inspect', '192.0.2.1'))).toBe(
      `192.0.2.1   blocked until TIME (in SPAN), the 1st offence
  block       5 violations within 5m, the last of them of auth; set at TIME (AGO) by auto

POLICY   LIMIT       USED  LEFT  NEXT UNIT  ALGORITHM
default  100 per 1m     0   100             sliding_window
auth     30 per 1m     30     0  in SPAN  sliding_window

last refusals, the newest AGO
${'  TIME  auth  POST /auth/login  30 per 1m\n'.repeat(5)}
let it back in:  bouncer unblock 192.0.2.1
`,
    )
    expect(await json('inspect', '192.0.2.1')).toMatchObject({
      client: '192.0.2.1',
      block: { by: 'auto', policy: 'auth' },
    })

    const explained = await ok('explain', '192.0.2.1', 'POST', '/auth/login')
    expect(explained).toMatch(/^REFUSED now: blocked until .*, the 1st offence\n\n1 client {4}192\.0\.2\.1\n/)
    expect(await json('explain', '192.0.2.1', 'POST', '/auth/login')).toMatchObject({
      outcome: 'blocked',
      policy: 'auth',
    })
    expect(
      await json('explain', '--peer', '127.0.0.1', '--header', 'X-Forwarded-For: 192.0.2.1', '/auth/x'),
    ).toMatchObject({
      client: '192.0.2.1',
      outcome: 'blocked',
    })

    const before = await json('inspect', '192.0.2.1')
    expect(timeless(await ok('unblock', '192.0.2.1', '--dry-run'))).toBe(
      'would unblock 192.0.2.1   lifting: block (SPAN left) · counters of auth\n',
    )
    expect((await json('inspect', '192.0.2.1')).block).toEqual(before.block)

    expect(timeless(await ok('unblock', '192.0.2.1', '--grace', '30m'))).toBe(
      'unblocked 192.0.2.1   lifted: block (SPAN left) · counters of auth · no block for violations for 30m   seen by 1 of 1 instance\n',
    )
    expect(await ok('unblock', '192.0.2.1', '--grace', '30m')).toBe(
      '192.0.2.1 was not blocked; cleared: nothing · no block for violations for 30m\n',
    )
    expect(await server.as('192.0.2.1', '/api/data')).toBe(200)
    await provoke('192.0.2.1')
    expect(await json('inspect', '192.0.2.1')).not.toHaveProperty('block')
    expect(await ok('unblock', '192.0.2.1', '--keep-counters')).toBe('192.0.2.1 was not blocked; cleared: nothing\n')
  })

  it('is found by its IPv6 address, and counted by its /64', async () => {
    await server.as('2001:db8:1:2::7', '/api/data')
    expect(await ok('inspect', '2001:db8:1:2::9')).toMatch(/^2001:db8:1:2::\/64 {3}let in\n/)
    expect(await ok('explain', '2001:db8:1:2::9')).toContain(
      '2001:db8:1:2::/64, that is how 2001:db8:1:2::9 is counted',
    )
  })

  it('is told the rate beside the burst that it may use at once', async () => {
    const flags = ['--create', '--match', '/bucket', '--algorithm', 'token_bucket', '--limit', '100/1h,burst=10']
    await ok('policy', 'set', 'bucket', ...flags)
    await server.as('192.0.2.61', '/bucket')
    expect(await ok('inspect', '192.0.2.61')).toMatch(/bucket +100 per 1h \(burst 10\) +1 +9 /)
    expect(await ok('explain', '192.0.2.61', '/bucket')).toContain('bucket 1 of 10 used, 100 per 1h (burst 10)')
    await ok('policy', 'rm', 'bucket', '--yes')
  })

  it('may be one that nobody has seen', async () => {
    expect(await ok('inspect', 'user:nobody')).toMatch(/^user:nobody {3}let in; nothing is known of it but that\n/)
  })
})

describe('blocks', () => {
  it('are made, listed, filtered and lifted by range, after a yes', async () => {
    expect(
      timeless(
        await ok(
          'block',
          '198.51.100.7',
          '198.51.100.8',
          '--for',
          '4h',
          '--reason',
          '=cmd\x1b[31m, "all"',
          '--as',
          'bob',
        ),
      ),
    ).toBe(
      `blocked 198.51.100.7 until TIME (in SPAN): =cmd\\x1b[31m, "all"
blocked 198.51.100.8 until TIME (in SPAN): =cmd\\x1b[31m, "all"
`,
    )
    expect(timeless(await ok('blocks', '--client', '198.51.100.0/24', '--sort', 'client'))).toBe(
      `CLIENT        LEFT    UNTIL  SINCE  OFFENCE  POLICY  BY   REASON
198.51.100.7  SPAN  TIME  TIME        0          bob  =cmd\\x1b[31m, "all"
198.51.100.8  SPAN  TIME  TIME        0          bob  =cmd\\x1b[31m, "all"
`.replace('    UNTIL  SINCE  ', await heading()),
    )
    const csv = await ok('blocks', '--reason', 'ALL', '--sort', 'client', '-o', 'csv')
    expect(timeless(csv).replace(/,\d{6,},/g, ',MS,')).toBe(
      `client,left_ms,until,since,offence,policy,by,reason,allowlisted\r
198.51.100.7,MS,ISO,ISO,0,,bob,"'=cmd\\x1b[31m, ""all""",\r
198.51.100.8,MS,ISO,ISO,0,,bob,"'=cmd\\x1b[31m, ""all""",\r
`,
    )
    const lines = (await ok('blocks', '--client', '198.51.100.0/24', '-o', 'ndjson')).trimEnd().split('\n')
    expect(lines.map(line => JSON.parse(line).client).sort()).toEqual(['198.51.100.7', '198.51.100.8'])
    expect(await json('blocks', '--policy', 'none-such')).toEqual([])
    expect(await ok('blocks', '--policy', 'none-such')).toBe('nobody like that is blocked\n')

    expect(await bouncer(['unblock', '198.51.100.0/24'], server.env)).toMatchObject({
      code: 2,
      out: '',
      err: expect.stringMatching(/needs a yes.*unblock 2 clients in 198\.51\.100\.0\/24 \(.*\)\?\nadd --yes\n$/s),
    })
    expect(await json('blocks', '--client', '198.51.100.0/24')).toHaveLength(2)
    expect((await ok('unblock', '198.51.100.0/24', '--yes')).trimEnd().split('\n')).toHaveLength(2)
    expect(await ok('unblock', '198.51.100.0/24', '--yes')).toBe('nobody in 198.51.100.0/24 is blocked\n')

    async function heading() {
      const [first = ''] = (await ok('blocks', '--client', '198.51.100.0/24')).split('\n')
      return first.slice(first.indexOf('LEFT') + 4, first.indexOf('OFFENCE'))
    }
  })

  it('say when there are more than are shown', async () => {
    await ok('block', '198.51.100.31', '198.51.100.32', '198.51.100.33', '--for', '4h')
    const { code, out, err } = await bouncer(
      ['blocks', '--client', '198.51.100.0/24', '-n', '2', '-o', 'ndjson'],
      server.env,
    )
    expect([code, out.trimEnd().split('\n').length]).toEqual([0, 2])
    expect(err).toBe('first 2 of 3 blocks; --limit 3 shows all\n')
    const { err: ofAll } = await bouncer(['blocks', '--limit', '1'], server.env)
    expect(ofAll).toMatch(/^first 1 of \d+ blocks; --limit \d+ shows all\n$/)
    await ok('unblock', '198.51.100.0/24', '--yes')
  })

  it('are rehearsed without a trace', async () => {
    expect(timeless(await ok('block', '198.51.100.20', '--dry-run'))).toBe(
      'would block 198.51.100.20 until TIME (in SPAN): manual\n',
    )
    expect(await json('block', '198.51.100.20', '--dry-run')).toMatchObject([{ client: '198.51.100.20', dryRun: true }])
    expect(await json('blocks', '--client', '198.51.100.20')).toEqual([])
    expect(await json('audit', '--target', '198.51.100.20')).toEqual([])
  })

  it('are taken from stdin; one that fails stops nobody else', async () => {
    const made = await bouncer(['block', '-'], server.env, '198.51.100.30 # scraper\n198.51.100.31\n')
    expect(made).toMatchObject({ code: 0, err: '' })
    const lifted = await bouncer(['unblock', '-', '-o', 'json'], server.env, '198.51.100.30\n198.51.100.31\n')
    expect(JSON.parse(lifted.out).map(({ wasBlocked }: { wasBlocked: boolean }) => wasBlocked)).toEqual([true, true])
    expect(await bouncer(['unblock', '-'], server.env, '\n')).toMatchObject({ code: 2, out: '' })
    const mixed = await bouncer(['deny', 'rm', '203.0.113.0/24', '203.0.113.9'], server.env)
    expect(mixed.code).toBe(3)
    expect(mixed.err.trimEnd().split('\n')).toHaveLength(2)
  })

  it('begin only when all that was named can be', async () => {
    for (const range of ['10.0.0.0/8', '2001:db8::/96']) {
      const blocked = await bouncer(['block', '198.51.100.40', range], server.env)
      expect(blocked).toMatchObject({ code: 2, out: '', err: expect.stringContaining(`bouncer deny add ${range}`) })
    }
    expect(await json('blocks', '--client', '198.51.100.40')).toEqual([])
    await ok('block', '198.51.100.40')
    const lifted = await bouncer(['unblock', '198.51.100.40', '2001:db8:1:2:3::/96'], server.env)
    expect(lifted).toMatchObject({ code: 2, out: '', err: expect.stringContaining('part of one client') })
    expect(await json('blocks', '--client', '198.51.100.40')).toHaveLength(1)
    await ok('unblock', '198.51.100.40')
  })

  it('are of ids in any spelling, which is taken back as it is printed', async () => {
    await ok('block', 'user:ann smith', 'user:50%')
    expect(await json('blocks', '--client', 'user:ann smith')).toMatchObject([{ client: 'user:ann%20smith' }])
    expect(await json('blocks', '--client', 'user:ann%20smith')).toHaveLength(1)
    const printed = (await ok('blocks', '-o', 'ndjson'))
      .trimEnd()
      .split('\n')
      .map(line => JSON.parse(line).client)
      .filter(client => client.startsWith('user:'))
    const lifted = await bouncer(['unblock', '-', '-o', 'json'], server.env, printed.join('\n'))
    expect(JSON.parse(lifted.out).map(({ wasBlocked }: { wasBlocked: boolean }) => wasBlocked)).toEqual([true, true])
  })

  it('are refused where they would have no effect', async () => {
    await ok('allow', 'add', '203.0.113.128/25')
    const refused = await bouncer(['block', '203.0.113.200'], server.env)
    expect(refused.code).not.toBe(0)
    expect(refused.err).toMatch(/203\.0\.113\.128\/25 is on the allowlist.*bouncer allow rm 203\.0\.113\.128\/25/s)
    expect(await server.as('203.0.113.200', '/api/data')).toBe(200)
    await ok('allow', 'rm', '203.0.113.128/25')
    await ok('block', '203.0.113.200')
    expect(await server.as('203.0.113.200', '/api/data')).toBe(429)
    await ok('unblock', '203.0.113.200')
  })
})

describe('lists', () => {
  it('take ranges, say which one holds an address and which list wins, and let go of them', async () => {
    expect(await ok('deny', 'add', '203.0.113.0/25', '--comment', 'botnet', '--dry-run')).toBe(
      'would put 203.0.113.0/25 on the denylist\n',
    )
    expect(await ok('deny', 'list')).toBe('the denylist is empty\n')
    expect(await ok('deny', 'add', '203.0.113.0/25', '--comment', 'botnet')).toBe(
      '203.0.113.0/25 is on the denylist   seen by 1 of 1 instance\n',
    )
    expect(await server.as('203.0.113.5', '/api/data')).toBe(403)
    expect(timeless(await ok('allow', 'add', '203.0.113.5', '--for', '1h'))).toBe(
      '203.0.113.5 is on the allowlist until TIME (in SPAN)   seen by 1 of 1 instance\n',
    )
    expect(await server.as('203.0.113.5', '/api/data')).toBe(200)
    expect(timeless(await ok('deny', 'check', '203.0.113.5'))).toBe(
      `203.0.113.5   never limited: the allowlist has it, and wins over the denylist
  allow  203.0.113.5  until TIME (in SPAN), added at TIME by ann
  deny   203.0.113.0/25  for good, added at TIME by ann: botnet
`,
    )
    expect(await json('deny', 'check', '203.0.113.6')).toMatchObject({
      wins: 'deny',
      entries: [{ cidr: '203.0.113.0/25' }],
    })
    // A script is answered by the exit code: it is not on this list.
    const unlisted = await runHere(['allow', 'check', '203.0.113.6'], server.env)
    expect(unlisted).toMatchObject({ code: 3, err: '', out: expect.stringContaining('always refused') })
    expect(await json('deny', 'list')).toMatchObject([{ cidr: '203.0.113.0/25', comment: 'botnet', addedBy: 'ann' }])
    expect(timeless(await ok('deny', 'list', '-o', 'csv'))).toBe(
      'list,cidr,until,added,by,comment\r\ndeny,203.0.113.0/25,,ISO,ann,botnet\r\n',
    )
    expect(await ok('allow', 'rm', '203.0.113.5', '--dry-run')).toBe('would take 203.0.113.5 off the allowlist\n')
    expect(await ok('allow', 'rm', '203.0.113.5')).toBe('203.0.113.5 is off the allowlist   seen by 1 of 1 instance\n')
    expect(await ok('deny', 'rm', '203.0.113.0/25')).toContain('is off the denylist')
    expect(await bouncer(['deny', 'rm', '203.0.113.0/25'], server.env)).toMatchObject({
      code: 3,
      out: '',
      err: expect.stringMatching(/^bouncer: 203\.0\.113\.0\/25 is not on the denylist/),
    })
  })

  it("ask before what holds the operator's own address", async () => {
    const env = { ...server.env, SSH_CLIENT: '203.0.113.77 50000 22' }
    for (const argv of [
      ['deny', 'add', '203.0.113.0/24'],
      ['block', '203.0.113.77'],
      ['block', '127.0.0.1'],
      ['deny', 'add', '127.0.0.0/8'],
    ]) {
      const { code, out, err } = await runHere(argv, env)
      expect({ argv, code, out }).toEqual({ argv, code: 2, out: '' })
      expect(err).toMatch(/needs a yes.*(your ssh session comes from|this machine).*add --yes/s)
    }
    expect(await json('blocks', '--client', '203.0.113.77')).toEqual([])
    expect((await runHere(['block', '203.0.113.77', '--yes'], env)).code).toBe(0)
    await ok('unblock', '203.0.113.77')
  })

  it('say what a range became, and what it took the place of', async () => {
    await ok('deny', 'add', '198.51.100.0/24', '--comment', 'botnet')
    expect(await ok('deny', 'add', '198.51.100.9/24', '--dry-run')).toBe(
      'would put 198.51.100.0/24 (that is the range of 198.51.100.9/24) on the denylist, in place of an entry for good: botnet\n',
    )
    expect(timeless(await ok('deny', 'add', '198.51.100.9/24', '--for', '1h'))).toBe(
      '198.51.100.0/24 (that is the range of 198.51.100.9/24) is on the denylist until TIME (in SPAN), in place of an entry for good: botnet   seen by 1 of 1 instance\n',
    )
    await ok('deny', 'rm', '198.51.100.0/24')
  })

  it('ask before a range that is half the internet', async () => {
    expect(await bouncer(['deny', 'add', '0.0.0.0/0'], server.env)).toMatchObject({
      code: 2,
      err: expect.stringMatching(/very wide range.*add --yes/s),
    })
    expect(await ok('deny', 'list')).toBe('the denylist is empty\n')
  })
})

describe('audit', () => {
  it('says who did what, when, why and from where', async () => {
    await ok('block', '198.51.100.50', '--reason', 'scraping', '--as', 'bob')
    await ok('unblock', '198.51.100.50', '--reason', 'a mistake')
    expect(timeless(await ok('audit', '--target', '198.51.100.50')).replace(/ +/g, ' ')).toBe(
      `AT BY ACTION TARGET CHANGE REASON FROM
TIME ann unblock 198.51.100.50 lifted block a mistake 127.0.0.1
TIME bob block 198.51.100.50 until TIME scraping 127.0.0.1
`,
    )
    expect(await json('audit', '--target', '198.51.100.50', '--by', 'bob')).toMatchObject([
      { action: 'block', by: 'bob' },
    ])
    expect(await json('audit', '--target', '198.51.100.50', '--action', 'policy')).toEqual([])
  })
})

describe('keys', () => {
  it('are paged, shown in words and deleted, after a yes', async () => {
    for (const client of ['192.0.2.60', '192.0.2.61']) await server.as(client, '/api/data')
    expect((await json('keys', '192.0.2.60')).keys).toMatchObject([{ key: expect.stringContaining('{192.0.2.60}') }])
    const page = await bouncer(['keys', '--limit', '1', '-o', 'ndjson'], server.env)
    expect(page.err).toMatch(/^1 key so far; more: bouncer keys --cursor \S+\n$/)
    const all = (await ok('keys', '--all', '-o', 'ndjson'))
      .trimEnd()
      .split('\n')
      .map(line => JSON.parse(line).key)
    expect(all).toEqual(expect.arrayContaining([expect.stringContaining('192.0.2.61')]))
    expect(await ok('keys', 'no-such-key')).toBe('no key like no-such-key\n')

    const key = all.find(name => name.includes('192.0.2.61')) as string
    expect(await ok('key', 'show', key)).toContain(`${key}\n`)
    expect(await ok('key', 'rm', key, '--dry-run')).toContain(`would delete ${key}`)
    expect(await bouncer(['key', 'rm', key], server.env)).toMatchObject({
      code: 2,
      err: expect.stringMatching(/add --yes/),
    })
    expect(await json('key', 'rm', key, '--yes')).toEqual({ key, removed: true })
    expect(await bouncer(['key', 'show', key], server.env)).toMatchObject({
      code: 3,
      err: expect.stringMatching(/^bouncer: there is no key/),
    })
  })
})

describe('on a terminal and in a pipe', () => {
  it("shows attackers' paths without a byte that a terminal would act on", async () => {
    await provoke('192.0.2.70', '/auth/%1b%5b31m%0a%e2%80%ae', 'POST')
    for (const format of ['human', 'json', 'csv']) {
      for (const args of [
        ['inspect', '192.0.2.70'],
        ['explain', '192.0.2.70'],
      ]) {
        const out = await ok(...args, '-o', format)
        // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what it is about
        expect(out).not.toMatch(/[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f\u202e]/)
      }
    }
  })

  it('ends quietly when the reader has what it wanted', async () => {
    const env = { ...server.env }
    for (const command of ['--help', '--version', 'status']) {
      expect(await inShell(`bouncer ${command} > /dev/full`, env)).toMatchObject({
        code: 1,
        err: 'bouncer: cannot write the output (ENOSPC)\n',
      })
    }
    const piped = await inShell('set -o pipefail; bouncer clients | head -1', env)
    expect(piped).toMatchObject({ code: 0, err: '' })
    expect(piped.out).toMatch(/^CLIENT .*\n$/)
    // A reader that is gone before the first byte.
    const gone = await inShell('set -o pipefail; bouncer audit | true', env)
    expect(gone).toEqual({ code: 0, out: '', err: '' })
    const closed = await inShell('bouncer status >&-; echo $?', env)
    expect(closed.err).not.toContain('    at ')
    // Only a write tells that nobody reads any more: one event before, one after.
    const followed = await inShell(
      'bouncer block 192.0.2.201; bouncer events -f --since 1m > >(head -1) & until ! kill -0 $!; do bouncer block 192.0.2.201; done',
      env,
    )
    expect(followed.code).toBe(0)
  })

  it('goes on with what it was told to do when nobody reads any more', async () => {
    const many = (args: string) =>
      inShell(`set -o pipefail; printf '198.51.101.%d\\n' {1..60} | bouncer ${args} - | head -1`, server.env)
    const left = async () => (await json('blocks', '--client', '198.51.101.0/24')).length
    expect(await many('block')).toMatchObject({ code: 0, err: '', out: expect.stringMatching(/^blocked .*\n$/) })
    expect(await left()).toBe(60)
    expect(await many('unblock')).toMatchObject({ code: 0, err: '', out: expect.stringMatching(/^unblocked .*\n$/) })
    expect(await left()).toBe(0)
    const wrong = await inShell(
      "set -o pipefail; printf '198.51.101.%d\\n' 1 300 2 | bouncer unblock - 2>&1 | true",
      server.env,
    )
    expect(wrong.code).toBe(2)
  })

  it('colours and asks on a terminal only, and takes no for an answer', async () => {
    await ok('block', '198.51.100.90')
    const terminal = (script: string, env = {}) =>
      inShell(`${script.replace(/^(.*)$/s, `script -qec 'stty cols 80; bouncer $1' /dev/null`)}`, {
        ...server.env,
        ...env,
      })
    const footer = (await terminal('clients --no-color')).out.split('\r\n\r\n')[1] ?? ''
    expect(footer.trim().split('\r\n')).toEqual([
      'rates of the last second; listed: who was busy or refused in the last minute,',
      '  near a limit still, or blocked',
    ])
    expect((await terminal('status')).out).toContain('\x1b[32mhealthy')
    expect((await terminal('status --no-color')).out).not.toContain('\x1b[')
    expect((await terminal('status', { NO_COLOR: '1' })).out).not.toContain('\x1b[')
    const asked = await inShell(
      `(sleep 2; echo n) | script -qec 'bouncer unblock 198.51.100.0/24' /dev/null`,
      server.env,
    )
    expect(asked.out).toContain('unblock 1 client in 198.51.100.0/24 (198.51.100.90)? (y/N)')
    expect(asked.out).toContain('bouncer: nothing was unblocked')
    expect(asked.code).toBe(1)
    expect(await json('blocks', '--client', '198.51.100.90')).toHaveLength(1)
    const yes = await inShell(`(sleep 2; echo y) | script -qec 'bouncer unblock 198.51.100.0/24' /dev/null`, server.env)
    expect(yes.out).toContain('unblocked 198.51.100.90')
  })
})
