import { CommandError, type Context, EXIT } from './context.ts'

/** Whether a person can be asked: questions go to stderr, answers come from stdin. */
export const canAsk = ({ stdin, stderr }: Context): boolean => Boolean(stdin.isTTY && stderr.isTTY)

/** Asks on a terminal; `--yes` answers for it; off a terminal it is an error that says so. */
export async function confirm(context: Context, question: string): Promise<boolean> {
  if (context.options.yes) return true
  if (!canAsk(context)) {
    throw new CommandError(EXIT.usage, `this needs a yes, and there is no terminal to ask: ${question}\nadd --yes`)
  }
  const answer = await ask(context, `${question} (y/N) `)
  return /^y(es)?$/i.test(answer.trim())
}

/** One line from the terminal. */
export async function ask(context: Context, question: string): Promise<string> {
  const { createInterface } = await import('node:readline/promises')
  const lines = createInterface({ input: context.stdin, output: context.stderr })
  try {
    return await new Promise<string>((resolve, reject) => {
      const interrupted = () => reject(new CommandError(EXIT.interrupted, ''))
      lines.once('SIGINT', interrupted)
      lines.once('close', () => resolve(''))
      lines.question(question).then(resolve, reject)
    })
  } finally {
    lines.close()
  }
}
