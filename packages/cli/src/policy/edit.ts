import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { BouncerError, type ControlPlane, type Policy, policySchema } from '@api-bouncer/limiter/contracts'
import { CommandError, type Context, EXIT } from '../context.ts'
import { columnsOf } from '../output.ts'
import { ask, canAsk } from '../prompt.ts'
import { safe } from '../text.ts'
import { samePolicy } from './changes.ts'
import { beside } from './diff.ts'
import { marked, withoutMarked } from './marks.ts'
import { commented, policyYamlWithHelp } from './print.ts'
import { noSuchPolicy, proveCompiles, type Standing, standing } from './records.ts'
import { diffText, lines, mayRefuseOwn, notes, printDryRun, saveOne, type WriteOptions } from './save.ts'
import { placeInHistory } from './show.ts'
import { readPolicies } from './source.ts'

export interface EditOptions extends WriteOptions {
  readonly create?: boolean
}

/** Opens a policy in an editor, until what comes out of it is saved or given up. The text is never lost. */
export async function edit(context: Context, id: string, options: EditOptions): Promise<void> {
  if (!canAsk(context) && !context.options.yes) {
    throw new CommandError(EXIT.usage, 'edit needs a terminal; from a script use: bouncer policy set, or apply -f')
  }
  const { VISUAL, EDITOR } = context.env
  if (!canAsk(context) && !VISUAL && !EDITOR) {
    throw new CommandError(
      EXIT.usage,
      'edit needs an editor that needs no terminal; name it in EDITOR, or use: bouncer policy set, apply -f',
    )
  }
  const control = await context.control()
  const state = await control.state()
  const base = standing(state, id, context.now())
  if (!base.policy && !options.create) throw noSuchPolicy(state, id, '\na new one: --create')
  const draft = new Draft(context, id, firstText(base, id, context.now()))
  const settled = context.onInterrupt(() => draft.tellWhere())
  try {
    await new Session(context, control, id, base, draft, options).run()
  } catch (error) {
    draft.tellWhere()
    throw error
  } finally {
    settled()
  }
}

function firstText(base: Standing, id: string, now: number): string {
  const policy = base.policy ?? policySchema.parse({ id, match: `/${id}/*`, limits: [{ limit: 100, window: '1m' }] })
  const place = base.record ? placeInHistory(base.record, now) : `${id}, a new policy`
  const how = 'Save and leave the editor to see what would change; leave without a change to change nothing.'
  return `${commented(`${place}\n${how}`)}${policyYamlWithHelp(policy)}`
}

/** The text, in a file that only its owner can read. */
class Draft {
  readonly file: string
  private readonly context: Context
  private readonly folder: string
  private readonly first: string
  private told = false

  constructor(context: Context, id: string, text: string) {
    this.context = context
    this.first = text
    this.folder = mkdtempSync(join(tmpdir(), 'bouncer-policy-'))
    this.file = join(this.folder, `${id.replace(/[^\w.-]/g, '_')}.yaml`)
    writeFileSync(this.file, text, { mode: 0o600, flag: 'wx' })
  }

  read(): string {
    return withoutMarked(readFileSync(this.file, 'utf8'))
  }

  get touched(): boolean {
    return this.read() !== this.first
  }

  /** What the editor should show at the top, besides the text. */
  note(texts: readonly string[]): void {
    writeFileSync(this.file, marked(texts) + this.read(), { mode: 0o600 })
  }

  async open(): Promise<void> {
    const { env } = this.context
    const editor = env.VISUAL || env.EDITOR || 'vi'
    const child = spawn('/bin/sh', ['-c', `${editor} "$1"`, 'sh', this.file], { stdio: 'inherit' })
    const code = await new Promise<number | null>((resolve, reject) => {
      child.once('error', reject)
      child.once('close', resolve)
    })
    if (code === 0) return
    this.tellWhere()
    throw new CommandError(
      EXIT.failed,
      `the editor (${editor}) ended with ${code ?? 'a signal'}; nothing was saved. Name another in EDITOR`,
    )
  }

  /** Once; what nobody touched is removed. */
  tellWhere(): void {
    if (this.told || !existsSync(this.file)) return
    this.told = true
    if (this.touched) this.context.stderr.write(`your text is in ${this.file}\n`)
    else this.remove()
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true })
  }
}

type Answer = 'yes' | 'no' | 'edit'

class Session {
  private readonly context: Context
  private readonly control: ControlPlane
  private readonly id: string
  private base: Standing
  private readonly draft: Draft
  private readonly options: EditOptions
  private lastText: string | undefined

  constructor(context: Context, control: ControlPlane, id: string, base: Standing, draft: Draft, options: EditOptions) {
    this.context = context
    this.control = control
    this.id = id
    this.base = base
    this.draft = draft
    this.options = options
  }

