import { type Cluster, Command, type Redis } from 'ioredis'
import { storeMend } from '../../contracts/store-mend.ts'
import { BouncerError } from '../../errors.ts'
import type { Script } from './scripts.ts'

/** Of a deadline: what Redis may use. The rest is for the answer's way back, so that what was done is also heard. */
export const FENCE = 0.8

export type Evaluator = Pick<Redis | Cluster, 'sendCommand'>

/** What Redis is asked: which script, and with what. */
export interface Question {
  readonly script: Script
  readonly keys: readonly string[]
  readonly args: readonly (string | number)[]
}

/** Text as bytes where it was asked for so: most answers are numbers only, and looking through them for text costs. */
export type Reply = (number | string | Buffer)[]

type Encoding = 'utf8' | null

const command = (name: 'evalsha' | 'eval', { script, keys, args }: Question, replyEncoding: Encoding) =>
  new Command(name, [name === 'eval' ? script.text : script.sha, keys.length, ...keys, ...args], { replyEncoding })

const bulk = (text: string) => `$${Buffer.byteLength(text)}\r\n${text}\r\n`

/** An EVALSHA that is text already: what a Command does to its arguments costs more than all else that a check does before it is sent. */
class Evalsha extends Command {
  private readonly text: string

  constructor({ script, keys, args }: Question) {
    super('evalsha', [], { replyEncoding: null })
    let text = `*${3 + keys.length + args.length}\r\n$7\r\nevalsha\r\n${bulk(script.sha)}${bulk(String(keys.length))}`
    for (const key of keys) text += bulk(key)
    for (const arg of args) text += bulk(typeof arg === 'string' ? arg : String(arg))
    this.text = text
  }

  override toWritable(): string {
    return this.text
  }
}

/**
 * EVALSHA; a script that the server has lost is sent whole, one that it has moved to another node follows there. No other
 * error is tried again: it may have counted.
 */
export async function evaluate(
  redis: Evaluator,
  script: Script,
  keys: readonly string[],
  args: readonly (string | number)[],
  cluster?: Evaluator,
): Promise<(number | string)[]> {
  return (await ask(redis, { script, keys, args }, 'utf8', cluster)) as (number | string)[]
}

/**
 * The same, without a promise more than ioredis makes, since every check pays for it: calls back, later, either way. Text in
 * the answer stays bytes.
 */
export function evaluateFor(
  redis: Evaluator,
  question: Question,
  cluster: Evaluator | undefined,
  onReply: (reply: Reply) => void,
  onError: (error: Error) => void,
): void {
  const asked = new Evalsha(question)
  redis.sendCommand(asked)
  ;(asked.promise as Promise<Reply>).then(onReply, (error: Error) => {
    const second = again(error, redis, question, null, cluster)
    if (second) second.then(onReply, onError)
    else onError(error)
  })
}

function ask(redis: Evaluator, question: Question, encoding: Encoding, cluster?: Evaluator): Promise<Reply> {
  const asked = command('evalsha', question, encoding)
  redis.sendCommand(asked)
  return asked.promise.catch((error: Error) => {
    const second = again(error, redis, question, encoding, cluster)
    if (second) return second
    throw error
  }) as Promise<Reply>
}

/** Where it makes sense to ask once more. */
function again(error: Error, redis: Evaluator, question: Question, encoding: Encoding, cluster?: Evaluator) {
  if (error.message.startsWith('NOSCRIPT')) {
    return redis.sendCommand(command('eval', question, encoding)) as Promise<Reply>
  }
  if (cluster && /^(MOVED|ASK) /.test(error.message)) return ask(cluster, question, encoding)
  return undefined
}

/** Whether the server answered so, rather than the connection ending. */
export const isReply = (error: unknown): error is Error => (error as Error).name === 'ReplyError'

const MEANWHILE = 'The fail mode decides meanwhile; see /health, and bouncer status'

export const unavailable = (what: string, mend = MEANWHILE) => new BouncerError('ERR_UNAVAILABLE', what, mend)

/** What the driver says where no connection is up, in words for who does not know it; of a transaction, why it was none. */
function plainly({ message, previousErrors }: Error & { previousErrors?: Error[] }): string {
  if (/^Stream isn't writeable|maxRetriesPerRequest/.test(message))
    return 'Redis does not answer (not connected); this was not sent'
  return (previousErrors?.[0]?.message ?? message).replace(/\.$/, '')
}

/** Of what an operator asks: no fail mode answers that. */
const AGAIN = 'Try again when it answers; bouncer status says when'

/** An answer to an operator, or ERR_UNAVAILABLE when it fails or takes longer. */
export async function withTimeout<T>(answer: Promise<T>, ms: number, onLate?: () => void): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      onLate?.()
      reject(unavailable(`no answer from Redis within ${ms} ms`, AGAIN))
    }, ms)
  })
  try {
    return await Promise.race([answer, late])
  } catch (error) {
    if (error instanceof BouncerError) throw error
    const said = plainly(error as Error)
    throw unavailable(said, storeMend(said, AGAIN))
  } finally {
    clearTimeout(timer)
  }
}
