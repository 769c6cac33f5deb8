import { readFileSync } from 'node:fs'
import type { ControlPlane, ControlState, Policy, PolicyRecord } from '@api-bouncer/limiter/contracts'
import { CommandError, type Context, EXIT } from '../context.ts'
import { type Column, printOne } from '../output.ts'
import { confirm } from '../prompt.ts'
import { changesOf, samePolicy } from './changes.ts'
import { proveCompiles, type Standing, standing } from './records.ts'
import { actorOf, backText, diffText, lines, mayRefuseOwn, notes, proof, proofText, type WriteOptions } from './save.ts'
import { type PolicySource, readPolicies } from './source.ts'

export interface FileOptions extends WriteOptions {
  readonly file: readonly string[]
  readonly prune?: boolean
}

async function textOf(context: Context, file: string): Promise<string> {
  try {
    if (file !== '-') return new TextDecoder('utf-8', { fatal: true }).decode(readFileSync(file))
    const chunks: Buffer[] = []
    for await (const chunk of context.stdin) chunks.push(Buffer.from(chunk))
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks))
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    const why = code === 'ENOENT' ? 'there is no such file' : code === 'EISDIR' ? 'is a folder' : message
    throw new CommandError(EXIT.usage, `${file}: ${why}`)
  }
}

interface FilePolicy {
  readonly policy: Policy
  /** `policies.yaml:3:1` */
  readonly place: string
}

/** The policies of all files; every problem of all of them at once, `file:line:column: what`. */
async function readFiles(context: Context, files: readonly string[]) {
  const policies: FilePolicy[] = []
  const problems: { file: string; line: number; column: number; message: string }[] = []
  for (const file of files) {
    const name = file === '-' ? 'stdin' : file
    const source: PolicySource = readPolicies(await textOf(context, file))
    problems.push(...source.problems.map(problem => ({ file: name, ...problem })))
    for (const { policy, line, column } of source.policies) {
      const twin = policies.find(one => one.policy.id === policy.id)
      if (twin) problems.push({ file: name, line, column, message: `"${policy.id}" is also in ${twin.place}` })
      else policies.push({ policy, place: `${name}:${line}:${column}` })
    }
    if (source.otherFields.length > 0) {
      context.stderr.write(`note: ${name}: ${source.otherFields.join(', ')} left alone; this is about policies\n`)
    }
  }
  return { policies, problems }
}

type Problems = Awaited<ReturnType<typeof readFiles>>['problems']

const problemText = ({ file, line, column, message }: Problems[number]) => `${file}:${line}:${column}: ${message}`

async function readGood(context: Context, files: readonly string[]): Promise<FilePolicy[]> {
  const { policies, problems } = await readFiles(context, files)
  if (problems.length > 0) throw new CommandError(EXIT.usage, problems.map(problemText).join('\n'))
  return policies
}

/** Offline: what is wrong with the files, as far as can be said without a server. */
export async function validate(context: Context, { file }: FileOptions): Promise<void> {
  const { policies, problems } = await readFiles(context, file)
  if (problems.length === 0) problems.push(...together(policies))
  const value = { valid: problems.length === 0, policies: policies.map(({ policy }) => policy.id), problems }
  printOne(context, value, ({ good, bad }) =>
    problems.length === 0
      ? `${good('valid')}: ${policies.map(({ policy }) => policy.id).join(', ')}\n`
      : lines([
          ...problems.map(problemText),
          bad(`not valid: ${problems.length} ${problems.length === 1 ? 'problem' : 'problems'}`),
        ]),
  )
  if (problems.length > 0) throw new CommandError(EXIT.failed, '')
}

/** What the limiter has against policies that are each good by themselves. */
function together(policies: readonly FilePolicy[]): Problems {
  const settings = { penalty: false as const, ipv6Prefix: 64 }
  const empty: ControlState = { epoch: 1, policies: [], tombstones: {}, settings, lists: [] }
  try {
    proveCompiles(
      empty,
      policies.map(({ policy }) => policy),
    )
    return []
  } catch (error) {
    const { message } = error as Error
    const named = policies.find(({ policy }) => message.includes(`"${policy.id}"`)) ?? policies[0]
    const [, file = '', line, column] = /^(.*):(\d+):(\d+)$/.exec(named?.place ?? '') ?? []
    return [{ file, line: Number(line), column: Number(column), message }]
  }
}

interface Step {
  readonly action: 'created' | 'changed' | 'unchanged' | 'removed'
  readonly id: string
  readonly before: Standing
  readonly after: Policy | undefined
}

function stepsOf(state: ControlState, wanted: readonly Policy[], prune: boolean, now: number): Step[] {
  const steps = wanted.map((after): Step => {
    const before = standing(state, after.id, now)
    const action = !before.policy ? 'created' : samePolicy(before.policy, after) ? 'unchanged' : 'changed'
    return { action, id: after.id, before, after }
  })
  const named = new Set(wanted.map(({ id }) => id))
  const others = prune ? state.policies.filter(({ policy }) => !named.has(policy.id)) : []
  return [
    ...steps,
    ...others.map(
      ({ policy }): Step => ({
        action: 'removed',
        id: policy.id,
        before: standing(state, policy.id, now),
        after: undefined,
      }),
    ),
  ]
}

const headOf = ({ action, id, before: { version } }: Step) =>
  action === 'created'
    ? `${id}: new`
    : action === 'removed'
      ? `${id}: removed (was v${version})`
      : `${id}: v${version} would change`

