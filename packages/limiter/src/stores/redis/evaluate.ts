import type { Cluster, Redis } from 'ioredis'
import { BouncerError } from '../../errors.ts'
import type { Script } from './scripts.ts'

/** Of a deadline: what Redis may use. The rest is for the answer's way back, so that what was done is also heard. */
export const FENCE = 0.8

export type Evaluator = Pick<Redis | Cluster, 'evalsha' | 'eval'>

/**
 * EVALSHA; a script that the server has lost is sent whole, one that it has moved to another node follows there. No other
 * error is tried again: it may have counted.
 */
export async function evaluate(
  redis: Evaluator,
  { sha, text }: Script,
  keys: readonly string[],
  args: readonly (string | number)[],
  cluster?: Evaluator,
): Promise<(number | string)[]> {
  try {
    return (await redis.evalsha(sha, keys.length, ...keys, ...args)) as (number | string)[]
  } catch (error) {
    const { message } = error as Error
    if (message.startsWith('NOSCRIPT'))
      return (await redis.eval(text, keys.length, ...keys, ...args)) as (number | string)[]
    if (cluster && /^(MOVED|ASK) /.test(message)) return evaluate(cluster, { sha, text }, keys, args)
    throw error
  }
}

/** Whether the server answered so, rather than the connection ending. */
export const isReply = (error: unknown): error is Error => (error as Error).name === 'ReplyError'

export const unavailable = (what: string) =>
  new BouncerError('ERR_UNAVAILABLE', what, 'The fail mode decides meanwhile; see /health, and bouncer status')

/** An answer, or ERR_UNAVAILABLE when it fails or takes longer. */
export async function withTimeout<T>(answer: Promise<T>, ms: number, onLate?: () => void): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      onLate?.()
      reject(unavailable(`no answer from Redis within ${ms} ms`))
    }, ms)
  })
  try {
    return await Promise.race([answer, late])
  } catch (error) {
    throw unavailable((error as Error).message)
  } finally {
    clearTimeout(timer)
  }
}
