import type { Command } from 'commander'
import type { Context } from './context.ts'

/** One command's room: `commands/NAME.ts` exports one as `command`. */
export interface CommandRoom {
  /** Adds itself, its options and its examples. `context` is made when the command runs, with its options read. */
  register(program: Command, context: (command: Command) => Context): void
}
