import { CommandError, type Context } from './context.ts'
import { describe } from './problem.ts'

/** So many calls are under way at once. */
const AT_ONCE = 8

/**
 * Does the same for each of several, a few at a time; `done` is what worked, in order. What fails is said on stderr, and the
 * rest goes on; `end` ends the command with the exit code of the first failure.
 */
export async function each<T, R>(
  { stderr }: Pick<Context, 'stderr'>,
  things: readonly T[],
  act: (thing: T) => Promise<R>,
): Promise<{ done: R[]; end(): void }> {
  const results: { value: R }[] = []
  let failure: number | undefined
  let next = 0
  const work = async () => {
    for (let i = next++; i < things.length; i = next++) {
      try {
        results[i] = { value: await act(things[i] as T) }
      } catch (error) {
        if (things.length === 1) throw error
        const { exitCode, lines } = describe(error)
        failure ??= exitCode
        stderr.write(`${lines.join('\n')}\n`)
      }
    }
  }
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, things.length) }, work))
  const end = () => {
    if (failure !== undefined) throw new CommandError(failure, '')
  }
  return { done: results.filter(Boolean).map(({ value }) => value), end }
}
