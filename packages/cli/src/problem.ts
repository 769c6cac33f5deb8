import { EXIT } from './context.ts'
import { safe } from './text.ts'

export interface Problem {
  readonly exitCode: number
  readonly lines: readonly string[]
}

const EXIT_OF: Readonly<Record<string, number>> = {
  ERR_INVALID: EXIT.usage,
  ERR_UNSAFE: EXIT.usage,
  ERR_CONTRADICTION: EXIT.usage,
  ERR_NOT_FOUND: EXIT.notFound,
  ERR_UNAUTHORISED: EXIT.notAuthorised,
  ERR_UNAVAILABLE: EXIT.unreachable,
  ERR_CONFLICT: EXIT.failed,
}

/** What any error says to who typed the command, and to the script around it. Never a stack, unless asked. */
export function describe(error: unknown, debug = false): Problem {
  const stack = debug && error instanceof Error && error.stack ? error.stack.split('\n').map(safe) : []
  const { exitCode, message } = read(error)
  const lines =
    message === '' ? [] : message.split('\n').map((line, i) => (i === 0 ? `bouncer: ${safe(line)}` : safe(line)))
  return { exitCode, lines: [...lines, ...stack] }
}

function read(error: unknown): { exitCode: number; message: string } {
  const {
    name,
    code,
    exitCode,
    message = String(error),
  } = (error ?? {}) as Partial<Error> & {
    code?: string
    exitCode?: number
  }
  // Recognised by what they carry: the parser and the limiter need not be loaded to be understood.
  if (code?.startsWith('commander.')) return ofParser(code, message)
  if (name === 'BouncerError' && code !== undefined) {
    return { exitCode: EXIT_OF[code] ?? EXIT.failed, message: message.replace(FIELD, (_, name) => `${flagOf(name)}: `) }
  }
  if (exitCode !== undefined) return { exitCode, message }
  return { exitCode: EXIT.failed, message: `failed: ${message} (BOUNCER_DEBUG=1 shows where)` }
}

/** A field of a request that is an option here: what was typed is what is to be mended. */
const FIELD = /^(?:(?:body|block|unblock|(?:allow|deny)list entry): )?(for|reason|comment|grace|confirmWithin): /

/** `confirmWithin` is `--confirm-within`. */
export const flagOf = (field: string): string => `--${field.replace(/[A-Z]/g, letter => `-${letter.toLowerCase()}`)}`

function ofParser(code: string, message: string): { exitCode: number; message: string } {
  if (code === 'commander.helpDisplayed' || code === 'commander.version') return { exitCode: EXIT.done, message: '' }
  if (code === 'commander.help')
    return { exitCode: EXIT.usage, message: 'this needs a further word; --help lists them' }
  const text = message
    .replace(/^error: /, '')
    .replace(/\n\(Did you mean (.*?)\?\)/s, '; did you mean $1?')
    .replace(/'([^']*)'/g, '"$1"')
  return {
    exitCode: EXIT.usage,
    message: text.includes('did you mean') ? text : `${text} (--help shows what there is)`,
  }
}
