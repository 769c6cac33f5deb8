import { execFile, execFileSync } from 'node:child_process'
import { readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { freePort, RedisServer } from '@api-bouncer/limiter/testing/redis-server'
import { afterAll, describe, expect, it } from 'vitest'
import { SETTINGS } from './config.ts'
import { parsePolicies } from './policies-file.ts'
import { ROOT, type Running, run, temporaryFolder } from './testing.fixture.ts'

/*
 * Runs the README as a newcomer would, from its own code blocks:
 * - ```sh is run by bash; a ```text right below it is what it must print.
 * - `npm ci` is left out (it has been run, or this test could not). `npm start` runs until the next one, or the end; one
 *   with a PORT of its own runs beside the others. `docker compose up -d` is a redis-server of this test's own.
 * - The ports become free ones, and the home folder a fresh one; nothing else is changed.
 * - In ```console, what stands behind `$` is typed, and what follows must be the answer, but for its numbers.
 * - A bracket right behind a ```text that says "it is 100 and 1" allows these counts, too.
 * - In ```text, `…` stands for anything on its line, and for any number of lines where it is alone on one. Runs of blanks
 *   are alike, since `uniq -c` indents differently from system to system.
 */

const README = readFileSync(join(ROOT, 'README.md'), 'utf8')

interface Block {
  readonly language: string
  readonly text: string
  /** Where it begins, to find what stands right below. */
  readonly start: number
  readonly end: number
}

const blocks: Block[] = [...README.matchAll(/^```(\w+)\n(.*?)^```\n/gms)].map(match => ({
  language: match[1] as string,
  text: match[2] as string,
  start: match.index,
  end: match.index + match[0].length,
}))
const shell = blocks.filter(({ language }) => language === 'sh')
/** What a block must print; and, where a bracket behind says "it is A and B", the same with these counts. */
function outputsOf(block: Block): (string | undefined)[] {
  const output = blocks.find(({ language, start }) => language === 'text' && start === block.end)
  const [, ...counts] = /^\n\([^)]*? it is (\d+) and (\d+)\.\)/.exec(README.slice(output?.end)) ?? []
  const orElse = output?.text.replace(/^( *)\d+/gm, (_, indent) => `${indent}${counts.shift()}`)
  return [output?.text, counts.length > 0 || orElse?.includes('undefined') ? undefined : orElse]
}

const processes: Running[] = []

/** As Ctrl-C in a terminal does: the whole group hears it. */
async function stop(process: Running): Promise<void> {
  const { pid, exitCode } = process.child
  if (pid !== undefined && exitCode === null) globalThis.process.kill(-pid, 'SIGINT')
  await process.exited
}
let redis: RedisServer | undefined
afterAll(async () => {
  await Promise.all(processes.map(stop))
  await redis?.stop()
})

const blanks = (text: string) =>
  text
    .replace(/[ \t\r]+/g, ' ')
    .replace(/^ | $/gm, '')
    .trimEnd()

/** What differs from run to run in a console: times, rates, the length of bars. */
const vague = (text: string) =>
  text
    .replace(/\d+(h|m|s)( \d+(m|s))?/g, 'SPAN')
    // A date is told where it is not today's: shortly before midnight.
    .replace(/\d\d-\d\d (?=\d\d:\d\d)/g, '')
    .replace(/\d+([.:]\d+)*/g, '#')
    .replace(/█+/g, '█')
    .trimEnd()

function patternOf(expected: string): RegExp {
  const lines = blanks(expected).split('\n')
  const literally = (line: string) => line.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&').replaceAll('…', '.*')
  return new RegExp(`^${lines.map(line => (line === '…' ? '(?:.*\\n)*?' : `${literally(line)}\\n`)).join('')}$`)
}

