import { existsSync, mkdtempSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { endAll, hasTmux, type RealServer, realServer, run, script, Terminal } from './real.fixture.ts'

// The real command against a real server, each a process of its own.

let server: RealServer
beforeAll(async () => {
  server = await realServer()
})
afterAll(endAll)

const limit = (units: number, window = '1m') => ({ limit: units, window })
const put = (id: string, units: number) =>
  server.admin('PUT', `/admin/policies/${id}`, { policy: { id, match: `/${id}/*`, limits: [limit(units)] } })
const policy = async (args: string, env: NodeJS.ProcessEnv = {}, input?: string) =>
  run(['policy', ...args.split(' ')], { ...server.env, ...env }, input)
const recordOf = async (id: string) =>
  (await server.admin('GET', `/admin/policies/${id}`)) as { version: number; policy: { mode: string } }
/** What a request would really be held to. */
const limitOf = async (id: string) => {
  const explained = await server.admin('GET', `/admin/clients/192.0.2.1/explain?path=/${id}/x`)
  return (explained as { limits: { limit: number }[] }).limits[0]?.limit
}
const file = (name: string, text: string) => {
  const path = join(mkdtempSync(join(tmpdir(), 'bouncer-test-')), name)
  writeFileSync(path, text)
  return path
}

describe('policy, by flags', () => {
  beforeEach(() => put('auth', 30))

  it('changes what is there, with its diff, its proof and its way back', async () => {
    const { version } = await recordOf('auth')
    const { code, stdout, stderr } = await policy('set auth --limit 20/1m --reason tighter')
    expect([code, stderr]).toEqual([0, ''])
    const [field, minus, plus, saved] = stdout.split('\n')
    expect([field, minus, plus]).toEqual([
      '    limits:',
      '-     - { limit: 30, window: 1m }',
      '+     - { limit: 20, window: 1m }',
    ])
    expect(saved).toMatch(
      new RegExp(
        `^saved auth v${version + 1} · in force on 1 of 1 instance after \\d\\.\\ds · undo: bouncer policy rollback auth ${version}$`,
      ),
    )
    expect((await policy('set auth --limit 20/1m')).stdout).toBe(
      `auth is already so (v${version + 1}); nothing was saved\n`,
    )

    const undo = saved?.split('undo: bouncer policy ')[1] as string
    expect((await policy(undo)).stdout).toContain(`saved auth v${version + 2}`)
    expect(await limitOf('auth')).toBe(30)

    const history = JSON.parse((await policy('history auth -o json')).stdout) as {
      changes: string[]
      updatedBy: string
    }[]
    expect(history.slice(0, 2).map(({ changes, updatedBy }) => [changes, updatedBy])).toEqual([
      [['limits 20 per 1m → 30 per 1m'], 'tester'],
      [['limits 30 per 1m → 20 per 1m'], 'tester'],
    ])
    const { audit } = (await server.admin('GET', '/admin/audit?limit=5')) as {
      audit: { reason?: string; by: string }[]
    }
    expect(audit).toContainEqual(expect.objectContaining({ reason: 'tighter', by: 'tester', target: 'auth' }))
  })

  it('shows only what it would do when asked to', async () => {
    const { code, stdout } = await policy('set auth --mode shadow --dry-run')
    expect([code, stdout]).toEqual([0, '-   mode: enforce\n+   mode: shadow\ndry run: nothing was saved\n'])
    expect((await recordOf('auth')).policy.mode).toBe('enforce')
  })

  it.each([
    ['set auht --limit 1/1m', 3, 'there is no policy "auht"; did you mean auth?'],
    ['get nothing-like-it', 3, 'there is no policy "nothing-like-it" (bouncer policy list)'],
    ['set auth --limit 20', 2, '--limit: "20" is no limit'],
    ['set auth --limit 0/1m', 2, '--limit: at least 1\n'],
    ['set auth --limit 5/1m --confirm-within 999d', 2, 'a duration from 1s to 1d'],
    ['set q --create --match /q', 2, 'a new policy needs --limit, as 20/1m'],
    ['set auth', 2, 'nothing to set'],
    ['set auth --match *', 2, 'match the same requests equally well'],
    ['rollback auth 999', 3, 'has no version 999'],
    ['rm auth', 2, 'this needs a yes, and there is no terminal to ask'],
    ['edit auth', 2, 'edit needs a terminal'],
    ['edit auth --yes', 2, 'name it in EDITOR'],
    ['confirm auth', 2, 'waits for no confirmation'],
  ])('%s: exit %i', async (args, exit, message) => {
    const { code, stdout, stderr } = await policy(args)
    expect(stderr).toContain(message)
    expect([code, stdout]).toEqual([exit, ''])
    expect(await limitOf('auth')).toBe(30)
  })

  it('goes back by itself unless confirmed', async () => {
    const { stdout } = await policy('set auth --limit 5/1m --confirm-within 1s')
    expect(stdout).toMatch(/goes back by itself at [\d:]+ \(in 1s\) unless: bouncer policy confirm auth/)
    await expect.poll(() => limitOf('auth'), { timeout: 10_000 }).toBe(30)
    const gone = await policy('confirm auth')
    expect([gone.code, gone.stderr]).toEqual([1, expect.stringContaining('has already gone back')])

    await policy('set auth --limit 6/1m --confirm-within 1m')
    expect((await policy('confirm auth')).stdout).toMatch(
      /^confirmed auth v\d+ · .* · undo: bouncer policy rollback auth/,
    )
    expect((await policy('history auth')).stdout).toMatch(/ confirmed\n/)
    expect((await run(['audit', '--action', 'policy', '-n', '2'], server.env)).stdout).toMatch(
      /policy\.confirm +auth +for good: 6 per 1m.*\n.*policy\.put +auth +.*; goes back at [\d:]+ unless confirmed/,
    )
    expect(await limitOf('auth')).toBe(6)
    expect((await policy('rollback auth')).code).toBe(0)
    expect(await limitOf('auth')).toBe(30)
  })

  it('says of a later change that it goes back too', async () => {
    const { version } = await recordOf('auth')
    await policy('set auth --limit 7/1m --confirm-within 1h')
    const back = `v${version + 1} was not confirmed: this too goes back by itself at`
    expect((await policy('set auth --limit 8/1m')).stdout).toContain(back)
    const applied = 'id: auth\nmatch: /auth/*\nlimits: [{ limit: 9, window: 1m }]\n'
    expect((await policy('apply -f -', {}, applied)).stdout).toContain(
      `auth v${version + 2} was not confirmed: this too goes back by itself at`,
    )
    expect((await policy(`rollback auth ${version}`)).stdout).not.toContain('goes back')
    expect(await limitOf('auth')).toBe(30)
  })

  it('knows no policy that was made and not confirmed', async () => {
    await policy('set brief --create --match /brief --limit 5/1m --confirm-within 1s')
    await expect.poll(async () => (await policy('get brief')).code, { timeout: 10_000 }).toBe(3)
    expect((await policy('get brief')).stderr).toBe('bouncer: there is no policy "brief" (bouncer policy list)\n')
    expect((await policy('rm brief --yes')).code).toBe(3)
    expect((await policy('history brief')).stdout).toContain('unconfirmed')
    expect((await policy('rollback brief 1')).code).toBe(0)
    expect((await policy('rm brief --yes')).code).toBe(0)
  })

  it('warns before it refuses its own operator', async () => {
    await server.request('127.0.0.1', '/auth/x', 4)
    const asked = await policy('set auth --limit 3/1m')
    expect(asked.stderr).toContain('127.0.0.1, this machine, has used 4 in the last 1m; auth would allow 3')
    expect([asked.code, await limitOf('auth')]).toEqual([2, 30])
    expect((await policy('set auth --limit 3/1m --yes')).code).toBe(0)
    expect(await limitOf('auth')).toBe(3)
  })

  it('removes, and brings back', async () => {
    const { stdout } = await policy('rm auth --yes')
    expect(stdout).toMatch(/^removed auth · in force on 1 of 1 .* · undo: bouncer policy rollback auth \d+$/m)
    expect((await policy('get auth')).code).toBe(3)
    expect((await policy('rollback auth')).code).toBe(0)
    expect(await limitOf('auth')).toBe(30)
  })
})

describe('policy, from files', () => {
  beforeEach(() => put('auth', 30))
  const wanted =
    'id: auth\nmatch: /auth/*\nlimits: [{ limit: 10, window: 1m }]\n---\nid: login\nmatch: POST /login\nlimits: [{ limit: 5, window: 1m }]\n'

  it('applies several, says what it did, and finds no difference after', async () => {
    const path = file('policies.yaml', wanted)
    expect((await policy(`diff -f ${path}`)).code).toBe(1)
    const rows = (await policy(`diff -f ${path} -o ndjson`)).stdout.trimEnd().split('\n')
    expect(rows.map(line => JSON.parse(line).policy)).toEqual(['auth', 'login'])
    expect((await policy(`diff -f ${path} -o csv`)).stdout).toMatch(
      /^policy,action,version,changes\r\nauth,changed,\d+,limits 30 per 1m → 10 per 1m\r\nlogin,created,0,\r\n$/,
    )
    expect((await policy('get auth -o csv')).stdout).toMatch(
      /^id,mode,match,limits,.*\r\nauth,enforce,\/auth\/\*,30 per 1m,/,
    )
    const { stdout, code } = await policy(`apply -f ${path}`)
    expect(code).toBe(0)
    expect(stdout).toMatch(
      /^changed {4}auth v\d+ {2}limits 30 per 1m → 10 per 1m\ncreated {4}login v\d+\nin force on 1 of 1/,
    )
    expect(await policy(`diff -f ${path}`)).toEqual({ code: 0, stdout: '', stderr: '' })
    expect((await policy('apply -f -', {}, wanted)).stdout).toMatch(
      /^unchanged {2}auth v\d+\nunchanged {2}login v\d+\n$/,
    )
  })

  it('prunes only after a yes', async () => {
    const path = file('policies.yaml', `${wanted}---\nid: default\nlimits: [{ limit: 100, window: 1m, burst: 120 }]\n`)
    await put('extra', 1)
    expect(await policy(`apply -f ${path} --prune`)).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('extra'),
    })
    expect((await policy(`apply -f ${path} --prune --dry-run`)).stdout).toContain('extra: removed')
    expect((await policy(`apply -f ${path} --prune --yes`)).stdout).toContain('removed    extra')
    expect((await policy('get extra')).code).toBe(3)
  })

  it('takes what it printed', async () => {
    for (const format of ['human', 'json']) {
      const printed = (await policy(`get auth -o ${format}`)).stdout
      expect(await policy('diff -f -', {}, printed)).toMatchObject({ code: 0, stdout: '' })
    }
  })

  it.each([
    [
      'id: a\nlimits:\n  - { limit: 30, windw: 1m }\n',
      ':3:18: limits.0: unknown field "windw", did you mean "window"?',
    ],
    [
      'id: a\nlimits:\n  - { limit: 30, window: 1 fortnight }\n',
      ':3:26: limits.0.window: "1 fortnight" is not a duration',
    ],
    ['id: a\nlimits: [\n', ':3:1: is neither YAML nor JSON: '],
  ])('says line and column of what is wrong with %j', async (text, message) => {
    const path = file('bad.yaml', text)
    expect(await policy(`validate -f ${path}`)).toMatchObject({
      code: 1,
      stdout: expect.stringContaining(path + message),
    })
    for (const command of ['apply', 'diff']) {
      const { code, stderr } = await policy(`${command} -f ${path}`)
      expect([code, stderr]).toEqual([2, expect.stringContaining(path + message)])
    }
  })

  it('validates without a server, policies against each other too', async () => {
    const nowhere = { BOUNCER_URL: 'http://127.0.0.1:1' }
    expect(await policy(`validate -f ${file('good.yaml', wanted)}`, nowhere)).toMatchObject({
      code: 0,
      stdout: 'valid: auth, login\n',
    })
    const tie =
      '- { id: a, match: "/x/:a", limits: [{ limit: 3, window: 1m }] }\n- { id: b, match: "/x/:b", limits: [{ limit: 3, window: 1m }] }\n'
    const tied = await policy('validate -f -', nowhere, tie)
    expect([tied.code, tied.stdout]).toEqual([1, expect.stringContaining('stdin:1:3: policies "a"')])
    expect((await policy('diff -f -', nowhere, wanted)).code).toBe(5)
    expect((await policy('apply -f /nowhere.yaml')).code).toBe(2)
  })
})

