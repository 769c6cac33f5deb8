import { formatRemaining } from '@api-bouncer/limiter/client'
import type { ControlPlane, KeyInfo, KeyPage } from '@api-bouncer/limiter/contracts'
import type { CommandRoom } from '../command.ts'
import { count } from '../numbers.ts'
import { whole } from '../options.ts'
import { type Column, printRows } from '../output.ts'
import { bytesText } from './key.ts'

export const command: CommandRoom = {
  register(program, context) {
    program
      .command('keys')
      .description('What is stored, in words; a page at a time, and never a burden to Redis')
      .argument('[pattern]', 'part of a name (1.2.3.4), or a glob over all of it (*:block:*)')
      .option('--cursor <cursor>', 'go on from where a page ended', '0')
      .option('-n, --limit <n>', 'about so many a page (1 to 1000)', whole(1, 1000), 100)
      .option('--all', 'page after page, at most --max keys', false)
      .option('--max <n>', 'the bound of --all', whole(1, 1_000_000), 10_000)
      .addHelpText('after', EXAMPLES)
      .action(async (pattern: string | undefined, options: Options, command) => {
        const of = context(command)
        const control = await of.control()
        const match = matchOf(pattern)
        const page = await read(control, match, options)
        printRows(of, page.keys, COLUMNS, { json: page, empty: nothing(pattern, page) })
        if (page.cursor === '0' || of.options.output === 'json') return
        const again = [...(pattern === undefined ? [] : [`'${pattern}'`]), `--cursor ${page.cursor}`].join(' ')
        of.stderr.write(`${count(page.keys.length, 'key')} so far; more: bouncer keys ${again}\n`)
      })
  },
}

const EXAMPLES = `
Examples
  bouncer keys
  bouncer keys 1.2.3.4
  bouncer keys '*:block:*' -o csv
  bouncer keys --all --max 5000 -o ndjson | jq -r .key`

interface Options {
  readonly cursor: string
  readonly limit: number
  readonly all: boolean
  readonly max: number
}

/** What has no sign of a glob is looked for anywhere in a name. */
export const matchOf = (pattern: string | undefined): string =>
  pattern === undefined ? '*' : /[*?[]/.test(pattern) ? pattern : `*${pattern}*`

const nothing = (pattern: string | undefined, { cursor }: KeyPage) =>
  cursor === '0' ? (pattern === undefined ? 'nothing is stored' : `no key like ${pattern}`) : 'none on this page'

async function read(control: ControlPlane, match: string, { cursor, limit, all, max }: Options): Promise<KeyPage> {
  let page = await control.keys({ match, cursor, limit })
  const keys = [...page.keys]
  while (all && page.cursor !== '0' && keys.length < max) {
    page = await control.keys({ match, cursor: page.cursor, limit: 1000 })
    keys.push(...page.keys)
  }
  return { keys, cursor: page.cursor }
}

const COLUMNS: Column<KeyInfo>[] = [
  { name: 'key', value: ({ key }) => key },
  { name: 'type', value: ({ type }) => type, cut: 3 },
  {
    name: 'ttl',
    csv: 'ttl_ms',
    value: ({ ttlMs }) => ttlMs,
    text: ({ type, ttlMs }) => (ttlMs !== undefined ? formatRemaining(ttlMs) : type === 'memory' ? '' : 'for good'),
    align: 'right',
  },
  { name: 'memory', csv: 'bytes', value: ({ bytes }) => bytes, text: ({ bytes }) => bytesText(bytes), align: 'right' },
  { name: 'what', value: ({ words }) => words, cut: 4 },
]
