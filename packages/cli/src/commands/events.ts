import { setTimeout as sleep } from 'node:timers/promises'
import { parseDuration } from '@api-bouncer/limiter/client'
import type { BouncerEvent, EventType } from '@api-bouncer/limiter/contracts'
import type { Command } from 'commander'
import type { CommandRoom } from '../command.ts'
import { CommandError, type Context, EXIT, type Format } from '../context.ts'
import { type EventFilter, eventLine, type Tone, wanted } from '../events/line.ts'
import { whole } from '../options.ts'
import { type Column, csv, ndjson, printRows, type Styles, stylesOf } from '../output.ts'
import { safe } from '../text.ts'
import { clock, iso } from '../time.ts'
import { clientFilter } from '../who.ts'

/** A Record, so that the compiler misses none. */
const TYPES: Readonly<Record<EventType, true>> = {
  violation: true,
  blocked: true,
  unblocked: true,
  'policy-changed': true,
  'list-changed': true,
  'settings-changed': true,
  'store-state': true,
  gap: true,
  overflow: true,
}

interface Options {
  readonly follow?: boolean
  readonly type?: readonly string[]
  readonly client?: string
  readonly policy?: string
  readonly since?: string
  readonly limit?: number
}

/** The most that is read at once. */
const PAGE = 1000

export const command: CommandRoom = {
  register(program, context) {
    program
      .command('events')
      .description('What happens: violations, blocks, changes; oldest first')
      .option('-f, --follow', 'go on until Ctrl-C; misses none, or says what it missed')
      .option('--type <type>', `${Object.keys(TYPES).join(', ')}; several`, typeOf)
      .option('--client <client>', 'of this client, or of all inside a range (203.0.113.0/24)')
      .option('--policy <policy>', 'of this policy only')
      .option('--since <since>', 'an event id, or a time ago (10m)')
      .option('--limit <n>', 'the newest so many (default 20)', whole(1, PAGE))
      .addHelpText('after', EXAMPLES)
      .action(async (options: Options, command: Command) => {
        const of = context(command)
        await show(of, options, formatOf(command, of, options))
      })
  },
}

const EXAMPLES = `
Examples
  bouncer events
  bouncer events --follow
  bouncer events --type blocked --type unblocked --since 1h
  bouncer events --follow --client 1.2.3.4 | jq .            one JSON object a line when piped`

function typeOf(text: string, before: readonly string[] = []): string[] {
  const known = Object.keys(TYPES)
  const short: Readonly<Record<string, string>> = {
    policy: 'policy-changed',
    list: 'list-changed',
    limited: 'violation',
  }
  const types = text.split(',').map(one => short[one] ?? one)
  const unknown = types.find(type => !known.includes(type))
  if (unknown !== undefined) {
    throw new CommandError(EXIT.usage, `--type: "${unknown}" is none of ${known.join(', ')}`)
  }
  return [...before, ...types]
}

/** Followed through a pipe it is for a program, unless it was told otherwise. */
function formatOf(command: Command, { options, stdout }: Context, { follow }: Options): Format {
  const told = command.parent?.getOptionValueSource('output') === 'cli'
  return follow && !told && !stdout.isTTY ? 'ndjson' : options.output
}

async function show(context: Context, options: Options, format: Format): Promise<void> {
  const client = options.client === undefined ? undefined : clientFilter(options.client)
  const filter: EventFilter = { types: options.type, client, policy: options.policy }
  const control = await context.control()
  const start = options.since === undefined ? undefined : sinceOf(options.since, context.now())
  const page = await control.events({ ...(start && { after: start.after }), limit: PAGE })
  const found = page.events.filter(event => wanted(event, filter))

  if (!options.follow) {
    const shown =
      options.since !== undefined && options.limit === undefined ? found : found.slice(-(options.limit ?? 20))
    if (page.gap && start)
      context.stderr.write(
        `note: what happened before ${clock(page.events[0]?.at ?? 0, context.now())} is no longer kept\n`,
      )
    if (format === 'human') context.stdout.write(shown.map(event => humanLine(context, event)).join(''))
    else printRows(context, shown, COLUMNS, { json: { events: shown, gap: page.gap } })
    if (start && page.events.length === PAGE) {
      context.stderr.write(`there are more: bouncer events --since ${page.events.at(-1)?.id}\n`)
    }
    return
  }

  // Nobody reads any more: without this it would follow for ever.
  const gone = new AbortController()
  context.stdout.once('error', () => gone.abort())
  const print = printer(context, format)
  const last = start ? undefined : page.events.at(-1)
  if (!start) for (const event of found.slice(-(options.limit ?? 20))) print(event)
  const { follow } = await import('../events/follow.ts')
  const stream = follow({
    read: query => control.events(query),
    after: start?.after ?? last?.id ?? '0-0',
    seen: start === undefined && last !== undefined,
    wait: ms => sleep(ms, undefined, { signal: gone.signal }),
    cutOff: cutOffTeller(context),
  })
  try {
    for await (const event of stream) if (wanted(event, filter)) print(event)
  } catch (error) {
    if (!gone.signal.aborted) throw error
  }
}

/** Where to start: after an event, or at a time. */
function sinceOf(text: string, now: number): { after: string } {
  if (/^\d{1,15}-\d{1,15}$/.test(text)) return { after: text }
  const ms = parseDuration(text)
  if (ms !== undefined) return { after: `${Math.max(0, now - ms)}-0` }
  throw new CommandError(EXIT.usage, `--since: "${text}" is neither an event id (1702483200000-0) nor a time (10m)`)
}

function cutOffTeller({ stderr, now }: Context): (reason: string | undefined) => void {
  let since = 0
  return reason => {
    if (reason === undefined) {
      stderr.write(`bouncer: connected again after ${((now() - since) / 1000).toFixed(1)}s\n`)
      return
    }
    since = now()
    stderr.write(`bouncer: cut off at ${clock(since, since)}; going on as soon as it answers. ${safe(reason)}\n`)
  }
}

function printer(context: Context, format: Format): (event: BouncerEvent) => void {
  const { stdout } = context
  let first = true
  return event => {
    if (format === 'human') stdout.write(humanLine(context, event))
    else if (format === 'csv') {
      const text = csv([event], COLUMNS)
      stdout.write(first ? text : text.slice(text.indexOf('\r\n') + 2))
    } else stdout.write(ndjson([event]))
    first = false
  }
}

const STYLE: Readonly<Record<Tone, keyof Styles | undefined>> = {
  plain: undefined,
  quiet: 'dim',
  limited: 'warn',
  blocked: 'bad',
  degraded: 'bad',
}

/** `14:03:11  blocked    1.2.3.4 for 15m · 5 violations within 5m · auth` */
function humanLine(context: Context, event: BouncerEvent): string {
  const styles = stylesOf(context, context.stdout)
  const now = context.now()
  const { at, verb, says, tone } = eventLine(event, when => clock(when, now))
  const style = STYLE[tone]
  const word = verb.padEnd(9)
  return `${styles.dim(clock(at, now))}  ${style ? styles[style](word) : word}  ${safe(says)}\n`
}

const words = (event: BouncerEvent) => eventLine(event, at => new Date(at).toISOString())

const COLUMNS: readonly Column<BouncerEvent>[] = [
  { name: 'at', value: ({ at }) => iso(at) },
  { name: 'id', value: ({ id }) => id },
  { name: 'type', value: ({ type }) => type },
  { name: 'client', value: event => ('client' in event ? event.client : undefined) },
  { name: 'says', value: event => words(event).says },
  { name: 'instance', value: ({ instance }) => instance },
]