describe('the README', () => {
  it('does what it prints', { timeout: 120_000 }, async () => {
    const home = temporaryFolder()
    const ports = new Map<string, string>()
    for (const port of ['8000', '8900', '8001', '8901']) ports.set(port, String(await freePort()))
    const move = (text: string) => text.replace(/\b(8[09]0[01]|6379)\b/g, port => ports.get(port) ?? port)
    // A busy machine must not turn counting into fail-open: what is shown is how it counts.
    const env = { PORT: move('8000'), ADMIN_PORT: move('8900'), HOME: home, DECISION_DEADLINE: '5s' }
    let servers: Running[] = []
    let assignments = ''
    let compared = 0
    for (const block of shell) {
      const script = move(block.text.replace(/^npm ci && /, '')).trim()
      if (script === 'npm test') continue
      if (script === 'docker compose up -d') {
        redis = await RedisServer.start()
        ports.set('6379', String(redis.port))
        continue
      }
      if (script.endsWith('npm start')) {
        if (!/\bPORT=/.test(script)) await Promise.all(servers.splice(0).map(stop))
        const server = run('bash', ['-c', script], env)
        servers = [...servers, server]
        processes.push(server)
        await server.printed('try next')
        continue
      }
      // One shell for all, as far as it matters: variables that were set before.
      const { stdout } = await promisify(execFile)('bash', ['-c', `set -e\n${assignments}${script}`], {
        env: { PATH: process.env.PATH, HOME: home },
      })
      assignments += script
        .split('\n')
        .filter(line => /^[A-Z]+=/.test(line))
        .map(line => `${line}\n`)
        .join('')
      const [expected, orElse] = outputsOf(block)
      if (expected === undefined) continue
      compared++
      const printed = `${blanks(stdout)}\n`
      if (orElse !== undefined && patternOf(orElse).test(printed)) continue
      expect(printed, script).toMatch(patternOf(expected))
    }
    expect(compared).toBe(blocks.filter(({ language }) => language === 'text').length)
    expect(compared).toBeGreaterThan(5)
  })

  it('types what the command line answers', { timeout: 120_000 }, async () => {
    const home = temporaryFolder()
    const [port, admin] = [String(await freePort()), String(await freePort())]
    const server = run('bash', ['-c', 'npm start'], { PORT: port, ADMIN_PORT: admin, HOME: home })
    processes.push(server)
    await server.printed('try next')
    const folder = temporaryFolder()
    symlinkSync(join(ROOT, 'packages/cli/bin/bouncer.js'), join(folder, 'bouncer'))
    const env = { PATH: `${folder}:${process.env.PATH}`, HOME: home, BOUNCER_URL: `http://127.0.0.1:${admin}` }
    const steps = blocks
      .filter(({ language }) => language === 'console')
      .flatMap(({ text }) => text.split(/^\$ /m).slice(1))
    expect(steps.length).toBeGreaterThan(6)
    for (const step of steps) {
      const [line = '', ...rest] = step.split('\n')
      const { stdout } = await promisify(execFile)('bash', ['-c', line], { env })
      expect(`${blanks(vague(stdout))}\n`, line).toMatch(patternOf(vague(rest.join('\n'))))
    }
  })

  /** Runs it as `app.mjs` of a project beside this one, that has installed what the README says; port 3000 is another. */
  async function start(code: string) {
    const [port, folder] = [await freePort(), temporaryFolder()]
    symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
    writeFileSync(join(folder, 'app.mjs'), code.replace('3000', String(port)))
    const app = run(process.execPath, ['--import', 'tsx', '--conditions=@api-bouncer/source', 'app.mjs'], {}, folder)
    processes.push(app)
    return { app, url: `http://127.0.0.1:${port}` }
  }

  it('has a twelve-line example that limits, as middleware and in front', async () => {
    const [example = '', inFront = ''] = blocks.filter(({ language }) => language === 'js').map(({ text }) => text)
    expect(example.split('\n').filter(line => line.trim() !== '')).toHaveLength(12)
    const wrapped = example
      .replace('app.use(bouncer.express())\n', '')
      .replace('app.listen(3000)\n', () => inFront.replace(/^import .*\n/, ''))
    const imported = inFront.split('\n')[0]
    for (const [code, header] of [
      [example, 'Express'],
      [`${imported}\n${wrapped}`, null],
    ] as const) {
      const { url } = await start(code)
      await expect
        .poll(
          () =>
            fetch(url).then(
              res => res.status,
              () => 0,
            ),
          { timeout: 20_000 },
        )
        .toBe(200)
      const first = await fetch(url)
      expect(await first.json()).toEqual({ remaining: Number(first.headers.get('x-ratelimit-remaining')) })
      const statuses: number[] = []
      const login = () => fetch(`${url}/login`, { method: 'POST' })
      for (let i = 0; i < 6; i++) statuses.push((await login()).status)
      expect(statuses).toEqual([404, 404, 404, 404, 404, 429])
      expect((await login()).headers.get('x-powered-by')).toBe(header)
    }
  })

  it('shares the limit of the example when it is on Redis', async () => {
    const examples = blocks.filter(({ language }) => language === 'js').map(({ text }) => text)
    const [example = '', , onRedis = ''] = examples
    const server = await RedisServer.start()
    // The first line replaces the example's bouncer.
    const first = onRedis.split('\n')[0] as string
    const app = example.replace(/const bouncer = .*?^\}\)$/ms, first)
    const { url } = await start(app.replace('6379', String(server.port)))
    const remaining = () => fetch(url).then(res => res.json(), String)
    await expect.poll(remaining, { timeout: 20_000 }).toEqual({ remaining: expect.any(Number) })
    const counters = async () => {
      await remaining()
      return execFileSync('redis-cli', ['-p', String(server.port), 'keys', '*:{127.0.0.1}:*'], { encoding: 'utf8' })
    }
    await expect.poll(counters, { timeout: 20_000 }).toContain('api_bouncer:sliding_window:{127.0.0.1}:default:60s')
    await server.stop()
  })

  it('operates the example from its own code', async () => {
    const [example = '', , , operating = ''] = blocks
      .filter(({ language }) => language === 'js')
      .map(({ text }) => text)
    // Subscribed first, so that what is done is told.
    const lines = operating.trim().split('\n')
    const told = [lines.at(-1), ...lines.slice(0, -1), "console.log('done')"].join('\n')
    const { app, url } = await start(`${example}\n${told}\n`)
    await app.printed('done')
    expect(app.output().stdout).toMatch(/^blocked [\s\S]*203\.0\.113\.7[\s\S]*^unblocked [\s\S]*^policy-changed /m)
    const response = await fetch(url)
    expect(response.headers.get('x-ratelimit-limit')).toBe('50')
  })

  it('has a policies file that works', () => {
    const { options } = parsePolicies(blocks.find(({ language }) => language === 'yaml')?.text as string, 'README.md')
    expect(options.policies).toHaveLength(2)
  })

  const rows = (section: string) =>
    [...(README.split(`\n## ${section}\n`)[1] ?? '').split('\n## ')[0]!.matchAll(/^\| `(\w+)` \|/gm)].map(row => row[1])

  it('lists every setting of the server', () => {
    expect(rows('Settings')).toEqual(expect.arrayContaining(SETTINGS))
    expect(SETTINGS).toEqual(expect.arrayContaining(rows('Settings')))
  })

  it('lists every option', () => {
    const keys = (file: string, name: string) => {
      const source = readFileSync(join(ROOT, 'packages/limiter/src', file), 'utf8')
      const body = source.split(new RegExp(`export interface ${name}\\b[^{]*\\{\\n`))[1]?.split('\n}')[0] as string
      return [...body.matchAll(/^ {2}(\w+)\?:/gm)].map(key => key[1])
    }
    const settings = readFileSync(join(ROOT, 'packages/limiter/src/stores/redis/settings.ts'), 'utf8')
    const schema = settings.split('redisSchema = strict({\n')[1]?.split('\n})')[0] as string
    const redis = [...schema.matchAll(/^ {2}(\w+): /gm)].map(key => key[1])
    expect(rows('Options')).toEqual([
      ...keys('options.ts', 'BouncerOptions'),
      ...redis,
      ...keys('express.ts', 'ExpressOptions'),
    ])
  })
})
