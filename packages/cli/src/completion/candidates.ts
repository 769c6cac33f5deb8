import { ALGORITHMS, type ControlPlane, FAIL_MODES, MODES } from '@api-bouncer/limiter/contracts'
import type { Argument, Command, Option } from 'commander'
import { COMMANDS } from '../catalog.ts'

export interface Candidate {
  readonly value: string
  readonly help: string
}

/** Stands for the names of files, which the shell completes itself. */
const FILES: Candidate = { value: ':files', help: '' }

export interface Completing {
  /** What has been typed after `bouncer`; the last one, perhaps empty, is being typed. */
  readonly words: readonly string[]
  /** The program with the named command registered; without a name, with its options only. */
  program(name: string | undefined): Promise<Command>
  control(): Promise<Pick<ControlPlane, 'state' | 'blocks' | 'clients'>>
}

/** What the word that is being typed may become. */
export async function candidatesFor({ words, program, control }: Completing): Promise<Candidate[]> {
  const current = words.at(-1) ?? ''
  const before = words.slice(0, -1)
  const bare = await program(undefined)
  const name = firstWord(before, bare)
  const root = name === undefined ? bare : await program(name)
  const { command, operands, pending } = walk(root, before)
  if (name !== undefined && command === root) return []

  const inline = /^(--[\w-]+)=(.*)$/.exec(current)
  const option = inline ? optionOf(command, inline[1] as string) : pending
  if (option) {
    const values = await valuesOf(namesOf(option), option.argChoices, control)
    return begin(
      values.map(one => (inline && one !== FILES ? { ...one, value: `${inline[1]}=${one.value}` } : one)),
      current,
    )
  }
  if (current.startsWith('-')) return begin(optionsOf(command), current)
  if (name === undefined) {
    return begin(
      COMMANDS.map(({ name, summary }) => ({ value: name, help: summary })),
      current,
    )
  }
  const subs = command.commands.filter(sub => !isHidden(sub))
  if (subs.length > 0) {
    return begin(
      subs.map(sub => ({ value: sub.name(), help: sub.description() })),
      current,
    )
  }
  const declared = command.registeredArguments
  const argument = declared[operands.length] ?? (declared.at(-1)?.variadic ? declared.at(-1) : undefined)
  if (!argument) return []
  const taken = new Set(operands)
  const values = await valuesOf([`${command.name()} ${argument.name()}`, argument.name()], choicesOf(argument), control)
  return begin(
    values.filter(({ value }) => !taken.has(value)),
    current,
  )
}

const isHidden = (command: Command) => (command as Command & { _hidden?: boolean })._hidden === true
const choicesOf = (argument: Argument): string[] | undefined => argument.argChoices
const begin = (candidates: readonly Candidate[], current: string) =>
  candidates.filter(one => one === FILES || one.value.startsWith(current))

/** Which command the words lead to, what they give it, and the option that waits for its value. */
function walk(root: Command, words: readonly string[]) {
  let command = root
  let operands: string[] = []
  let pending: Option | undefined
  for (const word of words) {
    if (pending) {
      pending = undefined
      continue
    }
    const option = word.startsWith('-') && !word.includes('=') ? optionOf(command, word) : undefined
    if (option) pending = option.required ? option : undefined
    else if (!word.startsWith('-') || word === '-') {
      const sub = operands.length === 0 ? command.commands.find(one => one.name() === word) : undefined
      if (sub) command = sub
      else operands = [...operands, word]
    }
  }
  return { command, operands, pending }
}

function firstWord(words: readonly string[], root: Command): string | undefined {
  for (let i = 0; i < words.length; i++) {
    const word = words[i] as string
    if (!word.startsWith('-')) return word
    if (optionOf(root, word)?.required) i++
  }
  return undefined
}

const lineage = (command: Command): Command[] => (command.parent ? [command, ...lineage(command.parent)] : [command])
const namesOf = ({ short, long }: Option) => [long, short].filter(name => name != null)

const optionOf = (command: Command, name: string): Option | undefined =>
  lineage(command)
    .flatMap(({ options }) => options)
    .find(option => namesOf(option).includes(name))

const optionsOf = (command: Command): Candidate[] =>
  [...lineage(command).flatMap(({ options }) => options)]
    .filter(({ hidden }) => !hidden)
    .flatMap(option => (option.long ? [{ value: option.long, help: option.description }] : []))

/** Values that never change. */
const FIXED: Readonly<Record<string, readonly string[]>> = {
  '--mode': MODES,
  '--algorithm': [...ALGORITHMS, 'default'],
  '--fail-mode': [...FAIL_MODES, 'default'],
  '--penalty': ['none', 'default'],
  '--type': ['violation', 'blocked', 'unblocked', 'policy-changed', 'list-changed', 'settings-changed', 'store-state'],
  shell: ['bash', 'zsh', 'fish'],
}

/** What an option or an argument takes, by its name. */
async function valuesOf(
  names: readonly string[],
  choices: readonly string[] | undefined,
  control: Completing['control'],
): Promise<Candidate[]> {
  const fixed = choices ?? names.map(name => FIXED[name]).find(Boolean)
  if (fixed) return fixed.map(value => ({ value, help: '' }))
  const is = (...known: string[]) => known.some(name => names.includes(name))
  if (is('--file', '--token-file', '--out')) return [FILES]
  if (is('--policy', 'id', 'policy')) {
    const { policies } = await (await control()).state()
    return policies
      .map(({ policy, version }) => ({ value: policy.id, help: `${policy.mode}, version ${version}` }))
      .sort((a, b) => a.value.localeCompare(b.value, 'en'))
  }
  if (is('--client', 'client', 'clients')) {
    const plane = await control()
    const blocked = (await plane.blocks({ limit: 1000 })).blocks.map(({ client, reason }) => ({
      value: client,
      help: `blocked: ${reason}`,
    }))
    if (is('unblock client', 'unblock clients')) return blocked
    const known = new Set(blocked.map(({ value }) => value))
    const others = (await plane.clients({ sort: 'busiest', limit: 50 })).filter(({ client }) => !known.has(client))
    return [...blocked, ...others.map(({ client, state }) => ({ value: client, help: state }))]
  }
  return []
}
