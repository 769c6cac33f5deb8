import type { Command } from 'commander'
import type { CommandRoom } from '../command.ts'
import type { Context } from '../context.ts'
import { CommandError, EXIT } from '../context.ts'
import { confirmWithin } from '../options.ts'
import type { EditOptions } from '../policy/edit.ts'
import type { FileOptions } from '../policy/files.ts'
import type { PolicyFlags } from '../policy/flags.ts'
import type { WriteOptions } from '../policy/save.ts'
import { describe } from '../problem.ts'

type ContextOf = (command: Command) => Context
type Runs<Options> = (context: Context, args: string[], options: Options) => Promise<void>

const collect = (value: string, before: readonly string[] = []) => [...before, value]

export const command: CommandRoom = {
  register(program, contextOf) {
    const policy = program
      .command('policy')
      .description('Read and change limits, with history and rollback')
      .addHelpText('after', EXAMPLES)
    readers(policy, contextOf)
    writers(policy, contextOf)
    files(policy, contextOf)
  },
}

/** Each handler comes with its room, loaded when it runs. */
const does =
  <Options>(contextOf: ContextOf, run: Runs<Options>) =>
  (...given: unknown[]) => {
    const command = given.at(-1) as Command
    return run(contextOf(command), given.slice(0, -2).flat() as string[], command.opts() as Options)
  }

function readers(policy: Command, contextOf: ContextOf): void {
  policy
    .command('list')
    .description('every policy in force')
    .addHelpText('after', examples('bouncer policy list', 'bouncer policy list -o json'))
    .action(does(contextOf, async of => (await import('../policy/show.ts')).listPolicies(of)))
  policy
    .command('get')
    .argument('<id>')
    .description('one policy as YAML, ready to change and apply')
    .addHelpText('after', examples('bouncer policy get auth', 'bouncer policy get auth > auth.yaml'))
    .action(does(contextOf, async (of, [id]) => (await import('../policy/show.ts')).getPolicy(of, id as string)))
  policy
    .command('history')
    .argument('<id>')
    .description('who changed it, when, and what changed')
    .addHelpText('after', examples('bouncer policy history auth', 'bouncer policy history auth -o json'))
    .action(does(contextOf, async (of, [id]) => (await import('../policy/show.ts')).showHistory(of, id as string)))
}

/** What every write takes. */
const writing = (command: Command, confirmable = true): Command => {
  command.option('--dry-run', 'show what would change, and change nothing').option('--reason <text>', 'for the audit')
  return confirmable
    ? command.option(
        '--confirm-within <duration>',
        'goes back by itself unless confirmed within this time (2m), later changes too',
        confirmWithin,
      )
    : command
}

