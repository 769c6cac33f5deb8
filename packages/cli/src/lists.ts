import type { ControlPlane, ListEntry, ListName } from '@api-bouncer/limiter/contracts'
import type { CommandRoom } from './command.ts'
import { CommandError, type Context, EXIT } from './context.ts'
import { each } from './each.ts'
import { seenByText } from './numbers.ts'
import { dryRun, duration } from './options.ts'
import { type Column, printOne, printRows } from './output.ts'
import { ownIn } from './policy/own-address.ts'
import { confirm } from './prompt.ts'
import { safe } from './text.ts'
import { clock, exact, iso } from './time.ts'
import { isSameRange, prefixOf, rangeOf, wordsOf } from './who.ts'

const SAYS = {
  allow: {
    what: 'the allowlist',
    effect: 'never limited nor refused; it wins over blocks and the denylist',
    verb: 'exempts',
  },
  deny: { what: 'the denylist', effect: 'always refused (403), unless the allowlist has them', verb: 'refuses' },
} as const

/** Narrower than these (IPv4, IPv6) a range is ordinary; wider it may be half the internet. */
const WIDE = { 32: 8, 128: 20 } as const

/** `bouncer allow` and `bouncer deny`: the same, for two lists. */
export const listCommand = (list: ListName): CommandRoom => ({
  register(program, contextOf) {
    const { what, effect } = SAYS[list]
    const parent = program
      .command(list)
      .description(`Address ranges on ${what}: ${effect}`)
      .addHelpText('afterAll', examples(list))

    dryRun(
      parent
        .command('add')
        .description(`Put ranges on ${what}; one that is there gets the new comment and time`)
        .argument('<cidrs...>', 'addresses or ranges; - reads them from stdin')
        .option('--for <duration>', 'it leaves the list by itself after this time', duration)
        .option('--comment <text>', 'why, for who looks later'),
    ).action(async (given: string[], options: AddOptions, command) => add(contextOf(command), list, given, options))

    dryRun(
      parent
        .command('rm')
        .description(`Take ranges off ${what}`)
        .argument('<cidrs...>', 'ranges exactly as they are listed; - reads them from stdin'),
    ).action(async (given: string[], options: { dryRun: boolean }, command) =>
      remove(contextOf(command), list, given, options.dryRun),
    )

    parent
      .command('list')
      .description(`What is on ${what}`)
      .action(async (_, command) => {
        const of = contextOf(command)
        const { lists } = await (await of.control()).state()
        const now = of.now()
        const entries = lists.filter(entry => entry.list === list && !isOver(entry, now))
        printRows(of, entries, columnsOf(now), { empty: `${what} is empty` })
      })

    parent
      .command('check')
      .description(`Which ranges hold an address, and which list wins; ends with 3 when the ${list}list has none`)
      .argument('<address>', 'an address, or a range that should lie within one')
      .action(async (address: string, _, command) => {
        const of = contextOf(command)
        refuseNoRanges([address])
        const { lists } = await (await of.control()).state()
        const checked = checkLists(lists, address, of.now())
        printOne(of, checked, () => checkText(checked, of.now()), {
          rows: checked.entries,
          columns: columnsOf(of.now()),
        })
        // So that a script can ask: it is not on this list.
        if (!checked.entries.some(entry => entry.list === list)) throw new CommandError(EXIT.notFound, '')
      })
  },
})

const examples = (list: ListName) => `
Examples
  bouncer ${list} add 203.0.113.0/24 --for 7d --comment ${list === 'allow' ? "'our own probes'" : "'botnet, ticket 812'"}
  bouncer ${list} list -o csv
  bouncer ${list} check 203.0.113.7
  bouncer ${list} rm 203.0.113.0/24`

interface AddOptions {
  readonly for?: string
  readonly comment?: string
  readonly dryRun: boolean
}

const isOver = ({ expiresAt }: ListEntry, now: number) => expiresAt !== undefined && expiresAt <= now