  async run(): Promise<void> {
    for (;;) {
      await this.draft.open()
      const policy = await this.understand()
      if (policy === 'edit') continue
      if (this.base.policy && samePolicy(this.base.policy, policy)) {
        this.draft.remove()
        this.context.stderr.write('no change; nothing was saved\n')
        return
      }
      if (this.options.dryRun) {
        printDryRun(this.context, this.id, this.base.policy, policy)
        this.draft.remove()
        return
      }
      if (await this.agree(policy)) return
    }
  }

  /** The policy that the text says; `edit`: it says none, and another try is wanted. */
  private async understand(): Promise<Policy | 'edit'> {
    const text = this.draft.read()
    const problems = await this.problemsOf(text)
    if ('policy' in problems) return problems.policy
    // Problems are told by the lines that the editor will show: below the note.
    const shift = problems.length + 1
    const told = problems.map(({ line, column, message }) => `${line + shift}:${column}: ${safe(message)}`)
    this.draft.note(['not saved yet:', ...told])
    this.context.stderr.write(lines(told.map(text => `${this.draft.file}:${text}`)))
    const stuck = this.lastText === text
    this.lastText = text
    const again = canAsk(this.context) && !(this.context.options.yes && stuck)
    if (!again || !/^$|^[ye]/i.test((await ask(this.context, 'edit again? (Y/n) ')).trim()))
      return this.giveUp(EXIT.usage)
    return 'edit'
  }

  private async problemsOf(text: string) {
    const { policies, problems } = readPolicies(text)
    const [first, second] = policies
    if (problems.length > 0 || !first) return problems
    const { line, column, policy } = second ?? first
    if (second) return [{ line, column, message: `a second policy, "${policy.id}"; this is about one` }]
    if (policy.id !== this.id) {
      return [{ line, column, message: `id: it is called "${this.id}"; another id would be another policy` }]
    }
    try {
      proveCompiles(await this.control.state(), [policy])
      return { policy }
    } catch (error) {
      if (!(error instanceof BouncerError)) throw error
      return [{ line, column, message: error.message }]
    }
  }

  /** Shows, asks and saves. False: back to the editor. */
  private async agree(policy: Policy): Promise<boolean> {
    const { context, base } = this
    context.stdout.write(lines([...diffText(context, base.policy, policy), ...notes(base.policy, policy)]))
    const answer = await this.choose(`save ${this.id} as version ${base.version + 1}? (y/N/e to edit again) `)
    if (answer === 'edit') return false
    if (answer === 'no' || !(await mayRefuseOwn(context, this.control, [policy]))) return this.giveUp(EXIT.failed)
    return this.save(policy)
  }

  /** Somebody else was faster: their change beside ours, and who wins. */
  private async meet(mine: Policy): Promise<boolean> {
    const { context, base } = this
    const state = await this.control.state()
    const theirs = standing(state, this.id, context.now())
    const who = theirs.record ? `${safe(theirs.record.updatedBy)} saved version ${theirs.version}` : 'it was removed'
    const plain = { ...context, options: { ...context.options, color: false } }
    const their = diffText(plain, base.policy, theirs.policy)
    const our = diffText(plain, base.policy, mine)
    context.stderr.write(`meanwhile ${who}; nothing of yours is saved yet\n`)
    const shown = beside(['theirs:', their], ['yours:', our], columnsOf(context.stdout) ?? 80)
    context.stdout.write(lines(shown))
    // A yes that was given beforehand knew nothing of this.
    if (!canAsk(context) || context.options.yes) return this.giveUp(EXIT.failed)
    const answer = await this.choose(`save yours over it as version ${theirs.version + 1}? (y/N/e to edit again) `)
    if (answer === 'no') return this.giveUp(EXIT.failed)
    this.base = theirs
    if (answer === 'yes') return this.save(mine)
    this.draft.note([`meanwhile ${who}:`, ...their])
    return false
  }

  private async save(policy: Policy): Promise<boolean> {
    try {
      await saveOne(this.context, this.control, policy, this.base, this.options)
      this.draft.remove()
      return true
    } catch (error) {
      if (error instanceof BouncerError && error.code === 'ERR_CONFLICT') return this.meet(policy)
      this.draft.tellWhere()
      throw error
    }
  }

  private async choose(question: string): Promise<Answer> {
    if (this.context.options.yes) return 'yes'
    const answer = (await ask(this.context, question)).trim()
    if (/^y(es)?$/i.test(answer)) return 'yes'
    return /^e(dit)?$/i.test(answer) ? 'edit' : 'no'
  }

  private giveUp(exitCode: number): never {
    this.draft.tellWhere()
    throw new CommandError(exitCode, 'nothing was saved')
  }
}
