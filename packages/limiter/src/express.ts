import { randomUUID } from 'node:crypto'
import { type IncomingMessage, type RequestListener, type ServerResponse, STATUS_CODES } from 'node:http'
import { inspect } from 'node:util'
import parseUrl from 'parseurl'
import * as z from 'zod'
import { type Decision, isAllowed, oneOf, strict } from './contracts/index.ts'
import { parseWith } from './control/parse.ts'
import { HEADER_NAMES, HEADER_STYLES, type HeaderStyle, type HeaderTarget, type Problem, problemOf } from './headers.ts'
import type { Logger } from './options.ts'
import { read } from './read.ts'
import type { Answer } from './stores/store.ts'

declare global {
  namespace Express {
    interface Request {
      /** What the limiter decided about this request. */
      bouncer?: Decision
    }
  }
}

type Request = IncomingMessage & {
  baseUrl?: string
  originalUrl?: string
  /** What parseurl has made of `url`, and keeps with the request. */
  _parsedUrl?: { readonly _raw?: string; readonly pathname: string | null }
  bouncer?: Decision
  id?: unknown
}

/** What a request is decided by. */
export interface RequestToCheck {
  readonly peer: IncomingMessage
  readonly method: string
  /** The parsed pathname, undecoded, as Express routes it. */
  readonly path: string
  /** Units; default: the policy's `cost`. */
  readonly cost?: number | undefined
  /** Who is counted instead of the address: `user:42`. Counted as given; an address is counted by its network. */
  readonly client?: string | undefined
  /** Let it through uncounted. */
  readonly skip?: boolean | undefined
}

/** What the middleware needs of a bouncer. */
export interface Decider {
  check(request: RequestToCheck): Answer<Decision>
  refund(decision: Decision): Answer<number>
  setHeaders(target: HeaderTarget, decision: Decision, style: HeaderStyle): void
}

/**
 * All optional; functions may return promises. What they throw goes to Express's error handler; in front of an application
 * there is none: the request is answered with 500, and the logger told.
 */
export interface ExpressOptions<Req extends IncomingMessage = IncomingMessage> {
  /** True: the request passes uncounted, as `exempt`. Default: none does. */
  skip?: (req: Req) => boolean | Promise<boolean>
  /** Units this request costs: an integer from 0 (is only held to a block). Default: the policy's `cost`, 1. */
  cost?: (req: Req) => number | Promise<number>
  /**
   * Asked once, when the response has been sent whole; true gives the units back. Default: never. A response that was aborted
   * is not asked about: its status would still be 200, and whoever hangs up early would guess for nothing. Only what this
   * very request took comes back, and a violation is never undone.
   */
  refundWhen?: (res: ServerResponse) => boolean | Promise<boolean>
  /** Who is counted instead of the address, such as `user:42`; `undefined`: the address. Block lists still see the address. */
  client?: (req: Req) => string | undefined | Promise<string | undefined>
  /** Which headers to send. Default `both`: X-RateLimit-* and the IETF pair. `Retry-After` is always sent. */
  headers?: HeaderStyle
}

/** What the hooks `skip`, `cost` and `client` said. */
type Hooked = readonly [boolean | undefined, number | undefined, string | undefined]

const isThenable = (value: unknown) => typeof (value as PromiseLike<unknown> | undefined)?.then === 'function'

type Next = (error?: unknown) => void

const hook = z
  .custom(value => typeof value === 'function', 'expected a function of the request (or response)')
  .optional()

const optionsSchema = strict({
  skip: hook,
  cost: hook,
  refundWhen: hook,
  client: hook,
  headers: oneOf(HEADER_STYLES).optional(),
})

const LINGER_MS = 5000
/** What throws at each request is not told at each. */
const TELL_EVERY_MS = 60_000

const EXPOSE = HEADER_NAMES.join(', ')