const stepDiff = (context: Context, step: Step): string[] => [
  headOf(step),
  ...diffText(context, step.before.policy, step.after),
  ...notes(step.before.policy, step.after),
]

/** What applying the files would change. */
export async function diff(context: Context, { file, prune = false }: FileOptions): Promise<void> {
  const wanted = (await readGood(context, file)).map(({ policy }) => policy)
  const state = await (await context.control()).state()
  const steps = stepsOf(state, wanted, prune, context.now()).filter(({ action }) => action !== 'unchanged')
  const differences = steps.map(asJson)
  printOne(context, { differences }, () => lines(steps.flatMap(step => stepDiff(context, step))), {
    rows: differences,
    columns: DIFFERENCE,
    lines: true,
  })
  if (steps.length > 0) throw new CommandError(EXIT.failed, '')
}

const DIFFERENCE: readonly Column<ReturnType<typeof asJson>>[] = [
  { name: 'policy', value: ({ policy }) => policy },
  { name: 'action', value: ({ action }) => action },
  { name: 'version', value: ({ version }) => version },
  { name: 'changes', value: ({ changes }) => changes.join('; ') },
]

const asJson = ({ action, id, before, after }: Step) => ({
  policy: id,
  action,
  version: before.version,
  before: before.policy,
  after,
  changes: before.policy && after ? changesOf(before.policy, after) : [],
})

/** Makes the policies what the files say; those that the files do not name stay, unless pruned. */
export async function apply(context: Context, options: FileOptions): Promise<void> {
  const wanted = (await readGood(context, options.file)).map(({ policy }) => policy)
  const control = await context.control()
  const state = await control.state()
  const steps = stepsOf(state, wanted, options.prune ?? false, context.now())
  const changing = steps.filter(({ action }) => action !== 'unchanged')
  const removed = changing.filter(({ action }) => action === 'removed').map(({ id }) => id)
  proveCompiles(state, wanted, removed)
  const human = context.options.output === 'human'
  if (options.dryRun) {
    return printOne(context, { dryRun: true, steps: steps.map(asJson) }, () =>
      lines([
        ...steps.flatMap(step => (step.action === 'unchanged' ? [`${step.id}: unchanged`] : stepDiff(context, step))),
        'dry run: nothing was saved',
      ]),
    )
  }
  const puts = changing.flatMap(({ after }) => after ?? [])
  if (!(await mayRefuseOwn(context, control, puts))) throw new CommandError(EXIT.failed, 'nothing was saved')
  if (removed.length > 0 && !(await confirm(context, `Remove what the files do not name: ${removed.join(', ')}?`))) {
    throw new CommandError(EXIT.failed, 'nothing was saved')
  }

  const startedAt = performance.now()
  const done = new Map<string, PolicyRecord | undefined>()
  const error = await write(context, control, changing, options, done)
  const result = steps.flatMap(step =>
    step.action === 'unchanged' || done.has(step.id) ? [{ ...asJson(step), ...written(done.get(step.id)) }] : [],
  )
  const now = context.now()
  if (human) {
    context.stdout.write(lines(result.map(resultText)))
    const pending = steps.flatMap(({ id, before }) => {
      const revert = done.get(id)?.revert
      return revert ? [`${id} ${backText(revert, before, now, id)}`] : []
    })
    context.stdout.write(lines(pending))
  }
  if (done.size > 0) {
    const proven = await proof(control, startedAt)
    if (human) context.stdout.write(`${proofText(proven)}\n`)
    else printOne(context, { applied: result, ...proven }, () => '')
  } else if (!human && error === undefined) printOne(context, { applied: result }, () => '')
  if (error === undefined) return
  const undone = changing.filter(({ id }) => !done.has(id)).map(({ id }) => id)
  context.stderr.write(`not applied: ${undone.join(', ')}\n`)
  throw error
}

const written = (record: PolicyRecord | undefined) =>
  record ? { version: record.version, ...(record.revert && { revert: record.revert }) } : {}

function resultText({ action, policy, version, changes }: ReturnType<typeof asJson>): string {
  return `${action.padEnd(9)}  ${policy} ${action === 'removed' ? '' : `v${version}`}${changes.length > 0 ? `  ${changes.join('; ')}` : ''}`.trimEnd()
}

/**
 * One after the other, each against the version it was compared with. One that ties with a policy which is about to change
 * too waits its turn. Answers with the error that stopped it.
 */
async function write(
  context: Context,
  control: ControlPlane,
  steps: readonly Step[],
  options: WriteOptions,
  done: Map<string, PolicyRecord | undefined>,
): Promise<unknown> {
  const actor = actorOf(context, options)
  // What is new comes before what is removed, so that no route is without its limit.
  let waiting = [...steps].sort((a, b) => Number(a.action === 'removed') - Number(b.action === 'removed'))
  while (waiting.length > 0) {
    const later: Step[] = []
    let stopped: unknown
    for (const step of waiting) {
      const { id, before, after } = step
      try {
        if (after) done.set(id, await control.putPolicy(after, before.version, actor, options.confirmWithin))
        else done.set(id, void (await control.deletePolicy(id, before.version, actor)))
      } catch (error) {
        if ((error as { code?: string }).code !== 'ERR_CONTRADICTION') return error
        stopped = error
        later.push(step)
      }
    }
    if (later.length === waiting.length) return stopped
    waiting = later
  }
  return undefined
}
