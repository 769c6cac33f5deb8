import { randomUUID } from 'node:crypto'
import { type IncomingMessage, type RequestListener, type ServerResponse, STATUS_CODES } from 'node:http'
import { inspect } from 'node:util'
import parseUrl from 'parseurl'
import * as z from 'zod'
import { type Decision, isAllowed, oneOf, strict } from './contracts/index.ts'
import { parseWith } from './control/parse.ts'
import { BouncerError } from './errors.ts'
import type { Failures } from './failures.ts'
import { HEADER_NAMES, HEADER_STYLES, type HeaderStyle, type HeaderTarget, type Problem, problemOf } from './headers.ts'
import { keepAsTable, read } from './hidden-classes.ts'
import type { Peer } from './identity/identify.ts'
import type { Answer } from './stores/store.ts'

declare module 'http' {
  interface IncomingMessage {
    /** What the limiter decided about this request. */
    bouncer?: Decision
  }
}

type Request = IncomingMessage & {
  baseUrl?: string
  originalUrl?: string
  /** What parseurl has made of `url`, and keeps with the request. */
  _parsedUrl?: { readonly _raw?: string; readonly pathname: string | null }
  id?: unknown
}

/** What a request is decided by. */
export interface RequestToCheck {
  readonly peer: Peer
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
 * All optional; functions may return promises, for which a request waits as long as they take. `skip` is asked first, then
 * `cost`, then `client`. What they throw goes to Express's error handler; in front of an application there is none: the
 * request is answered with 500, and the logger told, once a minute and kind of error.
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

/** Goes on at once where nothing has to be waited for. */
function after<T, R>(answer: T | PromiseLike<T>, go: (answer: T) => R | Promise<R>): R | Promise<R> {
  const isThenable = typeof (answer as PromiseLike<T> | undefined)?.then === 'function'
  return isThenable ? Promise.resolve(answer).then(go) : go(answer as T)
}

type Next = (error?: unknown) => unknown

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

const EXPOSE = HEADER_NAMES.join(', ')

/** The limiter as middleware for Express 5 and 4 (and anything else that passes Node's own request and response). */
export function expressMiddleware<Req extends IncomingMessage>(
  decider: Decider,
  failures: Failures,
  options: ExpressOptions<Req> = {},
  where = 'bouncer.express',
) {
  parseWith(optionsSchema, options, where, 'The options are listed in the README under "Options"')
  const { skip, cost, client, refundWhen, headers: style = 'both' } = options
  const hooked = skip !== undefined || cost !== undefined || client !== undefined

  function decide(req: Request): Answer<Decision> {
    const request = { peer: req, method: read(req, 'method') ?? 'GET', path: pathOf(req) }
    return hooked ? ask(request, req as unknown as Req) : decider.check(request)
  }

  /** One after the other: what one throws finds no other under way, and who is skipped is asked no more. */
  function ask(request: RequestToCheck, req: Req): Answer<Decision> {
    // Who hangs up meanwhile has no address any more, and is counted all the same.
    const peer = { headers: req.headers, socket: { remoteAddress: req.socket.remoteAddress } }
    return after(skip?.(req), skip => {
      if (skip) return decider.check({ ...request, peer, skip })
      return after(cost?.(req), cost =>
        after(client?.(req), client => decider.check({ ...request, peer, cost, client })),
      )
    })
  }

  function answer(req: Request, res: ServerResponse, next: Next, decision: Decision): unknown {
    const { origin } = read(req, 'headers')
    req.bouncer = decision
    // The client went away while we asked: there is nobody to answer, and no work to be done for them.
    if (isGone(res)) return
    keepAsTable(res)
    if (refundWhen && decision.outcome === 'allowed') {
      const { socket } = req
      // An aborted response tells of no `finish`, unless all of it was handed over at once; `close` comes in any case.
      res.once('close', () => void (res.writableFinished && !socket.errored && refund(req, res, decision)))
    }
    if (read(res, 'headersSent')) return goOn(res, next, decision)
    decider.setHeaders(res, decision, style)
    if (origin !== undefined && style !== 'none') expose(res)
    if (!isAllowed(decision)) return refuse(req, res, decision)
    return next()
  }

  /** Somebody has begun to answer before us (a stream of events, say): too late to tell, not to refuse. */
  function goOn(res: ServerResponse, next: Next, decision: Decision): unknown {
    if (res.writableEnded) return
    return isAllowed(decision) ? next() : res.end()
  }

  async function refund(req: Request, res: ServerResponse, decision: Decision): Promise<void> {
    try {
      if (await refundWhen?.(res)) await decider.refund(decision)
    } catch (error) {
      // The response is gone: nobody else can be told.
      failures.tell(`refundWhen failed for ${routeOf(req)}`, error)
    }
  }

  /** Answers what `next` does, or a promise of it. */
  return function bouncer(req: Request, res: ServerResponse, next: Next): unknown {
    let decided: Answer<Decision>
    try {
      decided = decide(req)
    } catch (error) {
      return next(thrown(error))
    }
    if (!(decided instanceof Promise)) return answer(req, res, next, decided)
    // What `next` throws is not for `next` to hear of again.
    return decided.then(
      decision => answer(req, res, next, decision),
      error => next(thrown(error)),
    )
  }
}

/** Of HTTP/2's compatible response only the stream tells. */
const isGone = (res: ServerResponse & { stream?: { destroyed: boolean } }) =>
  read(res, 'destroyed') ?? res.stream?.destroyed ?? false

/** For the log: without the query, which may hold what is secret. */
const routeOf = (req: Request) => `${req.method} ${pathAsked(req).slice(0, 200)}`

/** An error for `next`, to which nothing means "go on" and a string may mean "skip this route". */
const thrown = (error: unknown) =>
  error && typeof error === 'object' ? error : new Error(`a hook of the limiter threw ${inspect(error)}`)

/** An application with the limiter in front of it: its `next` is the application, which has no error handler for it. */
export function inFrontOf(
  app: RequestListener,
  decider: Decider,
  failures: Failures,
  options?: ExpressOptions,
): RequestListener {
  if (typeof app !== 'function') {
    throw new BouncerError(
      'ERR_INVALID',
      `bouncer.wrap: ${inspect(app, { depth: 0 }).slice(0, 100)} is no application`,
      "Give it what Node's createServer takes: an Express app, Koa's app.callback(), a function of request and response",
    )
  }
  const limit = expressMiddleware(decider, failures, options, 'bouncer.wrap')
  function fail(req: Request, res: ServerResponse, error: unknown): void {
    failures.tell(`${routeOf(req)} could not be decided, and was answered with 500`, error)
    if (res.headersSent) res.destroy()
    else send(req, res, { type: 'about:blank', title: STATUS_CODES[500] as string, status: 500 })
  }
  // What the application answers is for the server, which may look after its promise (`captureRejections`).
  return (req, res) => limit(req, res, error => (error === undefined ? app(req, res) : fail(req, res, error)))
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
  // An application that stands behind two of us has them from the first.
  if (exposed === '*' || String(exposed).includes(EXPOSE)) return
  res.setHeader('Access-Control-Expose-Headers', exposed === undefined ? EXPOSE : `${exposed}, ${EXPOSE}`)
}

function refuse(req: Request, res: ServerResponse, decision: Decision): void {
  const requestId = typeof req.id === 'string' || typeof req.id === 'number' ? String(req.id) : randomUUID()
  send(req, res, problemOf(decision, requestId))
}

function send(
  req: Request,
  res: ServerResponse,
  problem: Problem | (Pick<Problem, 'type' | 'title'> & { status: 500 }),
): void {
  const body = `${JSON.stringify(problem)}\n`
  res.statusCode = problem.status
  res.setHeader('Content-Type', 'application/problem+json')
  res.setHeader('Content-Length', Buffer.byteLength(body))
  // A refusal is about this client and this moment.
  res.setHeader('Cache-Control', 'no-store')
  // A text, which Node writes together with the headers; it leaves it out for HEAD.
  res.end(body)
  if (hasBody(req)) linger(req)
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