/** The limiter as middleware for Express 5 and 4 (and anything else that passes Node's own request and response). */
export function expressMiddleware<Req extends IncomingMessage>(
  decider: Decider,
  options: ExpressOptions<Req> = {},
  where = 'bouncer.express',
) {
  parseWith(optionsSchema, options, where, 'The options are listed in the README under "Options"')
  const { skip, cost, client, refundWhen, headers: style = 'both' } = options
  const hooked = skip !== undefined || cost !== undefined || client !== undefined

  function decide(req: Request): Answer<Decision> {
    const request = { peer: req, method: read(req, 'method') ?? 'GET', path: pathOf(req) }
    if (!hooked) return decider.check(request)
    const asked = req as unknown as Req
    const hooks = [skip?.(asked), cost?.(asked), client?.(asked)] as const
    const check = ([skip, cost, client]: Hooked) => decider.check({ ...request, skip, cost, client })
    return hooks.some(isThenable) ? Promise.all(hooks).then(check) : check(hooks as Hooked)
  }

  function answer(req: Request, res: ServerResponse, next: Next, decision: Decision): void {
    const { origin } = read(req, 'headers')
    req.bouncer = decision
    // The client went away while we asked: there is nobody to answer, and no work to be done for them.
    if (read(res, 'destroyed')) return
    if (refundWhen && decision.outcome === 'allowed') {
      // `finish` is never told of an aborted response, `close` is.
      res.once('close', () => void (res.writableFinished && refund(res, decision)))
    }
    if (read(res, 'headersSent')) return goOn(res, next, decision)
    decider.setHeaders(res, decision, style)
    if (origin !== undefined && style !== 'none') expose(res)
    if (!isAllowed(decision)) return refuse(req, res, decision)
    next()
  }

  /** Somebody has begun to answer before us (a stream of events, say): too late to tell, not to refuse. */
  function goOn(res: ServerResponse, next: Next, decision: Decision): void {
    if (res.writableEnded) return
    if (isAllowed(decision)) next()
    else res.end()
  }

  async function refund(res: ServerResponse, decision: Decision): Promise<void> {
    try {
      if (await refundWhen?.(res)) await decider.refund(decision)
    } catch (error) {
      // The response is gone: nobody can be told but the process.
      process.emitWarning(`refundWhen failed: ${(error as Error).message}`, 'ApiBouncerWarning')
    }
  }

  return function bouncer(req: Request, res: ServerResponse, next: Next): void {
    let decided: Answer<Decision>
    try {
      decided = decide(req)
    } catch (error) {
      return next(thrown(error))
    }
    // What `next` throws is not for `next` to hear of again.
    if (decided instanceof Promise) {
      decided.then(
        decision => answer(req, res, next, decision),
        error => next(thrown(error)),
      )
    } else answer(req, res, next, decided)
  }
}

/** An error for `next`, to which nothing means "go on" and a string may mean "skip this route". */
const thrown = (error: unknown) =>
  error && typeof error === 'object' ? error : new Error(`a hook of the limiter threw ${inspect(error)}`)

/** An application with the limiter in front of it: its `next` is the application, which has no error handler for it. */
export function inFrontOf(
  app: RequestListener,
  decider: Decider,
  logger: Logger,
  options?: ExpressOptions,
): RequestListener {
  const limit = expressMiddleware(decider, options, 'bouncer.wrap')
  let toldAt = -TELL_EVERY_MS
  function fail(res: ServerResponse, error: unknown): void {
    const now = performance.now()
    if (now - toldAt >= TELL_EVERY_MS) {
      toldAt = now
      logger.error(`a request could not be decided, and was answered with 500: ${inspect(error)}`)
    }
    if (res.headersSent) res.destroy()
    else send(res, { type: 'about:blank', title: STATUS_CODES[500] as string, status: 500 })
  }
  return (req, res) => limit(req, res, error => (error === undefined ? app(req, res) : fail(res, error)))
}

/** As Express routes it: by `url`, which others may have rewritten, behind what mounts have taken off it. */
function pathOf(req: Request): string {
  const mounted = read(req, 'baseUrl')
  // Connect tells only in `originalUrl` what its mounts have taken off; Node alone has neither.
  if (mounted === undefined) return pathAsked(req)
  // Express has parsed this very url already.
  const known = read(req, '_parsedUrl')
  const path = (known?._raw === read(req, 'url') ? known : parseUrl(req))?.pathname ?? '/'
  if (mounted === '') return path
  return path === '/' ? mounted : mounted + path
}

function pathAsked(req: Request): string {
  try {
    return parseUrl.original(req)?.pathname ?? '/'
  } catch {
    // `http://[/auth`: no parser takes it (nor does Express), but a handler may look at its end alone.
    return /^[^/]*\/\/[^/?#]*([^?#]+)/.exec(req.originalUrl ?? req.url ?? '')?.[1] ?? '/'
  }
}

function expose(res: ServerResponse): void {
  const exposed = res.getHeader('Access-Control-Expose-Headers')
  if (exposed === '*') return
  res.setHeader('Access-Control-Expose-Headers', exposed === undefined ? EXPOSE : `${exposed}, ${EXPOSE}`)
}

function refuse(req: Request, res: ServerResponse, decision: Decision): void {
  const requestId = typeof req.id === 'string' || typeof req.id === 'number' ? String(req.id) : randomUUID()
  send(res, problemOf(decision, requestId))
  if (hasBody(req)) linger(req)
}

function send(res: ServerResponse, problem: Problem | (Pick<Problem, 'type' | 'title'> & { status: 500 })): void {
  const body = `${JSON.stringify(problem)}\n`
  res.statusCode = problem.status
  res.setHeader('Content-Type', 'application/problem+json')
  res.setHeader('Content-Length', Buffer.byteLength(body))
  // A refusal is about this client and this moment.
  res.setHeader('Cache-Control', 'no-store')
  // A text, which Node writes together with the headers; it leaves it out for HEAD.
  res.end(body)
}

/** Whether the request announced one, RFC 9112, 6.3: `complete` is false even for a GET while its headers are being handled. */
const hasBody = ({ headers, complete }: Request): boolean =>
  !complete && (headers['transfer-encoding'] !== undefined || (headers['content-length'] ?? '0') !== '0')

/**
 * Who is refused may go on sending a body that nobody reads, so that it hears the answer and can use the connection again; but
 * not for as long as it likes: connections are what a server has fewest of.
 */
function linger(req: Request): void {
  const late = setTimeout(() => req.destroy(), LINGER_MS).unref()
  req.once('close', () => clearTimeout(late))
}
