import { userInfo } from 'node:os'
import { Command, Option } from 'commander'
import { COMMANDS, GLOBAL_OPTIONS, helpText } from './catalog.ts'
import { type Connection, connect } from './connection.ts'
import { CommandError, type Context, EXIT, FORMATS, type GlobalOptions } from './context.ts'
import { describe } from './problem.ts'
import { ROOMS } from './rooms.ts'
import { fold } from './text.ts'

/** Parses a command line, loads the one command it names and runs it. Never throws; sets the exit code. */
export async function run(argv: readonly string[], io: NodeJS.Process): Promise<void> {
  const { stdout, stderr, env } = io
  const fail = (error: unknown) => {
    const { exitCode, lines } = describe(error, env.BOUNCER_DEBUG === '1')
    for (const line of lines) stderr.write(`${line}\n`)
    return exitCode
  }
  io.on('uncaughtException', error => io.exit(fail(error)))
  const cleanups = interruptible(io)

  let connection: Promise<Connection> | undefined
  const contextOf = (command: Command): Context => {
    const options: GlobalOptions = command.optsWithGlobals()
    return {
      options,
      control: async () => {
        connection ??= connect(options, env, line => stderr.write(`bouncer: ${line}\n`))
        return (await connection).control
      },
      actor: { by: options.as ?? userOf(env), source: 'cli' },
      stdout,
      stderr,
      // Opened when first read: it takes longer than all else here.
      get stdin() {
        return io.stdin
      },
      env,
      now: Date.now,
      onInterrupt: cleanup => {
        cleanups.add(cleanup)
        return () => cleanups.delete(cleanup)
      },
    }
  }

  try {
    const program = programOf(io)
    const name = commandOf(argv[0] === 'help' ? argv.slice(1) : argv)
    const load = name === undefined ? undefined : loaderOf(name)
    if (load) {
      const room = await load()
      room.command.register(program, contextOf)
      for (const command of program.commands) shape(command)
    } else {
      // Only so that commander can guess which one was meant.
      for (const entry of COMMANDS) program.command(entry.name)
      program.helpInformation = helpText
    }
    const given = argv[0] === 'help' ? [...argv.slice(1), '--help'] : argv
    await program.parseAsync(given, { from: 'user' }).catch(error => {
      throw error?.code === 'commander.help' ? oneOf(program, given) : error
    })
  } catch (error) {
    io.exitCode = fail(error)
  } finally {
    await connection?.then(({ close }) => close()).catch(() => {})
  }
}

function loaderOf(name: string) {
  if (name === 'completion') return () => import('./commands/completion.ts')
  return Object.hasOwn(ROOMS, name) ? ROOMS[name] : undefined
}

function programOf({ stdout }: NodeJS.Process): Command {
  const program = new Command('bouncer')
    .usage('COMMAND [options]')
    .exitOverride()
    .helpCommand(false)
    .showSuggestionAfterError()
    .configureOutput({
      writeOut: text => stdout.write(fold(text, stdout.columns)),
      writeErr: () => {},
      outputError: () => {},
    })
    .configureHelp({
      commandUsage,
      optionDescription,
      styleTitle: title => (title === 'Usage:' ? title : title.replace(/:$/, '')),
    })
  for (const [flags, help] of GLOBAL_OPTIONS) {
    const option = new Option(flags, help)
    if (option.long === '--output') option.choices(FORMATS).default('human', 'human')
    if (option.long === '--yes') option.default(false, '')
    program.addOption(option)
  }
  return program
}

const commandUsage = (command: Command): string => {
  const names: string[] = []
  for (let at: Command | null = command; at; at = at.parent) names.unshift(at.name())
  return `${names.join(' ')} ${command.usage()}`
}

/** What may be set, and no more: that a switch is off unless given goes without saying. */
function optionDescription({ description, argChoices, defaultValue }: Option): string {
  const choices = argChoices ? ` (${argChoices.join(', ')})` : ''
  const shown = defaultValue !== undefined && defaultValue !== false && !Array.isArray(defaultValue)
  return `${description}${choices}${shown ? ` (default ${defaultValue})` : ''}`
}

/** `bouncer allow` is only half of a command. */
function oneOf(program: Command, argv: readonly string[]): CommandError {
  let at = program
  for (const word of argv) at = at.commands.find(command => command.name() === word) ?? at
  if (at === program) return new CommandError(EXIT.usage, 'which command? bouncer --help lists them')
  const subs = at.commands.map(command => command.name()).join(', ')
  return new CommandError(EXIT.usage, `${at.name()} needs one of: ${subs} (--help shows how)`)
}

/** The same manners for every command: no word too many, and no `help` among the subcommands. */
function shape(command: Command): void {
  command.helpCommand(false).allowExcessArguments(false)
  command.addHelpText('after', `\n${GLOBALS}`)
  for (const sub of command.commands) shape(sub)
}

const GLOBALS = `With any command: ${GLOBAL_OPTIONS.map(([flags]) => flags.replace(/^-o, --\w+ <.*/, '-o json').replace(/ <.*/, '')).join(', ')} (see bouncer --help)`

const TAKES_VALUE = new Set(GLOBAL_OPTIONS.filter(([flags]) => flags.includes('<')).flatMap(([flags]) => names(flags)))

function names(flags: string): string[] {
  return flags.split(/[ ,]+/).filter(part => part.startsWith('-'))
}

/** The first word that is no option, nor the value of one. */
export function commandOf(argv: readonly string[]): string | undefined {
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i] as string
    if (!word.startsWith('-') || word === '-') return word
    if (TAKES_VALUE.has(word)) i++
  }
  return undefined
}

function userOf(env: NodeJS.ProcessEnv): string {
  const named = env.USER || env.LOGNAME
  if (named) return named
  try {
    return userInfo().username
  } catch {
    return 'unknown'
  }
}

/** Ctrl-C: what was registered is called, then 130; the second one waits for nothing. */
function interruptible(io: NodeJS.Process): Set<() => unknown> {
  const cleanups = new Set<() => unknown>()
  let interrupted = false
  io.on('SIGINT', async () => {
    if (interrupted) io.exit(130)
    interrupted = true
    await Promise.allSettled([...cleanups].map(async cleanup => cleanup()))
    io.exit(130)
  })
  return cleanups
}
