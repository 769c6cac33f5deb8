import { userInfo } from 'node:os'
import { Command, Option } from 'commander'
import { COMMANDS, GLOBAL_OPTIONS } from './catalog.ts'
import type { CommandRoom } from './command.ts'
import { type Connection, connect } from './connection.ts'
import { type Context, FORMATS, type GlobalOptions } from './context.ts'
import { describe } from './problem.ts'

/** Parses a command line, loads the one command it names and runs it. Never throws; sets the exit code. */
export async function run(argv: readonly string[], io: NodeJS.Process): Promise<void> {
  const { stdout, stderr, env } = io
  // The reader has what it wanted: `bouncer keys | head -1`.
  for (const stream of [stdout, stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => io.exit(error.code === 'EPIPE' ? 0 : 1))
  }
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
      stdin: io.stdin,
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
    if (name !== undefined && COMMANDS.some(entry => entry.name === name)) {
      const room: { command: CommandRoom } = await import(`./commands/${name}.ts`)
      room.command.register(program, contextOf)
      for (const command of program.commands) shape(command)
    } else {
      // Only so that commander can guess which one was meant.
      for (const entry of COMMANDS) program.command(entry.name).description(entry.summary)
    }
    const given = argv[0] === 'help' ? [...argv.slice(1), '--help'] : argv
    await program.parseAsync(given, { from: 'user' })
  } catch (error) {
    io.exitCode = fail(error)
  } finally {
    await connection?.then(({ close }) => close()).catch(() => {})
  }
}

function programOf({ stdout }: NodeJS.Process): Command {
  const program = new Command('bouncer')
    .usage('COMMAND [options]')
    .exitOverride()
    .helpCommand(false)
    .showSuggestionAfterError()
    .configureOutput({ writeOut: text => stdout.write(text), writeErr: () => {}, outputError: () => {} })
    .configureHelp({ showGlobalOptions: true, commandUsage, styleTitle: title => title.replace(/:$/, '') })
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

/** The same manners for every command: no word too many, and no `help` among the subcommands. */
function shape(command: Command): void {
  command.helpCommand(false).allowExcessArguments(false)
  for (const sub of command.commands) shape(sub)
}

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
