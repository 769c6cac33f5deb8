import { describe, expect, it } from 'vitest'
import { COMMANDS } from './catalog.ts'
import { runHere } from './cli.fixture.ts'
import { commandOf } from './run.ts'

describe('a wrong word', () => {
  it.each([
    [['blok'], 'bouncer: unknown command "blok"; did you mean block?\n'],
    [['frobnicate'], 'bouncer: unknown command "frobnicate" (--help shows what there is)\n'],
    [['unblock', '1.2.3.4', '--grase', '5m'], 'bouncer: unknown option "--grase"; did you mean --grace?\n'],
    [['deny', 'ad', '1.2.3.4'], 'bouncer: unknown command "ad"; did you mean add?\n'],
    [['allow'], 'bouncer: allow needs one of: add, rm, list, check (--help shows how)\n'],
    [['--yes'], 'bouncer: which command? bouncer --help lists them\n'],
    [['inspect'], 'bouncer: missing required argument "client" (--help shows what there is)\n'],
    [['status', '-o', 'yaml'], /^bouncer: option "-o.*" argument "yaml" is invalid.*human, json, ndjson, csv/],
    [['clients', '--limit', '0'], /^bouncer: .*whole number from 1 to 500/],
    [['block', '1.2.3.4', '--for', 'a while'], /^bouncer: .*It takes a duration: 90s, 15m, 4h, 7d/],
    [
      ['unblock', '1.2.3.400'],
      'bouncer: "1.2.3.400" is not an IP address, a CIDR range or a client id (try: bouncer blocks)\n',
    ],
    [['block', '1.1.1.1', '1.2.3.0/33'], /^bouncer: "1.2.3.0\/33" is not an IP address/],
    [['deny', 'add', '10.0.0.0/40'], /^bouncer: "10.0.0.0\/40" is not an IP address or a CIDR range/],
    [['explain', '1.2.3.4', 'GET', 'x'], 'bouncer: a request is METHOD PATH, as in POST /auth/login\n'],
    [['status', '--url', 'nonsense'], /^bouncer: "nonsense" is not the URL of a control plane/],
    [['status', '--url', 'http://ann:secret@127.0.0.1'], /^bouncer: the URL has a secret in it/],
    [['status', '--redis', 'redis://:secret@127.0.0.1'], /^bouncer: a password on a command line/],
    [['status', '--redis', 'redis://h', '--url', 'http://h'], /^bouncer: --url and --redis are two ways/],
    [['status', '--token-file', '/nowhere'], /^bouncer: --token-file: cannot read \/nowhere \(ENOENT\)/],
  ])('%j exits with 2 and says what was meant', async (args, says) => {
    const { code, out, err } = await runHere(args)
    expect({ code, out }).toEqual({ code: 2, out: '' })
    expect(err).toMatch(says)
    expect(err).not.toContain('secret@')
    expect(err.trimEnd().split('\n').length).toBeLessThanOrEqual(2)
  })
})

describe('help', () => {
  const words = (name: string) => COMMANDS.find(entry => entry.name === name)?.usage.split(' ')[0]

  it.each(COMMANDS.map(({ name }) => name))('of %s ends with examples', async name => {
    const { code, out, err } = await runHere([name, '--help'])
    expect({ code, err }).toEqual({ code: 0, err: '' })
    expect(out).toContain(`Usage: bouncer ${words(name)}`)
    expect(out).toMatch(new RegExp(`Examples[\\s\\S]*bouncer ${name}`))
    expect((await runHere(['help', name])).out).toBe(out)
  })
})

describe('the command', () => {
  it.each([
    [['status'], 'status'],
    [['-o', 'json', 'status'], 'status'],
    [['--url', 'http://x', '--yes', 'blocks', '--client', 'top'], 'blocks'],
    [['--url=http://x', 'keys'], 'keys'],
    [['--help'], undefined],
  ])('in %j is %s', (argv, name) => {
    expect(commandOf(argv)).toBe(name)
  })
})
