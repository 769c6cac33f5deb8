import type { ControlPlane, ListedBlock } from '@api-bouncer/limiter/contracts'
import { Option } from 'commander'
import { allBlocks } from '../all-blocks.ts'
import type { CommandRoom } from '../command.ts'
import { CommandError, type Context, EXIT } from '../context.ts'
import { count } from '../numbers.ts'
import { whole } from '../options.ts'
import { type Column, printRows, stylesOf, table } from '../output.ts'
import { describe } from '../problem.ts'
import { truncate } from '../text.ts'
import { clock, inTime, iso } from '../time.ts'
import { clientFilter } from '../who.ts'

const SORTS = ['until', 'since', 'client', 'offence', 'policy'] as const
type Sort = (typeof SORTS)[number]

interface Options extends Filter {
  readonly limit: number
  readonly sort: Sort
  readonly watch: number | true | undefined
}

interface Filter {
  readonly reason?: string
  readonly policy?: string
  readonly client?: string
}

export const command: CommandRoom = {
  register(program, context) {
    program
      .command('blocks')
      .description('Who is blocked, why and until when; soonest to end first')
      .option('--client <client>', 'a client, or all inside a range (203.0.113.0/24)')
      .option('--policy <id>', 'blocked for violations of this policy')
      .option('--reason <text>', 'whose reason has this text in it')
      .addOption(new Option('--sort <by>', 'what comes first').choices(SORTS).default('until', 'until'))
      .option('-n, --limit <n>', 'at most so many', whole(1, 10_000_000), 1000)
      .option('--watch [seconds]', 'draw it anew every 2 s, on a terminal', whole(1, 3600))
      .addHelpText('after', EXAMPLES)
      .action(async (options: Options, command) => {
        const of = context(command)
        if (options.client !== undefined) clientFilter(options.client)
        if (options.watch !== undefined) return watch(of, options)
        const control = await of.control()
        const { blocks, total } = await wanted(control, options)
        const empty = isFiltered(options) ? 'nobody like that is blocked' : 'nobody is blocked'
        printRows(of, blocks, columnsOf(of.now()), { empty })
        // Beside the rows: what a pipe takes for all must not be a part of it unsaid.
        if (blocks.length < total)
          of.stderr.write(`first ${blocks.length} of ${count(total, 'block')}; --limit ${total} shows all\n`)
      })
  },
}

const EXAMPLES = `
Examples
  bouncer blocks
  bouncer blocks --policy auth --sort offence
  bouncer blocks --client 203.0.113.0/24 -o ndjson | jq -r .client | bouncer unblock -
  bouncer blocks --watch`

const BY: Readonly<Record<Sort, (a: ListedBlock, b: ListedBlock) => number>> = {
  until: (a, b) => a.until - b.until,
  since: (a, b) => b.since - a.since,
  client: (a, b) => a.client.localeCompare(b.client, 'en', { numeric: true }),
  offence: (a, b) => b.offence - a.offence || a.until - b.until,
  policy: (a, b) => (a.policy ?? '').localeCompare(b.policy ?? '') || a.until - b.until,
}

const isFiltered = ({ client, policy, reason }: Filter) => (client ?? policy ?? reason) !== undefined

/** The first of those that were asked for, and how many they are. */
async function wanted(control: ControlPlane, options: Options): Promise<{ blocks: ListedBlock[]; total: number }> {
  const { limit } = options
  // The control plane tells them by their end: for what else is wanted all are looked at.
  if (options.sort === 'until' && !isFiltered(options)) return allBlocks(control, limit)
  const blocks = selected((await allBlocks(control)).blocks, options)
  return { blocks: blocks.slice(0, limit), total: blocks.length }
}

/** Those that were asked for, in the order asked for. */
export function selected(
  blocks: readonly ListedBlock[],
  { client, policy, reason, sort }: Filter & { sort: Sort },
): ListedBlock[] {
  const isMeant = client === undefined ? undefined : clientFilter(client)
  return blocks
    .filter(
      block =>
        (isMeant?.(block.client) ?? true) &&
        (policy === undefined || block.policy === policy) &&
        (reason === undefined || block.reason.toLowerCase().includes(reason.toLowerCase())),
    )
    .sort(BY[sort])
}

export const columnsOf = (now: number): Column<ListedBlock>[] => [
  { name: 'client', value: ({ client }) => client },
  {
    name: 'left',
    csv: 'left_ms',
    value: ({ until }) => Math.max(0, until - now),
    text: ({ until }) => inTime(until - now).slice(3),
  },
  { name: 'until', value: ({ until }) => iso(until), text: ({ until }) => clock(until, now) },
  { name: 'since', value: ({ since }) => iso(since), text: ({ since }) => clock(since, now), cut: 6 },
  { name: 'offence', value: ({ offence }) => offence, align: 'right', cut: 7 },
  { name: 'policy', value: ({ policy }) => policy, cut: 4 },
  { name: 'by', value: ({ by }) => by, cut: 5 },
  {
    name: 'reason',
    value: ({ reason }) => reason,
    text: ({ reason, allowlisted }) => (allowlisted ? `let in by the allowlist (${allowlisted}): ${reason}` : reason),
    cut: 2,
  },
  { name: 'allowlisted', value: ({ allowlisted }) => allowlisted, csvOnly: true },
]

async function watch(of: Context, options: Options): Promise<void> {
  const { stdout } = of
  if (!stdout.isTTY || of.options.output !== 'human') {
    throw new CommandError(EXIT.usage, '--watch draws on a terminal; for scripts: bouncer events --follow')
  }
  const control = await of.control()
  const everyMs = (options.watch === true || options.watch === undefined ? 2 : options.watch) * 1000
  const restore = () => stdout.write('\x1b[?25h')
  of.onInterrupt(restore)
  stdout.write('\x1b[?25l\x1b[2J')
  try {
    for (let first = true; ; first = false) {
      const found = await wanted(control, options).catch(error => {
        if (first) throw error
        return describe(error).lines.join(' ')
      })
      draw(of, found)
      await new Promise(resolve => setTimeout(resolve, everyMs))
    }
  } finally {
    restore()
  }
}

/** One screen: each line is written over the old one, so that nothing flickers. */
function draw(of: Context, found: { blocks: ListedBlock[]; total: number } | string): void {
  const { stdout } = of
  const { columns = 80, rows = 24 } = stdout
  const now = of.now()
  if (typeof found === 'string') {
    stdout.write(`\x1b[H${truncate(found, columns)}\x1b[K`)
    return
  }
  const { blocks, total } = found
  const fitting = blocks.slice(0, Math.max(1, rows - 4))
  const hidden = total - fitting.length
  const lines = [
    truncate(`${count(total, 'block')} at ${clock(now, now)} · Ctrl-C ends`, columns),
    '',
    ...(blocks.length > 0 ? table(fitting, columnsOf(now), stylesOf(of, stdout), columns).trimEnd().split('\n') : []),
    ...(hidden > 0 ? [`… and ${hidden} more`] : []),
  ]
  stdout.write(`\x1b[H${lines.map(line => `${line}\x1b[K`).join('\n')}\x1b[J`)
}
