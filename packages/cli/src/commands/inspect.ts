import type { ClientDetail, Usage } from '@api-bouncer/limiter/contracts'
import type { CommandRoom } from '../command.ts'
import { count } from '../numbers.ts'
import { type Column, columnsOf as fitOf, printOne, type Styles, table } from '../output.ts'
import { safe } from '../text.ts'
import { ago, exact, inTime } from '../time.ts'
import { offenceText, rateText, refusalLines } from '../usage.ts'
import { refuseSlips } from '../who.ts'

export const command: CommandRoom = {
  register(program, context) {
    program
      .command('inspect')
      .description('All that is known of one client: block, counters, violations, last refusals, lists')
      .argument('<client>', 'an IPv4 or IPv6 address (its network is found), or any client id')
      .addHelpText('after', EXAMPLES)
      .action(async (client: string, _, command) => {
        const of = context(command)
        refuseSlips([client])
        const detail = await (await of.control()).client(client)
        const cells = { rows: rowsOf(detail), columns: COLUMNS }
        printOne(of, detail, styles => detailText(detail, styles, fitOf(of.stdout)), cells)
      })
  },
}

const EXAMPLES = `
Examples
  bouncer inspect 1.2.3.4
  bouncer inspect 2001:db8::1            counted by its /64
  bouncer inspect 1.2.3.4 -o json | jq .violations
  bouncer inspect 1.2.3.4 -o csv         its counters, one a line`

interface Counter extends Pick<Usage, 'policy' | 'mode' | 'algorithm'> {
  readonly client: string
  readonly verdict: Usage['limits'][number]
}

const rowsOf = ({ client, usage }: ClientDetail): Counter[] =>
  usage.flatMap(({ policy, mode, algorithm, limits }) =>
    limits.map(verdict => ({ client, policy, mode, algorithm, verdict })),
  )

const usedUp = ({ mode, verdict }: Counter) => mode === 'enforce' && verdict.remaining === 0

const COLUMNS: Column<Counter>[] = [
  { name: 'client', value: ({ client }) => client, csvOnly: true },
  {
    name: 'policy',
    value: ({ policy }) => policy,
    text: ({ policy, mode }) => (mode === 'shadow' ? `${policy} (shadow)` : policy),
  },
  { name: 'mode', value: ({ mode }) => mode, csvOnly: true },
  {
    name: 'limit',
    value: ({ verdict }) => verdict.limit,
    text: ({ verdict }) => rateText(verdict),
  },
  { name: 'window_ms', value: ({ verdict }) => verdict.windowMs, csvOnly: true },
  {
    name: 'used',
    value: ({ verdict }) => verdict.limit - verdict.remaining,
    align: 'right',
    style: (row, { warn }) => (usedUp(row) ? warn : text => text),
  },
  { name: 'left', value: ({ verdict }) => verdict.remaining, align: 'right' },
  {
    name: 'next unit',
    csv: 'next_unit_ms',
    value: ({ verdict }) => verdict.resetAfterMs,
    text: ({ verdict }) => (verdict.resetAfterMs === 0 ? '' : inTime(verdict.resetAfterMs)),
  },
  { name: 'algorithm', value: ({ algorithm }) => algorithm, cut: 3 },
]

/** Whether anything at all is kept about the client. */
const isKnown = (detail: ClientDetail) =>
  detail.refusals.length + detail.offences + Object.values(detail.violations).flat().length > 0 ||
  rowsOf(detail).some(({ verdict }) => verdict.remaining < verdict.limit)

/** How it stands, first. */
function standing(detail: ClientDetail, { good, warn, bad }: Styles): string {
  const { allowlisted, denylisted, block, at } = detail
  if (allowlisted) return good(`never limited: on the allowlist (${allowlisted})`)
  if (denylisted) return bad(`always refused: on the denylist (${denylisted})`)
  if (block) return bad(`blocked until ${exact(block.until, at)}${offenceText(block)}`)
  const full = [
    ...new Set(
      rowsOf(detail)
        .filter(usedUp)
        .map(({ policy }) => policy),
    ),
  ]
  if (full.length > 0) return warn(`limited by ${full.join(', ')}`)
  return good(isKnown(detail) ? 'let in' : 'let in; nothing is known of it but that')
}

export function detailText(detail: ClientDetail, styles: Styles, fit?: number): string {
  const { client, at, block, allowlisted, refusals, offences, graceUntil } = detail
  const facts: [string, string][] = []
  if (block) {
    const evidence = `${safe(block.reason)}${block.policy ? `, the last of them of ${safe(block.policy)}` : ''}`
    const held = allowlisted ? ' (the allowlist wins over it)' : ''
    facts.push(['block', `${evidence}; set at ${exact(block.since, at)} by ${safe(block.by)}${held}`])
  }
  for (const [scope, times] of Object.entries(detail.violations)) {
    if (times.length === 0) continue
    const newest = Math.max(...times)
    const counted = scope === '' ? '' : ` of ${safe(scope)}, counted apart`
    facts.push(['violations', `${times.length}${counted}, the newest at ${exact(newest, at)}`])
  }
  if (offences > 0 && !block) facts.push(['offences', `${count(offences, 'block')} lately; the next may be longer`])
  if (graceUntil !== undefined && graceUntil > at) {
    facts.push(['grace', `not blocked for violations until ${exact(graceUntil, at)}`])
  }
  const lines = [
    `${styles.bold(safe(client))}   ${standing(detail, styles)}`,
    ...facts.map(([name, says]) => `  ${name.padEnd(10)}  ${says}`),
    '',
    table(rowsOf(detail), COLUMNS, styles, fit).trimEnd(),
    '',
    refusals[0] ? `last refusals, the newest ${ago(at - refusals[0].at)}` : 'no refusal is remembered',
    ...refusalLines(refusals, at).map(line => `  ${line}`),
  ]
  const next = block && !allowlisted ? `let it back in:  bouncer unblock ${safe(client)}` : undefined
  return `${[...lines, ...(next ? ['', next] : [])].join('\n')}\n`
}
