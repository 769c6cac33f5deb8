import {
  type Bouncer,
  createBouncer,
  describeIssues,
  isAllowed,
  type Session,
  strict,
  version,
} from '@api-bouncer/limiter'
import { stringifySetCookie } from 'cookie'
import express, { type Request, type Response, type Router } from 'express'
import * as z from 'zod'
import { HttpError, jsonBody, sendJson } from '../problem.ts'
import { type Caller, cookieName, isHttps, NAMES, roleOf, type Tokens } from './access.ts'
import { actorOf } from './actor.ts'
import { callerFor, requireCaller } from './guards.ts'
import type { Sessions } from './session.ts'
import type { WrongTokens } from './wrong-tokens.ts'

const PATH = '/dashboard/session'
const BODY_LIMIT = 4096

/** Wrong tokens and codes of one address that are answered as wrong; further ones are told to wait. */
const GUESSES = { limit: 10, window: '1m' }

const credentials = z.union([
  strict({ token: z.string().min(1).max(1000) }),
  strict({ code: z.string().min(1).max(200) }),
])

export interface SignInOptions {
  readonly tokens: Tokens
  readonly sessions: Sessions
  readonly dataPlane: string | undefined
  readonly wrong: WrongTokens
}

/** A limiter of its own: whoever guesses at the sign-in spends nothing of the data plane's, and the other way round. */
export const createGuesses = (): Bouncer =>
  createBouncer({
    policies: [{ id: 'sign-in', match: '*', limits: [GUESSES] }],
    penalty: false,
    maxClients: 10_000,
    instance: 'sign-in',
    logger: { info() {}, warn() {}, error() {} },
  })

/** Signing in and out: `POST`, `GET` and `DELETE /dashboard/session`. */
export function signIn({ tokens, sessions, dataPlane, wrong }: SignInOptions, guesses: Bouncer): Router {
  const router = express.Router({ caseSensitive: true })
  const tell = (caller: Caller): Session => ({
    role: caller.role,
    by: caller.by,
    csrf: sessions.csrf(caller.secret as string),
    ...sessions.times(caller.session as NonNullable<Caller['session']>),
    ...(dataPlane !== undefined && { dataPlane }),
    version,
  })

  router.post(PATH, ...jsonBody(BODY_LIMIT), async (req, res) => {
    const given = credentials.safeParse(req.body)
    if (!given.success) {
      const detail = req.body === undefined ? 'this needs a JSON body' : describeIssues(given.error)
      throw new HttpError(400, `Send { token } or { code }: ${detail}`, { code: 'ERR_INVALID' })
    }
    const role =
      'token' in given.data
        ? roleOf(given.data.token, tokens)
        : sessions.redeem(given.data.code)
          ? 'operator'
          : undefined
    if (!role) {
      wrong.add(req.socket.remoteAddress)
      await count(req, res, guesses)
      const detail =
        'token' in given.data
          ? 'Wrong token'
          : 'This sign-in link has been used or is too old. Sign in with the admin token, or restart the server for a new link'
      throw new HttpError(401, detail, { code: 'ERR_UNAUTHORISED' })
    }
    const { by } = actorOf(req, NAMES[role])
    const { secret, session } = sessions.start(role, by)
    setCookie(req, res, secret)
    sendJson(res, 200, tell({ role, by, session, secret }))
  })

  router.use(PATH, requireCaller(tokens, sessions, wrong), (req, _res, next) => {
    if (callerFor(req).session) return next()
    next(new HttpError(401, 'Nobody is signed in here: a token needs no session', { code: 'ERR_UNAUTHORISED' }))
  })

  router.get(PATH, (req, res) => sendJson(res, 200, tell(callerFor(req))))

  router.delete(PATH, (req, res) => {
    sessions.end((callerFor(req).session as NonNullable<Caller['session']>).id, 'signed out')
    setCookie(req, res, '')
    res.status(204).end()
  })

  router.all(PATH, (req, res, next) => {
    res.set('Allow', 'HEAD, GET, POST, DELETE')
    next(new HttpError(405, `${req.method} is not for ${PATH}; HEAD, GET, POST, DELETE would be`))
  })
  return router
}

/**
 * Counts a wrong one; an address that has sent too many is told to wait. A right one passes whatever others have sent from its
 * address, as it does as Bearer: whoever guesses behind the same proxy would else keep the operator out, and learns nothing
 * here that the API would not tell them.
 */
async function count(req: Request, res: Response, guesses: Bouncer): Promise<void> {
  // The peer, whatever it says of others: forwarded addresses are for whoever guesses to choose.
  const client = req.socket.remoteAddress ?? 'unknown'
  const decision = await guesses.check({ peer: req, method: 'POST', path: PATH, client })
  if (isAllowed(decision)) return
  const seconds = Math.max(1, Math.ceil((decision.retryAfterMs ?? 1000) / 1000))
  res.set('Retry-After', String(seconds))
  throw new HttpError(
    429,
    `Wrong, and so were too many before it from ${client}. Try again in ${seconds} s; the right token passes at any time`,
    { retryAfter: seconds },
  )
}

/** Session cookies have no Max-Age: the server says when they end, and the browser's end is one too. */
function setCookie(req: Request, res: Response, value: string): void {
  const secure = isHttps(req)
  const options = { httpOnly: true, sameSite: 'strict', path: '/', secure } as const
  const gone = value === '' ? { maxAge: 0 } : {}
  res.append('Set-Cookie', stringifySetCookie({ name: cookieName(req), value, ...options, ...gone }))
}
