import type { ControlPlane } from '@api-bouncer/limiter/contracts'
import { Command, Option } from 'commander'
import { describe, expect, it } from 'vitest'
import { candidatesFor } from './candidates.ts'

function program(): Command {
  const root = new Command('bouncer').option('--url <url>', '').option('--yes', '')
  root.addOption(new Option('-o, --output <format>', '').choices(['human', 'json']))
  const policy = root.command('policy')
  policy.command('get').argument('<id>').option('-f, --file <file>', '')
  policy.command('rm').argument('<ids...>')
  policy.command('hidden', { hidden: true })
  policy.command('set').argument('<id>').option('--mode <mode>', '')
  const completion = root.command('completion').argument('[shell]')
  completion.command('words', { hidden: true })
  root.command('unblock').argument('<client...>').option('--keep-counters', '')
  root.command('inspect').argument('<client>')
  return root
}

const plane = {
  state: async () => ({ policies: ['auth', 'default'].map(id => ({ policy: { id, mode: 'enforce' }, version: 1 })) }),
  blocks: async () => ({ blocks: [{ client: '1.2.3.4', reason: 'manual' }], total: 1 }),
  clients: async () => [
    { client: '1.2.3.4', state: 'blocked' },
    { client: '9.9.9.9', state: 'ok' },
  ],
} as unknown as ControlPlane

const complete = async (typed: string) => {
  const words = typed.split(' ')
  const found = await candidatesFor({ words, program: async () => program(), control: async () => plane })
  return found.map(({ value }) => value)
}

describe('what a word may become', () => {
  it.each([
    ['po', ['policy']],
    ['un', ['unblock']],
    ['--u', ['--url']],
    ['policy ', ['get', 'rm', 'set']],
    ['policy set auth --mode s', ['shadow']],
    ['completion ', ['bash', 'zsh', 'fish']],
    ['--yes policy g', ['get']],
    ['--url http://x policy g', ['get']],
    ['policy get ', ['auth', 'default']],
    ['policy get a', ['auth']],
    ['policy get --fi', ['--file']],
    ['policy get -f ', [':files']],
    ['policy get auth ', []],
    ['policy get -o ', ['human', 'json']],
    ['policy get --output=j', ['--output=json']],
    ['unblock ', ['1.2.3.4']],
    ['unblock 1.2.3.4 ', []],
    ['inspect ', ['1.2.3.4', '9.9.9.9']],
    ['unblock --keep-counters 1', ['1.2.3.4']],
    ['nonsense ', []],
  ])('%j', async (typed, expected) => {
    expect(await complete(typed)).toEqual(expected)
  })
})
