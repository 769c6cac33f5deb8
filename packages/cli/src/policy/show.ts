import { formatRemaining } from '@api-bouncer/limiter/client'
import type { PolicyRecord } from '@api-bouncer/limiter/contracts'
import type { Context } from '../context.ts'
import { type Column, printOne, printRows } from '../output.ts'
import { safe } from '../text.ts'
import { ago, clock, exact, iso } from '../time.ts'
import { changesOf, inForce, limitsText } from './changes.ts'
import { commented, policyYamlWithHelp } from './print.ts'
import { noSuchPolicy, standing } from './records.ts'

/** Every policy, as it is in force. */
export async function listPolicies(context: Context): Promise<void> {
  const { policies } = await (await context.control()).state()
  const now = context.now()
  const rows = policies
    .flatMap(record => {
      const policy = inForce(record, now)
      return policy ? [{ ...record, policy }] : []
    })
    .sort((a, b) => a.policy.id.localeCompare(b.policy.id, 'en'))
  printRows(context, rows, columnsOf(now), { json: { policies: rows }, empty: 'no policy: nothing is limited' })
  if (context.options.output !== 'human') return
  for (const { policy, revert } of rows) {
    if (!revert || revert.at <= now) continue
    context.stdout.write(
      `\n${policy.id} goes back in ${formatRemaining(revert.at - now)} unless: bouncer policy confirm ${policy.id}\n`,
    )
  }
}

const columnsOf = (now: number): Column<PolicyRecord>[] => [
  { name: 'id', value: ({ policy }) => policy.id },
  {
    name: 'mode',
    value: ({ policy }) => policy.mode,
    style: ({ policy }, { warn, dim }) =>
      policy.mode === 'shadow' ? warn : policy.mode === 'off' ? dim : text => text,
  },
  { name: 'match', value: ({ policy }) => policy.match.join(', '), cut: 3 },
  { name: 'limits', value: ({ policy }) => limitsText(policy), cut: 1 },
  {
    name: 'algorithm',
    value: ({ policy }) => policy.algorithm,
    text: ({ policy }) => policy.algorithm ?? '-',
    cut: 4,
  },
  { name: 'version', value: ({ version }) => version, align: 'right' },
  {
    name: 'changed',
    value: ({ updatedAt }) => iso(updatedAt),
    text: ({ updatedAt }) => ago(now - updatedAt),
    cut: 2,
  },
  { name: 'by', value: ({ updatedBy }) => updatedBy, cut: 5 },
  { name: 'goes_back', value: ({ revert }) => iso(revert?.at), csvOnly: true },
]

/** One policy as YAML that can be changed and applied again. */
export async function getPolicy(context: Context, id: string): Promise<void> {
  const state = await (await context.control()).state()
  const now = context.now()
  const { record, policy } = standing(state, id, now)
  if (!record || !policy) throw noSuchPolicy(state, id)
  const found = { ...record, policy }
  const human = () => {
    const text = `${commented(placeInHistory(record, now))}${policyYamlWithHelp(policy)}`
    return context.stdout.isTTY ? `${text.trimEnd().split('\n').map(safe).join('\n')}\n` : text
  }
  printOne(context, found, human, { rows: [found], columns: columnsOf(now) })
}

export function placeInHistory({ policy, version, updatedAt, updatedBy, revert }: PolicyRecord, now: number): string {
  const saved = `${policy.id}, version ${version}, saved ${exact(updatedAt, now)} by ${safe(updatedBy)}`
  if (!revert) return saved
  return `${saved}\n${revert.at > now ? `goes back ${exact(revert.at, now)} unless: bouncer policy confirm ${policy.id}` : `went back ${exact(revert.at, now)}: nobody confirmed it. This is what is in force`}`
}

interface Step extends PolicyRecord {
  readonly changes: readonly string[]
}

/** Who changed what, when, newest first. */
export async function showHistory(context: Context, id: string): Promise<void> {
  const history = await (await context.control()).policyHistory(id)
  const now = context.now()
  printRows<Step>(context, stepsOf(history, now), [
    { name: 'version', value: ({ version }) => version, align: 'right' },
    { name: 'when', value: ({ updatedAt }) => iso(updatedAt), text: ({ updatedAt }) => clock(updatedAt, now) },
    { name: 'by', value: ({ updatedBy }) => updatedBy, cut: 2 },
    { name: 'change', value: ({ changes }) => changes.join('; '), cut: 1 },
  ])
}

/** `history` is newest first. */
export function stepsOf(history: readonly PolicyRecord[], now: number): Step[] {
  return history.map((record, i) => {
    const [later, earlier] = [history[i - 1], history[i + 1]]
    const before = earlier && inForce(earlier, record.updatedAt)
    const changes = before
      ? changesOf(before, record.policy)
      : [earlier ? `new again: ${limitsText(record.policy)}` : `first kept: ${limitsText(record.policy)}`]
    return {
      ...record,
      changes: [...(changes.length > 0 ? changes : [unchanged(record, earlier)]), ...fate(record, later, now)],
    }
  })
}

/** Only a confirmation takes the deadline from what stays the same. */
const unchanged = ({ updatedAt, revert }: PolicyRecord, earlier: PolicyRecord | undefined) =>
  earlier?.revert && earlier.revert.at > updatedAt && !revert ? 'confirmed' : 'no change'

/** What became of a change that had to be confirmed. */
function fate({ revert }: PolicyRecord, later: PolicyRecord | undefined, now: number): string[] {
  if (!revert) return []
  if (revert.at <= Math.min(now, later?.updatedAt ?? now)) return [`went back at ${clock(revert.at, now)}, unconfirmed`]
  return later ? [] : [`goes back at ${clock(revert.at, now)} unless confirmed`]
}
