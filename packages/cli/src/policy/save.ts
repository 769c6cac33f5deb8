import { formatRemaining } from '@api-bouncer/limiter/client'
import type { ControlPlane, Policy, PolicyRecord } from '@api-bouncer/limiter/contracts'
import { CommandError, type Context, EXIT } from '../context.ts'
import { count, seenByText } from '../numbers.ts'
import { printOne, stylesOf } from '../output.ts'
import { confirm } from '../prompt.ts'
import { safe } from '../text.ts'
import { clock } from '../time.ts'
import { changesOf, countersAfresh, samePolicy } from './changes.ts'
import { diffLines, renderDiff, withContext } from './diff.ts'
import { ownAddresses, wouldRefuse } from './own-address.ts'
import { policyYaml } from './print.ts'
import type { Standing } from './records.ts'

/** The options that every write of a policy takes. */
export interface WriteOptions {
  readonly dryRun?: boolean
  readonly reason?: string
  readonly confirmWithin?: string
}

export const actorOf = ({ actor }: Context, { reason }: WriteOptions) =>
  reason === undefined ? actor : { ...actor, reason }

/** The lines that change, coloured where they are seen. */
export function diffText(context: Context, before: Policy | undefined, after: Policy | undefined): string[] {
  const styles = stylesOf(context, context.stdout)
  const texts = [before, after].map(policy => (policy ? policyYaml(policy) : ''))
  const diff = diffLines(texts[0] as string, texts[1] as string).map(line => ({ ...line, text: safe(line.text) }))
  return renderDiff(withContext(diff), { added: styles.good, removed: styles.bad })
}

/** What a dry run prints instead of writing. */
export function printDryRun(context: Context, id: string, before: Policy | undefined, after: Policy | undefined): void {
  const value = { policy: id, dryRun: true, before, after }
  printOne(context, value, ({ dim }) =>
    lines([...diffText(context, before, after), ...notes(before, after), dim('dry run: nothing was saved')]),
  )
}

export const lines = (texts: readonly string[]): string => texts.map(text => `${text}\n`).join('')

/** What the diff does not say by itself. */
export function notes(before: Policy | undefined, after: Policy | undefined): string[] {
  const fresh = after && countersAfresh(before, after)
  return fresh === undefined ? [] : [`note: ${fresh}`]
}

/** A change that would refuse who makes it is asked for by itself. False: do not make it. */
export async function mayRefuseOwn(
  context: Context,
  control: ControlPlane,
  changed: readonly Policy[],
): Promise<boolean> {
  const refused = await wouldRefuse(control, ownAddresses(context.env), changed)
  if (refused.length === 0) return true
  for (const text of refused) context.stderr.write(`warning: ${text}\n`)
  return confirm(context, 'You may be refused yourself at once. Save all the same?')
}

export interface Saved {
  readonly record: PolicyRecord
  readonly before: Standing
}

/** Waits until the fleet has seen what was just written. */
export async function proof(control: ControlPlane, startedAt: number) {
  const { epoch } = await control.state()
  const seenBy = await control.seenBy(epoch)
  return { seenBy, afterMs: Math.round(performance.now() - startedAt) }
}

export const proofText = ({ seenBy, afterMs }: Awaited<ReturnType<typeof proof>>): string =>
  seenBy.of === 0
    ? seenByText(seenBy)
    : `in force on ${seenBy.seen} of ${count(seenBy.of, 'instance')} after ${(afterMs / 1000).toFixed(1)}s`

/** How it would go on: until when it holds, and how it is undone. */
export function nextSteps({ record, before }: Saved, now: number): string[] {
  const { id } = record.policy
  const undo =
    before.policy === undefined
      ? `bouncer policy rm ${id}`
      : before.record && samePolicy(before.record.policy, before.policy)
        ? `bouncer policy rollback ${id} ${before.version}`
        : `bouncer policy rollback ${id}`
  if (!record.revert) return [`undo: ${undo}`]
  return [backText(record.revert, before, now, id)]
}

/** A deadline of before that still holds is said to: who writes again might think that this was for good. */
export function backText({ at }: NonNullable<PolicyRecord['revert']>, before: Standing, now: number, id: string) {
  const inherited = before.record?.revert?.at === at
  const still = inherited ? `v${before.version} was not confirmed: this too goes` : 'goes'
  return `${still} back by itself at ${clock(at, now)} (in ${formatRemaining(at - now)}) unless: bouncer policy confirm ${id}`
}

/** Writes one policy, tells the proof and the way back. */
export async function saveOne(
  context: Context,
  control: ControlPlane,
  policy: Policy,
  before: Standing,
  options: WriteOptions,
): Promise<void> {
  const startedAt = performance.now()
  const record = await control.putPolicy(policy, before.version, actorOf(context, options), options.confirmWithin)
  await tellSaved(context, control, 'saved', { record, before }, startedAt)
}

export async function tellSaved(
  context: Context,
  control: ControlPlane,
  verb: string,
  saved: Saved,
  startedAt: number,
): Promise<void> {
  const proven = await proof(control, startedAt)
  const { record } = saved
  printOne(context, { ...record, ...proven }, ({ good }) =>
    lines([
      [
        `${good(verb)} ${record.policy.id} v${record.version}`,
        proofText(proven),
        ...nextSteps(saved, context.now()),
      ].join(' · '),
    ]),
  )
}

/** Shows what would change, asks where it must, and writes; the way of `set`, `rollback` and their like. */
export async function changeOne(
  context: Context,
  control: ControlPlane,
  before: Standing,
  after: Policy,
  options: WriteOptions,
): Promise<void> {
  if (before.policy && changesOf(before.policy, after).length === 0) {
    const value = { ...before.record, unchanged: true }
    return printOne(context, value, () => `${after.id} is already so (v${before.version}); nothing was saved\n`)
  }
  if (options.dryRun) return printDryRun(context, after.id, before.policy, after)
  if (context.options.output === 'human') {
    context.stdout.write(lines([...diffText(context, before.policy, after), ...notes(before.policy, after)]))
  }
  if (!(await mayRefuseOwn(context, control, [after]))) throw new CommandError(EXIT.failed, 'nothing was saved')
  await saveOne(context, control, after, before, options)
}