describe('policy, in an editor', () => {
  beforeEach(() => put('auth', 30))

  it('saves what the editor leaves, and says nothing changed when nothing did', async () => {
    const seen = file('seen', '')
    const good = script(`ls -l "$1" > ${seen}; sed -i 's/limit: 30/limit: 20/' "$1"`)
    const { code, stdout } = await policy('edit auth --yes', { EDITOR: good })
    expect([code, stdout]).toEqual([0, expect.stringContaining('+     - { limit: 20, window: 1m }\nsaved auth v')])
    expect(readFileSync(seen, 'utf8')).toMatch(/^-rw-------/)
    expect(await policy('edit auth --yes', { EDITOR: 'true' })).toMatchObject({
      code: 0,
      stderr: 'no change; nothing was saved\n',
    })
    expect((await policy('edit auth --yes', { EDITOR: 'false' })).code).toBe(1)
  })

  it.runIf(hasTmux)('tells what is wrong at its place, and takes it when it is mended', async () => {
    const count = file('count', '')
    const editor = script(
      `echo x >> ${count}\nif [ $(wc -l < ${count}) = 1 ]; then sed -i 's/window: 1m/windw: 1m/' "$1"; else cp "$1" ${count}.text; sed -i 's/windw: 1m/window: 2m/' "$1"; fi`,
    )
    const terminal = Terminal.open('policy edit auth', { ...server.env, EDITOR: editor })
    const asked = await terminal.shows('edit again? (Y/n)')
    const place = /:(\d+):(\d+): limits\.0: unknown field "windw"/.exec(asked.replaceAll('\n', ''))
    terminal.keys('y', 'Enter')
    await terminal.shows(/save auth as version \d+\? \(y\/N\/e to edit again\)/)
    const text = readFileSync(`${count}.text`, 'utf8').split('\n')
    expect(text[0]).toBe('#! not saved yet:')
    expect(text[Number(place?.[1]) - 1]?.slice(Number(place?.[2]) - 1)).toMatch(/^windw/)
    terminal.keys('y', 'Enter')
    await terminal.shows('ended with 0')
    expect((await policy('get auth')).stdout).toContain('{ limit: 30, window: 2m }')
  })

  it.runIf(hasTmux)('shows what someone else changed meanwhile, and loses nothing', async () => {
    const change = `fetch(process.env.BOUNCER_URL + '/admin/policies/auth', { method: 'PUT', headers: { authorization: 'Bearer ' + process.env.BOUNCER_TOKEN, 'content-type': 'application/json', 'x-bouncer-actor': 'ann' }, body: JSON.stringify({ policy: { id: 'auth', match: '/auth/*', limits: [{ limit: 25, window: '1m' }] } }) })`
    const editor = script(
      `sed -i 's/limit: 30/limit: 20/' "$1"; ${process.execPath} -e "${change.replaceAll('"', '\\"')}"`,
    )
    const terminal = Terminal.open('policy edit auth', { ...server.env, EDITOR: editor }, 120, 40)
    await terminal.shows('to edit again)')
    terminal.keys('y', 'Enter')
    const met = await terminal.shows('save yours over it')
    expect(met).toMatch(/meanwhile ann saved version \d+; nothing of yours is saved yet/)
    expect(met).toMatch(/^\+ {5}- \{ limit: 25, window: 1m \} +\+ {5}- \{ limit: 20, window: 1m \}$/m)
    expect(await limitOf('auth')).toBe(25)
    terminal.keys('n', 'Enter')
    const ended = (await terminal.shows('ended with 1')).replaceAll('\n', '')
    const kept = /your text is in (\S+\.yaml)/.exec(ended)?.[1] as string
    expect(readFileSync(kept, 'utf8')).toContain('limit: 20')
    expect(statSync(kept).mode & 0o777).toBe(0o600)
    expect(await limitOf('auth')).toBe(25)
  })

  it.runIf(hasTmux)('says at Ctrl-C where the text was kept', async () => {
    const editor = script(`sed -i 's/limit: 30/limit: 22/' "$1"`)
    const terminal = Terminal.open('policy edit auth', { ...server.env, EDITOR: editor }, 120, 40)
    await terminal.shows('to edit again)')
    terminal.keys('C-c')
    const ended = (await terminal.shows('ended with 130')).replaceAll('\n', '')
    const kept = /your text is in (\S+\.yaml)/.exec(ended)?.[1] as string
    expect(readFileSync(kept, 'utf8')).toContain('limit: 22')
    expect(ended.match(/your text is in/g)).toHaveLength(1)
    expect(await limitOf('auth')).toBe(30)
  })

  it.runIf(hasTmux)('takes the temporary file away when it is saved', async () => {
    const where = file('where', '')
    const editor = script(`echo "$1" > ${where}; sed -i 's/limit: 30/limit: 21/' "$1"`)
    const terminal = Terminal.open('policy edit auth', { ...server.env, EDITOR: editor })
    await terminal.shows('to edit again)')
    terminal.keys('y', 'Enter')
    await terminal.shows('ended with 0')
    expect(existsSync(readFileSync(where, 'utf8').trim())).toBe(false)
    expect(await limitOf('auth')).toBe(21)
  })
})
