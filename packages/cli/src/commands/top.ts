import type { CommandRoom } from '../command.ts'
import { CommandError, EXIT } from '../context.ts'
import { screens } from '../screens.ts'

export const command: CommandRoom = {
  register(program, context) {
    program
      .command('top')
      .description('One live screen: rates by outcome, who is busiest, nearest a limit or blocked')
      .addHelpText('after', HELP)
      .action(async (_, command) => {
        const of = context(command)
        if (!of.stdout.isTTY || !of.stdin.isTTY) {
          throw new CommandError(EXIT.usage, 'top draws on a terminal; for a script: bouncer clients -o json')
        }
        const control = await of.control()
        // Where nobody answers there is nothing to draw: an error in a line says it better.
        await control.status()
        const { showTop } = await screens.top()
        if (!(await showTop(of, control))) throw new CommandError(EXIT.interrupted, '')
      })
  },
}

const HELP = `
Keys
  up, down, j, k     move            s   sort: rate, used, client
  enter              inspect         /   filter by client, policy or state (esc clears)
  u                  unblock, asks   p   pause
  q                  quit

Examples
  bouncer top
  bouncer top --url http://127.0.0.1:8900`
