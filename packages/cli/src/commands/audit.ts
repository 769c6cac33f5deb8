import type { AuditEntry, Block, ListEntry, Policy, UnblockResult } from '@api-bouncer/limiter/contracts'
import { Option } from 'commander'
import type { CommandRoom } from '../command.ts'
import { count } from '../numbers.ts'
import { whole } from '../options.ts'
import { type Column, printRows } from '../output.ts'
import { changesOf, limitsText } from '../policy/changes.ts'
import { clock, iso } from '../time.ts'

export const command: CommandRoom = {
  register(program, context) {
    program
      .command('audit')
      .description('Who changed what, when and why; the newest first')
      .option('-n, --limit <n>', 'of the newest so many (1 to 1000)', whole(1, 1000), 100)
      .option('--by <name>', 'changes of this operator')
      .addOption(new Option('--action <action>', 'of this kind').choices(ACTIONS))
      .option('--target <text>', 'whose target has this text in it: a client, a policy, a range')
      .addHelpText('after', EXAMPLES)
      .action(async ({ limit, ...filter }: Filter & { limit: number }, command) => {
        const of = context(command)
        const entries = (await (await of.control()).audit({ limit })).filter(matches(filter))
        const empty = Object.keys(filter).length === 0 ? 'nobody has changed anything' : 'no change like that'
        printRows(of, entries, columnsOf(of.now()), { empty })
      })
  },
}

const KNOWN: Record<AuditEntry['action'], true> = {
  block: true,
  unblock: true,
  'policy.put': true,
  'policy.confirm': true,
  'policy.delete': true,
  'list.put': true,
  'list.delete': true,
  'settings.put': true,
  'key.delete': true,
}
/** With what they have in common. */
const ACTIONS = [...new Set(Object.keys(KNOWN).flatMap(action => [action.split('.')[0] as string, action]))]

const EXAMPLES = `
Examples
  bouncer audit
  bouncer audit --target 1.2.3.4
  bouncer audit --by ann --action policy -o ndjson | jq '{at, before, after}'`

interface Filter {
  readonly by?: string
  readonly action?: string
  readonly target?: string
}

const matches =
  ({ by, action, target }: Filter) =>
  (entry: AuditEntry): boolean =>
    (by === undefined || entry.by === by) &&
    (action === undefined || entry.action === action || entry.action.startsWith(`${action}.`)) &&
    (target === undefined || entry.target.includes(target))

/** What a change was, in words. */
export function changeText({ action, before, after, goesBackAt }: AuditEntry, now: number): string {
  switch (action) {
    case 'block':
      return `until ${clock((after as Block).until, now)}`
    case 'unblock': {
      const { block, violations, counters } = before as UnblockResult
      const lifted = [
        ...(block ? ['block'] : []),
        ...(violations > 0 ? [count(violations, 'violation')] : []),
        ...(counters.length > 0 ? [`counters of ${counters.join(', ')}`] : []),
      ]
      return lifted.length > 0 ? `lifted ${lifted.join(', ')}` : 'lifted nothing'
    }
    case 'policy.put':
      return [
        before === undefined
          ? `new: ${limitsText(after as Policy)}`
          : changesOf(before as Policy, after as Policy).join('; ') || 'nothing changed',
        ...(goesBackAt === undefined ? [] : [`goes back at ${clock(goesBackAt, now)} unless confirmed`]),
      ].join('; ')
    case 'policy.confirm':
      return `for good: ${limitsText(after as Policy)}`
    case 'policy.delete':
      return `was: ${limitsText(before as Policy)}`
    case 'list.put': {
      const { expiresAt, comment } = after as ListEntry
      const until = expiresAt === undefined ? 'for good' : `until ${clock(expiresAt, now)}`
      return comment === undefined ? until : `${until}: ${comment}`
    }
    default:
      return ''
  }
}

/** An entry that is older than this program, or odd, is told without its change. */
function change(entry: AuditEntry, now: number): string {
  try {
    return changeText(entry, now)
  } catch {
    return ''
  }
}

const columnsOf = (now: number): Column<AuditEntry>[] => [
  { name: 'at', value: ({ at }) => iso(at), text: ({ at }) => clock(at, now) },
  { name: 'by', value: ({ by }) => by, cut: 2 },
  { name: 'action', value: ({ action }) => action },
  { name: 'target', value: ({ target }) => target },
  { name: 'change', value: entry => change(entry, now), cut: 3 },
  { name: 'reason', value: ({ reason }) => reason, cut: 4 },
  { name: 'from', csv: 'source', value: ({ source }) => source, cut: 5 },
]
