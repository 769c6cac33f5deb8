import { formatRemaining } from '@api-bouncer/limiter/client'
import type { ControlPlane, UnblockResult } from '@api-bouncer/limiter/contracts'
import { allBlocks } from '../all-blocks.ts'
import type { CommandRoom } from '../command.ts'
import { CommandError, type Context, EXIT } from '../context.ts'
import { each } from '../each.ts'
import { count, seenByText } from '../numbers.ts'
import { dryRun, duration } from '../options.ts'
import { type Column, printerOf, printRows } from '../output.ts'
import { confirm } from '../prompt.ts'
import { safe, width } from '../text.ts'
import { iso } from '../time.ts'
import { isPart, isRange, type Range, rangeOf, refuseSlips, wordsOf } from '../who.ts'

export const command: CommandRoom = {
  register(program, context) {
    dryRun(
      program
        .command('unblock')
        .description(
          'Let clients back in, everywhere: lifts the block, clears violations and counters, says what it lifted',
        )
        .argument('<clients...>', 'addresses, client ids, or ranges (all blocked inside); - reads them from stdin')
        .option('--keep-counters', 'leave what is used of their limits', false)
        .option('--grace <duration>', 'they cannot be blocked again for violations during this time', duration)
        .option('--reason <text>', 'why, for the audit'),
    )
      .addHelpText('after', EXAMPLES)
      .action(async (given: string[], options: Options, command) => {
        const of = context(command)
        const words = await wordsOf(given, of)
        if (words.length === 0) throw new CommandError(EXIT.usage, 'unblock whom? stdin named nobody')
        refuseSlips(words)
        const control = await of.control()
        const clients = await clientsOf(of, control, words, options)
        if (clients.length === 0) return printRows(of, [], columnsOf, {})
        const longest = Math.min(LONGEST, Math.max(...clients.map(width)))
        const print = printerOf(of, (one: Done) => doneText([one], of.now(), longest))
        const act = (client: string) =>
          options.dryRun ? rehearsal(control, client, options) : lift(control, client, options, of.actor)
        const { done, end } = await each(of, clients, act, print)
        if (!print) printRows(of, done, columnsOf)
        end()
      })
  },
}

const EXAMPLES = `
Examples
  bouncer unblock 1.2.3.4
  bouncer unblock 1.2.3.4 --grace 30m --reason 'their client is fixed'
  bouncer unblock 203.0.113.0/24         every blocked client inside, after a yes
  bouncer blocks --policy auth -o ndjson | jq -r .client | bouncer unblock -`

interface Options {
  readonly keepCounters: boolean
  readonly grace?: string
  readonly reason?: string
  readonly dryRun: boolean
}

type Done = UnblockResult & { readonly dryRun?: true; readonly grace?: string }

/** The clients that the words name; a range stands for all that are blocked inside it, after a yes. */
async function clientsOf(
  of: Context,
  control: ControlPlane,
  words: readonly string[],
  { dryRun }: Options,
): Promise<string[]> {
  // Only what has a slash may be a range, and only then the width of a network matters.
  if (!words.some(word => word.includes('/'))) return [...words]
  const { ipv6Prefix } = (await control.state()).settings
  const part = words.find(word => isPart(word, ipv6Prefix))
  if (part !== undefined) {
    const whole = `${part.split('/')[0]}/${ipv6Prefix}`
    throw new CommandError(EXIT.usage, `"${part}" is a part of one client, ${whole}; nobody was unblocked. Name that`)
  }
  const isMany = (word: string) => isRange(word, ipv6Prefix)
  const ranges = words.filter(isMany).map(word => rangeOf(word) as Range)
  if (ranges.length === 0) return [...words]
  const { blocks } = await allBlocks(control)
  const inside = blocks.map(({ client }) => client).filter(client => ranges.some(({ holds }) => holds(client)))
  const named = words.filter(word => !isMany(word))
  const where = ranges.map(({ cidr }) => cidr).join(', ')
  if (inside.length === 0) {
    if (of.options.output === 'human') of.stdout.write(`nobody in ${where} is blocked\n`)
    return named
  }
  const some = inside.slice(0, 5).join(', ')
  const rest = inside.length > 5 ? ` and ${inside.length - 5} more` : ''
  const asked = `unblock ${count(inside.length, 'client')} in ${where} (${some}${rest})?`
  if (!dryRun && !(await confirm(of, asked))) throw new CommandError(EXIT.failed, 'nothing was unblocked')
  return [...new Set([...named, ...inside])]
}

