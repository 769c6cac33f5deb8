import { parseDuration } from '@api-bouncer/limiter/client'
import type { Block, ControlPlane } from '@api-bouncer/limiter/contracts'
import type { CommandRoom } from '../command.ts'
import { CommandError, EXIT } from '../context.ts'
import { each } from '../each.ts'
import { dryRun, duration } from '../options.ts'
import { printerOf, printRows } from '../output.ts'
import { ownIn } from '../policy/own-address.ts'
import { confirm } from '../prompt.ts'
import { safe } from '../text.ts'
import { clock, inTime } from '../time.ts'
import { isPart, isRange, refuseSlips, wordsOf } from '../who.ts'
import { columnsOf } from './blocks.ts'

export const command: CommandRoom = {
  register(program, context) {
    dryRun(
      program
        .command('block')
        .description('Keep clients out for a time, everywhere, from their next request on')
        .argument('<clients...>', 'addresses or client ids; - reads them from stdin')
        .option('--for <duration>', 'how long', duration, '15m')
        .option('--reason <text>', 'why, for who looks later', 'manual'),
    )
      .addHelpText('after', EXAMPLES)
      .action(async (given: string[], options: Options, command) => {
        const of = context(command)
        const clients = await wordsOf(given, of)
        if (clients.length === 0) throw new CommandError(EXIT.usage, 'block whom? stdin named nobody')
        refuseSlips(clients)
        // Networks are counted by 64 bits unless told otherwise; to ask once too often does no harm.
        const own = ownIn(clients, of.env, 64)
        if (
          own.length > 0 &&
          !options.dryRun &&
          !(await confirm(of, `${own.join('; ')}: it would be refused. Block it?`))
        ) {
          throw new CommandError(EXIT.failed, 'nobody was blocked')
        }
        const control = await of.control()
        await refuseRanges(control, clients)
        const plain = ({ block }: Made) => (options.dryRun ? { ...block, dryRun: true } : block)
        const print = printerOf(of, (one: Made) => blockedText(one, of.now(), options.dryRun), plain)
        const act = (client: string) =>
          options.dryRun
            ? rehearsal(control, client, options, of.actor.by, of.now())
            : blocked(control, client, options, of.actor)
        const { done, end } = await each(of, clients, act, print)
        if (!print) printRows(of, done.map(plain), columnsOf(of.now()))
        end()
      })
  },
}

const EXAMPLES = `
Examples
  bouncer block 1.2.3.4
  bouncer block 1.2.3.4 2001:db8::1 --for 4h --reason scraping
  bouncer block --for 1d --reason 'credential stuffing' - < addresses.txt
  bouncer deny add 203.0.113.0/24        a whole range goes on the denylist`

interface Options {
  readonly for: string
  readonly reason: string
  readonly dryRun: boolean
}

/** Of several, those before a range would be blocked, and it refused: what cannot be is found before anything is done. */
async function refuseRanges(control: ControlPlane, clients: readonly string[]): Promise<void> {
  if (!clients.some(client => client.includes('/'))) return
  const { ipv6Prefix } = (await control.state()).settings
  const ranges = clients.filter(client => isRange(client, ipv6Prefix) || isPart(client, ipv6Prefix))
  if (ranges.length === 0) return
  const are = ranges.length === 1 ? `"${ranges[0]}" is a range, not one client` : `${ranges.join(', ')} are ranges`
  throw new CommandError(
    EXIT.usage,
    `${are}; nobody was blocked. Put ranges on a list: bouncer deny add ${ranges.join(' ')}`,
  )
}

interface Made {
  readonly block: Block
  readonly allowlisted: string | undefined
}

async function blocked(
  control: ControlPlane,
  client: string,
  options: Options,
  actor: Parameters<ControlPlane['block']>[1],
): Promise<Made> {
  const block = await control.block({ client, for: options.for, reason: options.reason }, actor)
  return { block, allowlisted: (await control.client(block.client)).allowlisted }
}

async function rehearsal(
  control: ControlPlane,
  typed: string,
  options: Options,
  by: string,
  now: number,
): Promise<Made> {
  const { client, offences, allowlisted } = await control.client(typed)
  const until = now + (parseDuration(options.for) as number)
  return { block: { client, reason: options.reason, since: now, until, offence: offences + 1, by }, allowlisted }
}

export function blockedText({ block, allowlisted }: Made, now: number, rehearsed: boolean): string {
  const { client, until, reason } = block
  const when = `until ${clock(until, now)} (${inTime(until - now)}): ${safe(reason)}`
  const held = allowlisted ? `   no effect while it is on the allowlist (${allowlisted})` : ''
  return `${rehearsed ? 'would block' : 'blocked'} ${safe(client)} ${when}${held}\n`
}
