import { CommandError, type Context, EXIT } from './context.ts'
import { describe } from './problem.ts'
import { safe } from './text.ts'

/** So many calls are under way at once. */
const AT_ONCE = 8

/**
 * Does the same for each of several, a few at a time; `done` is what worked, in order, and `tell` hears of each as soon as it
 * and all before it are done. What fails is said on stderr, and the rest goes on, but not after Ctrl-C nor when nobody
 * answers any more. `end` says how far it came then, and ends the command with the exit code of the first failure.
 */
export async function each<R>(
  { stderr, onInterrupt }: Pick<Context, 'stderr' | 'onInterrupt'>,
  things: readonly string[],
  act: (thing: string) => Promise<R>,
  tell: (result: R) => void = () => {},
): Promise<{ done: R[]; lost: boolean; end(): void }> {
  /** undefined: it failed. */
  const results: ({ readonly value: R } | undefined)[] = []
  let failure: number | undefined
  let [next, told] = [0, 0]
  let [interrupted, lost] = [false, false]
  let ended = () => {}
  const over = new Promise<void>(resolve => {
    ended = resolve
  })
  // What is under way ends as it may: then it is known how far it came.
  const listening = onInterrupt(() => {
    interrupted = true
    return over
  })
  const settle = (i: number, result: { readonly value: R } | undefined) => {
    results[i] = result
    for (; told in results; told++) {
      const one = results[told]
      if (one) tell(one.value)
    }
  }
  const work = async () => {
    while (next < things.length && !interrupted && !lost) {
      const i = next++
      try {
        settle(i, { value: await act(things[i] as string) })
      } catch (error) {
        if (things.length === 1) throw error
        const { exitCode, lines } = describe(error)
        failure ??= exitCode
        if (!lost) stderr.write(`${lines.join('\n')}\n`)
        if (exitCode === EXIT.unreachable) lost = true
        else settle(i, undefined)
      }
    }
  }
  try {
    await Promise.all(Array.from({ length: Math.min(AT_ONCE, things.length) }, work))
  } catch (error) {
    ended()
    listening()
    throw error
  }
  // Those after one that nobody answered for.
  for (const [i, one] of results.entries()) if (i >= told && one) tell(one.value)
  const done = results.flatMap(one => (one ? [one.value] : []))
  const end = () => {
    const open = things.filter((_, i) => !(i in results))
    if (open.length > 0) {
      const rest = `${done.length} of ${things.length} done, the rest not, beginning with ${safe(open[0] as string)}`
      const unsure = lost ? ' (where no answer came it may have been; doing it again does no harm)' : ''
      stderr.write(`bouncer: ${rest}${unsure}\n`)
    }
    ended()
    if (!interrupted) listening()
    if (failure !== undefined || interrupted)
      throw new CommandError(interrupted ? EXIT.interrupted : (failure as number), '')
  }
  return { done, lost, end }
}
