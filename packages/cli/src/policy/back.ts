import type { ControlState, PolicyRecord } from '@api-bouncer/limiter/contracts'
import { CommandError, type Context, EXIT } from '../context.ts'
import { printOne } from '../output.ts'
import { confirm } from '../prompt.ts'
import { limitsText, samePolicy } from './changes.ts'
import { noSuchPolicy, proveCompiles, standing } from './records.ts'
import { actorOf, changeOne, lines, proof, proofText, tellSaved, type WriteOptions } from './save.ts'

/** Brings an earlier version back as a new one; without a number the newest that differs from what is in force. */
export async function rollback(context: Context, id: string, text: string | undefined, options: WriteOptions) {
  const control = await context.control()
  const state = await control.state()
  const before = standing(state, id, context.now())
  const history = await control.policyHistory(id).catch(() => {
    throw noSuchPolicy(state, id)
  })
  const target = text === undefined ? previous(history, before.policy && before) : versionOf(history, id, text)
  if (!target) throw new CommandError(EXIT.notFound, `policy "${id}" has no earlier version that differs`)
  proveCompiles(state, [target.policy])
  await changeOne(context, control, before, target.policy, {
    ...options,
    reason: options.reason ?? `rollback to version ${target.version}`,
  })
}

const previous = (history: readonly PolicyRecord[], now: { policy?: PolicyRecord['policy'] | undefined } | undefined) =>
  // A change that had to be confirmed either was not, or stands in the history again as confirmed.
  history.find(({ policy, revert }) => !revert && (!now?.policy || !samePolicy(policy, now.policy)))

function versionOf(history: readonly PolicyRecord[], id: string, text: string): PolicyRecord {
  if (!/^v?\d{1,9}$/.test(text)) {
    throw new CommandError(EXIT.usage, `"${text}" is no version; write its number (bouncer policy history ${id})`)
  }
  const version = Number(text.replace('v', ''))
  const found = history.find(record => record.version === version)
  if (found) return found
  const kept = history.map(record => record.version)
  throw new CommandError(EXIT.notFound, `policy "${id}" has no version ${version} (kept: ${kept.join(', ')})`)
}

/** Keeps a change that would go back by itself. */
export async function confirmOne(context: Context, id: string): Promise<void> {
  const control = await context.control()
  const before = standing(await control.state(), id, context.now())
  const startedAt = performance.now()
  const record = await control.confirmPolicy(id, context.actor)
  await tellSaved(context, control, 'confirmed', { record, before: { ...before, ...undone(before.record) } }, startedAt)
}

/** What a confirmed change can be undone to is what it would have gone back to. */
const undone = (record: PolicyRecord | undefined) => ({ policy: record?.revert?.policy ?? undefined })

export async function remove(context: Context, ids: readonly string[], options: WriteOptions): Promise<void> {
  const control = await context.control()
  const state = await control.state()
  const found = ids.map(id => {
    const one = standing(state, id, context.now())
    if (!one.record) throw noSuchPolicy(state, id)
    return { id, version: one.version, limits: one.policy ? limitsText(one.policy) : 'nothing in force' }
  })
  const named = found.map(({ id, limits }) => `${id} (${limits})`).join(', ')
  if (options.dryRun) {
    const value = { dryRun: true, removed: found.map(({ id }) => id) }
    return printOne(context, value, () =>
      lines([`would remove ${named}`, ...left(state, ids), 'dry run: nothing was removed']),
    )
  }
  if (!(await confirm(context, `Remove ${named}?`))) throw new CommandError(EXIT.failed, 'nothing was removed')
  const startedAt = performance.now()
  for (const { id, version } of found) await control.deletePolicy(id, version, actorOf(context, options))
  const proven = await proof(control, startedAt)
  const removed = found.map(({ id, version }) => ({ id, version }))
  printOne(context, { removed, ...proven }, ({ good }) =>
    lines([
      `${good('removed')} ${found.map(({ id }) => id).join(', ')} · ${proofText(proven)} · undo: ${removed
        .map(({ id, version }) => `bouncer policy rollback ${id} ${version}`)
        .join('; ')}`,
      ...left(state, ids),
    ]),
  )
}

/** Whether anything still holds for every request. */
function left({ policies }: ControlState, gone: readonly string[]): string[] {
  const catchAll = policies.some(
    ({ policy }) => !gone.includes(policy.id) && policy.mode === 'enforce' && policy.match.includes('*'),
  )
  return catchAll ? [] : ['note: no policy holds for every request any more; what none matches is not limited']
}
