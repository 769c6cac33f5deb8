import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { COMMANDS } from '../catalog.ts'
import { BOUNCER, endAll, type RealServer, realServer, run, script, Terminal } from './real.fixture.ts'

let server: RealServer
/** A folder with an executable called `bouncer`. */
let folder: string
const env = () => ({ PATH: `${folder}:${process.env.PATH}`, HOME: process.env.HOME, ...server.env })
beforeAll(async () => {
  server = await realServer()
  await server.admin('POST', '/admin/blocks', { client: '198.51.100.7' })
  await server.admin('POST', '/admin/blocks', { client: '2001:db8:1:2::5' })
  const file = script(`exec ${BOUNCER} "$@"`)
  folder = dirname(file)
  execFileSync('mv', [file, join(folder, 'bouncer')])
})
afterAll(endAll)

const CASES: readonly (readonly [readonly string[], readonly string[]])[] = [
  [['poli'], ['policy']],
  [['policy', 'ro'], ['rollback']],
  [
    ['policy', 'get', ''],
    ['auth', 'default'],
  ],
  [['policy', 'set', 'auth', '--mo'], ['--mode']],
  [['policy', 'set', 'auth', '--mode', 's'], ['shadow']],
  [['unblock', '198'], ['198.51.100.7']],
  [['-o', 'nd'], ['ndjson']],
  [['nonsense', ''], []],
]

describe('completion', () => {
  const inBash = async (words: readonly string[]) => {
    const { stdout } = await run(['completion', 'bash'])
    const file = join(folder, 'completion.bash')
    writeFileSync(file, stdout)
    const quoted = ['bouncer', ...words].map(word => `'${word}'`).join(' ')
    const text = `source ${file}; COMP_WORDS=(${quoted}); COMP_CWORD=${words.length}; _bouncer; printf '%s\\n' "\${COMPREPLY[@]}"`
    return execFileSync('bash', ['--norc', '-c', text], { env: env(), encoding: 'utf8' }).split('\n').filter(Boolean)
  }

  it.each(CASES)('in bash, %j becomes %j', async (words, expected) => {
    expect(await inBash(words)).toEqual(expected)
  })

  it('in bash, completes what bash breaks at its colons', async () => {
    expect(await inBash(['unblock', '2001', ':', 'db8'])).toEqual(['db8:1:2::/64'])
  })

  it('knows every command', async () => {
    const { stdout } = await run(['completion', 'words', '--', ''])
    expect(
      stdout
        .split('\n')
        .filter(Boolean)
        .map(line => line.split('\t')[0]),
    ).toEqual(COMMANDS.map(({ name }) => name))
  })

  it('is silent when nobody answers', async () => {
    const words = ['completion', 'words', '--', 'policy', 'get', '']
    expect(await run(words, { BOUNCER_URL: 'http://127.0.0.1:1' })).toEqual({ code: 0, stdout: '', stderr: '' })
  })

  it('in zsh, a Tab completes commands, policies, options and clients', async () => {
    const { stdout } = await run(['completion', 'zsh'])
    const file = join(folder, 'completion.zsh')
    writeFileSync(file, `autoload -U compinit && compinit -D\nPS1='ready> '\n${stdout}`)
    const terminal = Terminal.running('zsh -f -i', env())
    terminal.keys(`source ${file}`, 'Enter')
    for (const [typed, completed] of [
      ['poli', 'policy'],
      ['policy ro', 'policy rollback'],
      ['policy get a', 'policy get auth'],
      ['policy set auth --mo', 'policy set auth --mode'],
      ['policy set auth --mode s', 'policy set auth --mode shadow'],
      ['unblock 198', 'unblock 198.51.100.7'],
      ['unblock 2001', 'unblock 2001:db8:1:2::/64'],
    ] as const) {
      await terminal.shows(/ready> *$/)
      terminal.keys(`bouncer ${typed}`, 'Tab')
      // What zsh would quote at the end of a word it may.
      await terminal.shows(new RegExp(`ready> bouncer ${completed.replace(/[:.]/g, '\\\\?\\$&')}`))
      terminal.keys('C-u')
    }
  })

  it.each(CASES)('in fish, %j becomes %j', async (words, expected) => {
    const { stdout } = await run(['completion', 'fish'])
    const text = `${stdout}\ncomplete -C 'bouncer ${words.join(' ')}'`
    const offered = execFileSync('fish', ['--no-config', '-c', text], { env: env(), encoding: 'utf8' })
    const first = (line: string) => line.split('\t')[0] as string
    // fish offers what contains the word too; and files, where nothing is known.
    expect(offered.split('\n').filter(Boolean).map(first)).toEqual(expect.arrayContaining([...expected]))
  })

  it('wants a shell that it knows', async () => {
    expect((await run(['completion'])).code).toBe(2)
    expect(await run(['completion', 'bsh'])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('did you mean bash?'),
    })
  })
})
