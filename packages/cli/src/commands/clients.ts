import { deciding } from '@api-bouncer/limiter/client'
import type { ClientSummary } from '@api-bouncer/limiter/contracts'
import type { CommandRoom } from '../command.ts'
import { rate } from '../numbers.ts'
import { whole } from '../options.ts'
import { type Column, columnsOf as fitOf, printRows, stylesOf } from '../output.ts'
import { fold } from '../text.ts'
import { clock, inTime, iso } from '../time.ts'

export const command: CommandRoom = {
  register(program, context) {
    program
      .command('clients')
      .description('Who is busiest now, or nearest a limit')
      .option('--nearest', 'those nearest a limit first', false)
      .option('-n, --limit <n>', 'at most so many (1 to 500)', whole(1, 500), 20)
      .addHelpText('after', EXAMPLES)
      .action(async ({ nearest, limit }, command) => {
        const of = context(command)
        const control = await of.control()
        const sort = nearest ? 'nearest' : 'busiest'
        const [clients, { instances }] = await Promise.all([control.clients({ sort, limit }), control.status()])
        const told = deciding(instances).length > 0
        const empty = told ? `no client was seen in the last minute, and none is blocked\n${TRY}` : `none\n${UNTOLD}`
        const fit = fitOf(of.stdout)
        printRows(of, clients, columnsOf(of.now()), { empty: fold(empty, fit) })
        if (of.options.output === 'human') {
          if (clients.length > 0) of.stdout.write(`\n${stylesOf(of, of.stdout).dim(fold(told ? OVER : UNTOLD, fit))}\n`)
        } else if (!told) of.stderr.write(`${UNTOLD}\n`)
      })
  },
}

/** What is looked at, and over which time. */
const OVER =
  'rates of the last second; listed: who was busy or refused in the last minute, near a limit still, or blocked'

/** What is missing where nobody tells who is busy. */
const UNTOLD =
  'no instance is alive to tell who is busy: listed are only those refused in the last minute, or blocked. Every counter: bouncer keys'

const TRY = 'try: bouncer load --rps 20 /api/data, then look again'

const EXAMPLES = `
Examples
  bouncer clients
  bouncer clients --nearest --limit 5
  bouncer clients -o ndjson | jq -r 'select(.state == "blocked").client'`

const STYLES = { ok: undefined, near: 'warn', limited: 'warn', blocked: 'bad' } as const

export const columnsOf = (now: number): Column<ClientSummary>[] => [
  { name: 'client', value: ({ client }) => client },
  {
    name: 'req/s',
    csv: 'requests_per_second',
    value: at => at.requestsPerSecond,
    text: at => rate(at.requestsPerSecond),
    align: 'right',
  },
  {
    name: 'state',
    value: ({ state }) => state,
    text: ({ state, allowlisted }) => (allowlisted ? 'allowlisted' : state),
    style: ({ state }, styles) => {
      const style = STYLES[state]
      return style ? styles[style] : text => text
    },
  },
  {
    name: 'used',
    value: ({ used }) => used,
    text: ({ used, limit }) => (limit === 0 ? '' : `${used} of ${limit}`),
    align: 'right',
  },
  { name: 'limit', value: ({ limit }) => limit, csvOnly: true },
  { name: 'allowlisted', value: ({ allowlisted }) => allowlisted, csvOnly: true },
  { name: 'policy', value: ({ policy }) => policy, cut: 2 },
  {
    name: 'blocked until',
    csv: 'blocked_until',
    value: ({ blockedUntil }) => iso(blockedUntil),
    text: ({ blockedUntil: until }) => (until === undefined ? '' : `${clock(until, now)} (${inTime(until - now)})`),
    cut: 3,
  },
]
