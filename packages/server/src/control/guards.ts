import type { Request, RequestHandler } from 'express'
import { HttpError } from '../problem.ts'
import { type Caller, callerOf, isNamed, isOwnOrigin, type Tokens } from './access.ts'
import { isSame, type Sessions } from './session.ts'
import type { WrongTokens } from './wrong-tokens.ts'

/**
 * Refuses requests that name another host than this one. A page on a name whose DNS its owner points at 127.0.0.1 is
 * "same-origin" to the browser; its Host header still says that name (DNS rebinding).
 */
export function requireName(names: readonly string[]): RequestHandler {
  return (req, _res, next) => {
    if (isNamed(req, names)) return next()
    next(new HttpError(403, `This control plane answers to ${names.join(', ')} only, by its Host header`))
  }
}

const SAFE_METHODS = new Set(['GET', 'HEAD', 'OPTIONS'])

/** Refuses changes that a page of another site asks a browser to make. What is no browser sends no Origin. */
export const refuseCrossSite: RequestHandler = (req, _res, next) => {
  if (SAFE_METHODS.has(req.method) || isOwnOrigin(req) !== false) return next()
  next(new HttpError(403, 'A page of another site asked for this change'))
}

/** A page that was touched so long ago has somebody in front of it. */
const PRESENT_MS = 60_000

const callers = new WeakMap<Request, Caller>()

/** Who `requireCaller` has let through. */
export const callerFor = (req: Request): Caller => callers.get(req) as Caller

/** Lets through who sends `Authorization: Bearer TOKEN`, or the cookie of a session with, for a change, its CSRF token. */
export function requireCaller(tokens: Tokens, sessions: Sessions | undefined, wrong: WrongTokens): RequestHandler {
  return (req, res, next) => {
    const caller = callerOf(req, tokens, sessions)
    if (caller === undefined || caller === 'wrong token') {
      if (caller) wrong.add(req.socket.remoteAddress)
      res.set('WWW-Authenticate', `Bearer realm="api-bouncer"${caller ? ', error="invalid_token"' : ''}`)
      const detail = caller ? 'Wrong token' : 'Send the admin token: Authorization: Bearer TOKEN'
      return next(new HttpError(401, detail, { code: 'ERR_UNAUTHORISED' }))
    }
    if (caller.session && sessions) {
      if (!SAFE_METHODS.has(req.method) && !hasCsrf(req, sessions.csrf(caller.secret as string))) {
        const detail = "This change lacks the session's X-CSRF-Token, which GET /dashboard/session tells"
        return next(new HttpError(403, detail, { code: 'ERR_UNAUTHORISED' }))
      }
      if (isInUse(req)) sessions.use(caller.session)
    }
    callers.set(req, caller)
    next()
  }
}

/**
 * Whether somebody is there. The dashboard's pages ask on by themselves, and say how long ago they were last touched; who
 * changes something, or says nothing of it as a script does, is there.
 */
function isInUse(req: Request): boolean {
  return !SAFE_METHODS.has(req.method) || Number(req.get('x-untouched-ms') ?? 0) < PRESENT_MS
}

const hasCsrf = (req: Request, csrf: string) => isSame(req.get('x-csrf-token') ?? '', csrf)

/** Refuses what a viewer may not do. */
export const requireOperator: RequestHandler = (req, _res, next) => {
  if (callerFor(req).role === 'operator') return next()
  next(
    new HttpError(403, 'The read-only token may look, and change nothing. Sign in with the admin token for this', {
      code: 'ERR_UNAUTHORISED',
    }),
  )
}