function writers(policy: Command, contextOf: ContextOf): void {
  writing(policy.command('set').argument('<id>'))
    .description('change it by flags, on top of what is there')
    .addHelpText(
      'after',
      examples(
        'bouncer policy set auth --limit 20/1m --confirm-within 2m',
        "bouncer policy set login --create --match 'POST /login' --limit 5/1m",
      ),
    )
    .option(
      '--limit <limit>',
      'LIMIT/WINDOW, as 20/1m or 20/1m,burst=40; replaces all there are, and their burst',
      collect,
    )
    .option('--burst <units>', 'may be taken at once (token_bucket, gcra), or none')
    .option('--match <pattern>', "PATH or 'METHOD PATH'; several replace all of them", collect)
    .option('--mode <mode>', 'enforce, shadow (counts, refuses nobody) or off')
    .option('--algorithm <name>', 'sliding_window, token_bucket, gcra, …, or default')
    .option('--cost <units>', 'that a request takes')
    .option('--fail-mode <mode>', 'open, closed, local, or default: decides when the store is away')
    .option('--penalty <penalty>', 'none, default, or THRESHOLD/WINDOW:BLOCK as 5/5m:15m,1h')
    .option('--description <text>')
    .option('--create', 'make it when there is none')
    .action(
      does<PolicyFlags & EditOptions>(contextOf, async (of, [id], options) =>
        (await import('../policy/set.ts')).set(of, id as string, options),
      ),
    )
  writing(policy.command('edit').argument('<id>'))
    .description('change it in $VISUAL or $EDITOR; checks, shows the difference, asks')
    .addHelpText('after', examples('bouncer policy edit auth', 'EDITOR=nano bouncer policy edit login --create'))
    .option('--create', 'make it when there is none')
    .action(
      does<EditOptions>(contextOf, async (of, [id], options) =>
        (await import('../policy/edit.ts')).edit(of, id as string, options),
      ),
    )
  writing(policy.command('rollback').argument('<id>').argument('[version]'))
    .description('bring an earlier version back (the newest that differs)')
    .addHelpText(
      'after',
      examples('bouncer policy rollback auth', "bouncer policy rollback auth 3 --reason 'too tight'"),
    )
    .action(
      does<WriteOptions>(contextOf, async (of, [id, version], options) =>
        (await import('../policy/back.ts')).rollback(of, id as string, version, options),
      ),
    )
  policy
    .command('confirm')
    .argument('<id>')
    .description('keep a change that would go back by itself')
    .addHelpText('after', examples('bouncer policy confirm auth'))
    .action(does(contextOf, async (of, [id]) => (await import('../policy/back.ts')).confirmOne(of, id as string)))
  writing(policy.command('rm').argument('<ids...>'), false)
    .description('remove policies')
    .addHelpText('after', examples('bouncer policy rm login', 'bouncer policy rm login search --dry-run'))
    .action(
      does<WriteOptions>(contextOf, async (of, ids, options) =>
        (await import('../policy/back.ts')).remove(of, ids, options),
      ),
    )
}

function files(policy: Command, contextOf: ContextOf): void {
  const ofFile = (name: string) =>
    policy
      .command(name)
      .requiredOption('-f, --file <file>', 'YAML or JSON; - is stdin; several are read together', collect)
  writing(ofFile('apply'))
    .description('make the policies what a file says')
    .addHelpText(
      'after',
      examples('bouncer policy apply -f policies.yaml', 'bouncer policy apply -f policies.yaml --prune --dry-run'),
    )
    .option('--prune', 'remove policies that the file does not name')
    .action(
      does<FileOptions>(contextOf, async (of, _, options) => (await import('../policy/files.ts')).apply(of, options)),
    )
  ofFile('diff')
    .description('what applying a file would change; exit 0 nothing, 1 something, 2 and above an error')
    .addHelpText('after', examples('bouncer policy diff -f policies.yaml'))
    .option('--prune', 'with what the file does not name')
    .action(
      does<FileOptions>(contextOf, async (of, _, options) => {
        const { diff } = await import('../policy/files.ts')
        return failingAbove(diff(of, options))
      }),
    )
  ofFile('validate')
    .description('check a file without a server; exit 0 good, 1 not')
    .addHelpText('after', examples('bouncer policy validate -f policies.yaml'))
    .action(
      does<FileOptions>(contextOf, async (of, _, options) =>
        (await import('../policy/files.ts')).validate(of, options),
      ),
    )
}

/** 1 says that there are differences, so an error is never 1. */
async function failingAbove(work: Promise<void>): Promise<void> {
  try {
    await work
  } catch (error) {
    const { exitCode, lines } = describe(error)
    const silent = error instanceof CommandError && error.message === ''
    if (silent || exitCode !== EXIT.failed) throw error
    throw new CommandError(EXIT.usage, lines.join('\n').replace(/^bouncer: /, ''))
  }
}

const examples = (...lines: string[]) => `\nExamples\n${lines.map(line => `  ${line}`).join('\n')}`

const EXAMPLES = `
Examples
  bouncer policy list
  bouncer policy set auth --limit 20/1m                  tighten it; prints how to undo it
  bouncer policy set auth --limit 5/1m --confirm-within 2m
  bouncer policy set auth --mode shadow --dry-run
  bouncer policy edit auth
  bouncer policy get auth > auth.yaml; bouncer policy apply -f auth.yaml
  bouncer policy diff -f policies.yaml || echo drifted
  bouncer policy rollback auth 3`