function refuseNoRanges(cidrs: readonly string[]): void {
  const wrong = cidrs.find(cidr => !rangeOf(cidr))
  if (wrong === undefined) return
  throw new CommandError(
    EXIT.usage,
    `"${wrong}" is not an IP address or a CIDR range; write 1.2.3.4, 10.0.0.0/8 or 2001:db8::/32`,
  )
}

const isWide = (cidr: string) => {
  const prefix = prefixOf(cidr)
  return prefix !== undefined && prefix.bits < WIDE[prefix.of as keyof typeof WIDE]
}

async function ranges(of: Context, given: readonly string[]): Promise<string[]> {
  const cidrs = await wordsOf(given, of)
  if (cidrs.length === 0) throw new CommandError(EXIT.usage, 'which ranges? stdin named none')
  refuseNoRanges(cidrs)
  return cidrs
}

async function add(of: Context, list: ListName, given: readonly string[], options: AddOptions): Promise<void> {
  const cidrs = await ranges(of, given)
  const wide = cidrs.filter(isWide)
  const { what, verb } = SAYS[list]
  const own = list === 'deny' ? ownIn(cidrs, of.env) : []
  const doubts = [
    ...(wide.length > 0 ? [`${wide.join(', ')} is a very wide range; ${what} ${verb} all of it`] : []),
    ...own.map(one => `${one}: it would be refused too`),
  ]
  if (doubts.length > 0 && !options.dryRun && !(await confirm(of, `${doubts.join('; ')}. Add it?`))) {
    throw new CommandError(EXIT.failed, 'nothing was added')
  }
  const control = await of.control()
  const now = of.now()
  const before = (await control.state()).lists.filter(entry => entry.list === list && !isOver(entry, now))
  const replacedBy = (cidr: string) => before.find(one => isSameRange(one.cidr, cidr))
  if (options.dryRun) {
    const { parseCidr } = await import('@api-bouncer/limiter/rules')
    const rehearsed = cidrs.map(given => ({
      given,
      made: { list, cidr: parseCidr(given).cidr, dryRun: true, replaces: replacedBy(given) },
    }))
    if (of.options.output !== 'human') {
      const rows = rehearsed.map(({ made }) => made)
      return printRows(of, rows, [{ name: 'cidr', value: ({ cidr }) => cidr }])
    }
    for (const { given, made } of rehearsed) {
      const instead = made.replaces ? replacedText(made.replaces, now) : ''
      of.stdout.write(`would put ${made.cidr}${becameText(made.cidr, given)} on ${what}${instead}\n`)
    }
    return
  }
  const { for: time, comment } = options
  const entry = { ...(time !== undefined && { for: time }), ...(comment !== undefined && { comment }) }
  const typed = new Map<string, string>()
  const {
    done: added,
    lost,
    end,
  } = await each(of, cidrs, async cidr => {
    const made = await control.putListEntry(list, cidr, entry, of.actor)
    typed.set(made.cidr, cidr)
    return made
  })
  if (of.options.output !== 'human') {
    printRows(of, added, columnsOf(of.now()))
    return end()
  }
  const seen = added.length > 0 && !lost ? await seenText(control) : ''
  for (const one of added) {
    const until = one.expiresAt === undefined ? '' : ` until ${exact(one.expiresAt, of.now())}`
    const became = becameText(one.cidr, typed.get(one.cidr))
    const replaced = replacedBy(one.cidr)
    const instead = replaced ? replacedText(replaced, now) : ''
    of.stdout.write(`${one.cidr}${became} is on ${what}${until}${instead}   ${seen}\n`)
  }
  end()
}

const becameText = (cidr: string, given = cidr) => (given === cidr ? '' : ` (that is the range of ${given})`)

/** `, in place of an entry until 14:18:11 (in 13m 02s): botnet`. */
const replacedText = ({ expiresAt, comment }: ListEntry, now: number) =>
  `, in place of an entry ${expiresAt === undefined ? 'for good' : `until ${exact(expiresAt, now)}`}${comment === undefined ? '' : `: ${safe(comment)}`}`

