import type { Actor, ControlPlane } from '@api-bouncer/limiter/contracts'

export type Format = 'human' | 'json' | 'ndjson' | 'csv'
export const FORMATS: readonly Format[] = ['human', 'json', 'ndjson', 'csv']

/** Options that every command takes. */
export interface GlobalOptions {
  readonly url?: string
  readonly tokenFile?: string
  readonly redis?: string
  readonly output: Format
  readonly color: boolean
  readonly yes: boolean
  /** Who does it, for the audit; absent: the user. */
  readonly as?: string
}

/** What a command works with; everything of the outside is passed in. */
export interface Context {
  readonly options: GlobalOptions
  /** The control plane, opened when first asked for: through a server, or straight on Redis. */
  control(): Promise<ControlPlane>
  readonly actor: Actor
  readonly stdout: NodeJS.WriteStream
  readonly stderr: NodeJS.WriteStream
  readonly stdin: NodeJS.ReadStream
  readonly env: NodeJS.ProcessEnv
  /** Epoch ms. */
  now(): number
  /** Called at Ctrl-C, before the exit with 130 (a second Ctrl-C does not wait); answers how to take it back. */
  onInterrupt(cleanup: () => unknown): () => void
}

/** The exit codes: what went wrong, for scripts. */
export const EXIT = {
  done: 0,
  failed: 1,
  usage: 2,
  notFound: 3,
  notAuthorised: 4,
  unreachable: 5,
  threshold: 99,
  interrupted: 130,
} as const

/** Ends a command with a line on stderr and an exit code. */
export class CommandError extends Error {
  readonly exitCode: number

  /** An empty message: nothing is printed, the command has said it all. */
  constructor(exitCode: number, message: string) {
    super(message)
    this.exitCode = exitCode
  }
}
