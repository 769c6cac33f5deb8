import type { CommandRoom } from '../command.ts'
import { CommandError, EXIT } from '../context.ts'
import type { RawOptions } from '../load/options.ts'

const collect = (value: string, values: readonly string[]): string[] => [...values, value]

export const command: CommandRoom = {
  register(program, context) {
    program
      .command('load')
      .argument('<path-or-url>', 'a path of the data plane that the control plane names, or a whole URL')
      .description('Send traffic on schedule, then check what was admitted against what the policies had to admit')
      .option('--rps <rate>', 'requests a second, at most 20000; with --stages: where the first one starts')
      .option('--duration <time>', 'at most 10m (default: 10s)')
      .option(
        '--stages <list>',
        'RATE:TIME,…: each goes linearly from the rate before to its own; the first holds its own',
      )
      .option('--clients <n>', 'distinct addresses, 198.18.0.1 and on, in X-Forwarded-For; at most 1000 (default: 1)')
      .option('--attackers <share>', 'this share sends 10 times as often; all others then wait as Retry-After asks')
      .option('-X, --method <method>', 'default: GET, with a body POST')
      .option('-H, --header <line>', "'Name: value', as often as needed", collect, [])
      .option('--body <text>', 'what is sent; @FILE: what is in the file')
      .option('--target <url>', 'send the path there')
      .option('--seed <n>', 'the same order of clients again')
      .option('--fail-if <threshold>', "exit 99 if it holds: 'p99>50ms', 'errors>0', 'refused>10%'", collect, [])
      .option('--out <file>', 'write the report as JSON')
      .option('--keep', 'leave the counters and blocks that the run made')
      .option('--no-oracle', 'do not check what was admitted; cleans up nothing')
      .option('--i-own-this-host', 'send beyond this machine')
      .addHelpText('after', EXAMPLES)
      .action(async (where: string, raw: RawOptions, command) => {
        const of = context(command)
        if (of.options.output === 'csv') throw new CommandError(EXIT.usage, 'load has no csv; -o json has it all')
        const [{ parseOptions }, { rehearse }] = await Promise.all([
          import('../load/options.ts'),
          import('../load/rehearse.ts'),
        ])
        await rehearse(of, parseOptions(where, raw))
      })
  },
}

const EXAMPLES = `
An open loop: requests go out when they are due, whatever became of those before, and latency counts from then. The
clients of a run are forgotten before and after it (each leaves an entry in the audit). Caps: 20000 requests a second,
10 minutes, 1000000 requests, 1000 clients, 1000 unanswered at once.

Exit codes: 0 the limiter did what its policies say · 1 it did not · 5 nobody listens there · 99 a threshold was missed
            130 interrupted (the summary is printed all the same)

Examples
  bouncer load --rps 200 /api/data
  bouncer load --rps 200 --clients 20 --attackers 0.1 /api/data
  bouncer load --stages 50:10s,200:30s,0:5s --clients 50 /api/data
  bouncer load --rps 20 --body '{"username":"demo","password":"guess"}' /auth/login
  bouncer load --rps 500 --fail-if 'p99>50ms' --fail-if 'errors>0' -o json http://127.0.0.1:3000/`