async function remove(of: Context, list: ListName, given: readonly string[], rehearse: boolean): Promise<void> {
  const cidrs = await ranges(of, given)
  const control = await of.control()
  const { what } = SAYS[list]
  if (rehearse) {
    const entries = (await control.state()).lists.filter(entry => entry.list === list)
    const found = cidrs.map(cidr => ({ list, cidr, dryRun: true, listed: entries.some(entry => entry.cidr === cidr) }))
    if (of.options.output !== 'human') return printRows(of, found, [{ name: 'cidr', value: ({ cidr }) => cidr }])
    for (const { cidr, listed } of found) {
      of.stdout.write(listed ? `would take ${cidr} off ${what}\n` : `${cidr} is not on ${what}\n`)
    }
    return
  }
  const {
    done: removed,
    lost,
    end,
  } = await each(of, cidrs, async cidr => {
    await control.deleteListEntry(list, cidr, of.actor)
    return { list, cidr, removed: true }
  })
  if (of.options.output !== 'human') {
    printRows(of, removed, [{ name: 'cidr', value: ({ cidr }) => cidr }])
    return end()
  }
  const seen = removed.length > 0 && !lost ? await seenText(control) : ''
  for (const { cidr } of removed) of.stdout.write(`${cidr} is off ${what}   ${seen}\n`)
  end()
}

/** The proof that a change has arrived. */
async function seenText(control: ControlPlane): Promise<string> {
  const { epoch } = await control.state()
  return seenByText(await control.seenBy(epoch))
}

export interface Checked {
  readonly address: string
  /** `none`: neither list has it. */
  readonly wins: ListName | 'none'
  /** All that hold it, the narrowest first. */
  readonly entries: readonly ListEntry[]
}

/** Which entries hold an address, and which list has the last word. */
export function checkLists(lists: readonly ListEntry[], address: string, now: number): Checked {
  const bits = ({ cidr }: ListEntry) => prefixOf(cidr)?.bits ?? 0
  const entries = lists
    .filter(entry => !isOver(entry, now) && rangeOf(entry.cidr)?.holds(address))
    .sort((a, b) => bits(b) - bits(a) || a.list.localeCompare(b.list))
  const has = (list: ListName) => entries.some(entry => entry.list === list)
  return { address, wins: has('allow') ? 'allow' : has('deny') ? 'deny' : 'none', entries }
}

export function checkText({ address, wins, entries }: Checked, now: number): string {
  const both = wins === 'allow' && entries.some(({ list }) => list === 'deny')
  const head = {
    allow: `never limited: the allowlist has it${both ? ', and wins over the denylist' : ''}`,
    deny: 'always refused: the denylist has it',
    none: 'on neither the allowlist nor the denylist',
  }[wins]
  const lines = entries.map(({ list, cidr, comment, expiresAt, addedAt, addedBy }) => {
    const until = expiresAt === undefined ? 'for good' : `until ${exact(expiresAt, now)}`
    return `  ${list.padEnd(5)}  ${cidr}  ${until}, added at ${clock(addedAt, now)} by ${safe(addedBy)}${comment ? `: ${safe(comment)}` : ''}`
  })
  return `${[`${safe(address)}   ${head}`, ...lines].join('\n')}\n`
}

const columnsOf = (now: number): Column<ListEntry>[] => [
  { name: 'list', value: ({ list }) => list, csvOnly: true },
  { name: 'range', csv: 'cidr', value: ({ cidr }) => cidr },
  {
    name: 'until',
    value: ({ expiresAt }) => iso(expiresAt),
    text: ({ expiresAt }) => (expiresAt === undefined ? 'for good' : exact(expiresAt, now)),
    cut: 2,
  },
  { name: 'added', value: ({ addedAt }) => iso(addedAt), text: ({ addedAt }) => clock(addedAt, now), cut: 4 },
  { name: 'by', value: ({ addedBy }) => addedBy, cut: 3 },
  { name: 'comment', value: ({ comment }) => comment, cut: 5 },
]