const lift = async (
  control: ControlPlane,
  client: string,
  { keepCounters, grace, reason }: Options,
  actor: Parameters<ControlPlane['unblock']>[2],
): Promise<Done> => {
  const given = grace === undefined ? {} : { grace }
  const result = await control.unblock(
    client,
    { keepCounters, ...given, ...(reason !== undefined && { reason }) },
    actor,
  )
  return { ...result, ...given }
}

/** What there is to lift. */
async function rehearsal(control: ControlPlane, typed: string, { keepCounters, grace }: Options): Promise<Done> {
  const { client, block, violations, usage } = await control.client(typed)
  const used = usage.filter(({ limits }) => limits.some(({ limit, remaining }) => remaining < limit))
  return {
    client,
    wasBlocked: block !== undefined,
    ...(block && { block }),
    violations: Object.values(violations).flat().length,
    counters: keepCounters ? [] : used.map(({ policy }) => policy),
    ...(grace !== undefined && { grace }),
    dryRun: true,
  }
}

/** `block (12m 58s left) · 5 violations · counters of auth, default`. */
export function liftedText({ block, violations, counters }: Done, now: number): string {
  const parts = [
    ...(block ? [`block (${formatRemaining(block.until - now)} left)`] : []),
    ...(violations > 0 ? [count(violations, 'violation')] : []),
    ...(counters.length > 0 ? [`counters of ${counters.map(safe).join(', ')}`] : []),
  ]
  return parts.length > 0 ? parts.join(' · ') : 'nothing'
}

/** Names of up to so many characters stand in a column. */
const LONGEST = 40

/** `longest`: how wide the names are that stand one above the other. */
export function doneText(
  done: readonly Done[],
  now: number,
  longest = Math.max(0, ...done.filter(one => one.wasBlocked).map(({ client }) => width(client))),
): string {
  const heads = done.map(({ client, wasBlocked, dryRun }) => {
    if (!wasBlocked) return `${safe(client)} ${dryRun ? 'is' : 'was'} not blocked;`
    return `${dryRun ? 'would unblock' : 'unblocked'} ${safe(client)}  `
  })
  return done
    .map((one, i) => {
      const head = heads[i] as string
      const verb = one.wasBlocked ? (one.dryRun ? 'lifting' : 'lifted') : one.dryRun ? 'it would clear' : 'cleared'
      const space = one.wasBlocked ? ' '.repeat(Math.max(0, longest - width(safe(one.client)))) : ''
      const { seenBy } = one
      const seen = seenBy && one.wasBlocked ? `   ${seenByText(seenBy)}` : ''
      const late = seenBy && seenBy.seen < seenBy.of ? ' (the rest within seconds, or they are gone)' : ''
      const grace = one.grace === undefined ? '' : ` · no block for violations for ${one.grace}`
      return `${head}${space} ${verb}: ${liftedText(one, now)}${grace}${seen}${seen && late}\n`
    })
    .join('')
}

const columnsOf: Column<Done>[] = [
  { name: 'client', value: ({ client }) => client },
  { name: 'was_blocked', value: ({ wasBlocked }) => wasBlocked },
  { name: 'until', value: ({ block }) => iso(block?.until) },
  { name: 'violations', value: ({ violations }) => violations },
  { name: 'counters', value: ({ counters }) => counters.join(' ') },
  { name: 'seen_by', value: ({ seenBy }) => seenBy?.seen },
  { name: 'instances', value: ({ seenBy }) => seenBy?.of },
]
