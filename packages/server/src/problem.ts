import { randomUUID } from 'node:crypto'
import { STATUS_CODES } from 'node:http'
import { BouncerError, type ErrorCode, type Logger } from '@api-bouncer/limiter'
import type { ErrorRequestHandler, RequestHandler, Response } from 'express'
import express from 'express'

/** An answer that is not the one that was asked for; becomes problem+json (RFC 9457). */
export class HttpError extends Error {
  readonly status: number
  readonly more: Readonly<Record<string, unknown>>

  constructor(status: number, detail: string, more: Readonly<Record<string, unknown>> = {}) {
    super(detail)
    this.status = status
    this.more = more
  }
}

/** Indented, with a newline at the end: people read these answers in terminals. */
export function sendJson(res: Response, status: number, value: unknown, type = 'application/json'): void {
  const body = Buffer.from(`${JSON.stringify(value, null, 2)}\n`)
  res.status(status).set({ 'Content-Type': `${type}; charset=utf-8`, 'Cache-Control': 'no-store' })
  res.set('Content-Length', String(body.length)).end(body)
}

const STATUS: Readonly<Record<ErrorCode, number>> = {
  ERR_INVALID: 400,
  ERR_UNSAFE: 400,
  ERR_CONTRADICTION: 400,
  ERR_NOT_FOUND: 404,
  ERR_CONFLICT: 409,
  ERR_UNAVAILABLE: 503,
  ERR_UNAUTHORISED: 401,
}

interface Told {
  readonly status: number
  readonly detail: string
  readonly more?: Readonly<Record<string, unknown>>
}

/** What a client may be told of an error; undefined: nothing, it is ours. */
function tell(error: unknown): Told | undefined {
  if (error instanceof HttpError) return { status: error.status, detail: error.message, more: error.more }
  if (error instanceof BouncerError) {
    return { status: STATUS[error.code], detail: error.message, more: { code: error.code } }
  }
  // Of Express and its parsers: http-errors and URIError.
  const { status, type, message, expose } = error as {
    status?: number
    type?: string
    message: string
    expose?: boolean
  }
  if (typeof status !== 'number' || status < 400 || status > 499) return undefined
  if (error instanceof URIError) return { status, detail: 'The path has a %-escape that does not decode' }
  if (type === 'entity.parse.failed') return { status, detail: `The body is not JSON: ${message}` }
  if (type === 'entity.too.large') return { status, detail: 'The body is too large' }
  return { status, detail: expose ? message : (STATUS_CODES[status] as string) }
}

/** The last middleware: every error as problem+json; ours without details, but with an id that the log has too. */
export function problems(logger: Logger): ErrorRequestHandler {
  return (error, req, res, _next) => {
    if (res.headersSent) return void res.destroy()
    const told = tell(error)
    const requestId = told ? undefined : randomUUID()
    if (!told) logger.error(`${req.method} ${req.path.slice(0, 200)} failed (${requestId}): ${error?.stack ?? error}`)
    const { status, detail, more } = told ?? { status: 500, detail: 'Something went wrong here, and was logged.' }
    const problem = { type: 'about:blank', title: STATUS_CODES[status], status, detail, ...more, requestId }
    sendJson(res, status, problem, 'application/problem+json')
  }
}

/** Parses a JSON body of at most `limit` bytes; another kind of body is refused rather than ignored. */
export function jsonBody(limit: number): RequestHandler[] {
  const refuseOthers: RequestHandler = (req, _res, next) => {
    const { 'content-length': length, 'transfer-encoding': encoding, 'content-type': type = 'none' } = req.headers
    if ((length === undefined || length === '0') && encoding === undefined) return next()
    if (/^application\/(?:[\w.+-]+\+)?json\s*(?:;|$)/i.test(type)) return next()
    next(
      new HttpError(
        415,
        `A body of type ${type.slice(0, 100)} is not understood. Send JSON: Content-Type: application/json`,
      ),
    )
  }
  return [refuseOthers, express.json({ limit, type: ['json', '+json'] })]
}
