import { BouncerError, guess } from '@api-bouncer/limiter/contracts'
import { Command, Option } from 'commander'
import { COMMANDS, GLOBAL_OPTIONS } from '../catalog.ts'
import type { CommandRoom } from '../command.ts'
import { candidatesFor } from '../completion/candidates.ts'
import { SCRIPTS } from '../completion/scripts.ts'
import { CommandError, type Context, EXIT, FORMATS } from '../context.ts'
import { ROOMS } from '../rooms.ts'
import { safe } from '../text.ts'

/** Who waits for a Tab waits no longer. */
const PATIENCE_MS = 1500

export const command: CommandRoom = {
  register(program, context) {
    const completion = program
      .command('completion')
      .argument('[shell]', 'bash, zsh or fish')
      .usage('bash|zsh|fish')
      .description('A script that completes commands, options, policies and clients')
      .addHelpText('after', EXAMPLES)
      .action((shell: string | undefined, _, command: Command) => {
        context(command).stdout.write(scriptFor(shell))
      })
    completion
      .command('words', { hidden: true })
      .argument('[words...]')
      .action(async (words: string[], _, command: Command) => complete(context(command), command, words))
  },
}

const EXAMPLES = `
Examples
  eval "$(bouncer completion bash)"          now; for good, in ~/.bashrc
  source <(bouncer completion zsh)
  bouncer completion fish | source`

function scriptFor(shell: string | undefined): string {
  const script = SCRIPTS[shell ?? '']
  if (script !== undefined && Object.hasOwn(SCRIPTS, shell ?? '')) return script
  const meant = shell === undefined ? undefined : guess(shell, Object.keys(SCRIPTS))
  throw new CommandError(
    EXIT.usage,
    shell === undefined
      ? 'name a shell: bash, zsh or fish'
      : `"${shell}" is none of bash, zsh, fish${meant ? `; did you mean ${meant}?` : ''}`,
  )
}

/** Candidates a line, or nothing at all: a shell in the middle of a line is no place for errors. */
async function complete(context: Context, command: Command, words: readonly string[]): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new BouncerError('ERR_UNAVAILABLE', 'too slow')), PATIENCE_MS)
  })
  try {
    connectAsTyped(words, command)
    const work = candidatesFor({ words, program: programFor, control: () => context.control() })
    const found = await Promise.race([work, late])
    context.stdout.write(
      found
        .map(({ value, help }) => `${safe(value)}\t${safe(help)}\n`)
        .join('')
        .replaceAll(':files\t', ':files'),
    )
  } catch {
    // Nothing to offer.
  } finally {
    clearTimeout(timer)
  }
}

/** What has been typed says where to ask. */
function connectAsTyped(words: readonly string[], command: Command): void {
  let root = command
  while (root.parent) root = root.parent
  for (const [flag, name] of [
    ['--url', 'url'],
    ['--redis', 'redis'],
    ['--token-file', 'tokenFile'],
  ] as const) {
    const at = words.indexOf(flag)
    const value = at >= 0 ? words[at + 1] : words.find(word => word.startsWith(`${flag}=`))?.slice(flag.length + 1)
    if (value) root.setOptionValue(name, value)
  }
}

/** A program that knows its words, and runs nothing. */
async function programFor(name: string | undefined): Promise<Command> {
  const program = new Command('bouncer')
  for (const [flags, help] of GLOBAL_OPTIONS) {
    const option = new Option(flags, help)
    if (option.long === '--output') option.choices(FORMATS)
    program.addOption(option)
  }
  if (name !== undefined && COMMANDS.some(entry => entry.name === name)) {
    const room = name === 'completion' ? { command } : await ROOMS[name]?.()
    room?.command.register(program, () => {
      throw new Error('nothing runs here')
    })
  }
  return program
}
