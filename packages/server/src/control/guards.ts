import { createHash, timingSafeEqual } from 'node:crypto'
import type { RequestHandler } from 'express'
import { HttpError } from '../problem.ts'

const digest = (text: string) => createHash('sha256').update(text).digest()

/** Lets through who sends `Authorization: Bearer <token>`. The comparison takes as long for every wrong token. */
export function requireToken(token: string): RequestHandler {
  const expected = digest(token)
  return (req, res, next) => {
    const given = /^Bearer +([^ ]+) *$/i.exec(req.headers.authorization ?? '')?.[1]
    if (given !== undefined && timingSafeEqual(digest(given), expected)) return next()
    res.set('WWW-Authenticate', `Bearer realm="api-bouncer"${given === undefined ? '' : ', error="invalid_token"'}`)
    next(new HttpError(401, given === undefined ? 'Send the admin token: Authorization: Bearer TOKEN' : 'Wrong token'))
  }
}

const LOCAL_NAMES = ['localhost', '127.0.0.1', '[::1]']

/** The host of a Host header, without its port; undefined for what is none. */
const hostOf = (header: string | undefined) =>
  /^(\[[0-9a-f:.]+\]|[^:[\]\s/@]+)(?::\d{1,5})?$/i.exec(header ?? '')?.[1]?.toLowerCase()

/**
 * Refuses requests that name another host than this one. A page on a name whose DNS its owner points at 127.0.0.1 is
 * "same-origin" to the browser; its Host header still says that name (DNS rebinding).
 */
export function requireLocalHost(boundHost: string): RequestHandler {
  const bound = boundHost.includes(':') ? `[${boundHost}]` : boundHost
  const accepted = new Set([...LOCAL_NAMES, bound.toLowerCase()])
  return (req, _res, next) => {
    const host = hostOf(req.headers.host)
    if (host !== undefined && accepted.has(host)) return next()
    next(new HttpError(403, `This control plane answers to ${[...accepted].join(', ')} only, by its Host header`))
  }
}

const SAFE_METHODS = new Set(['GET', 'HEAD', 'OPTIONS'])

/** Refuses changes that a page of another site asks a browser to make. What is no browser sends no Origin. */
export const refuseCrossSite: RequestHandler = (req, _res, next) => {
  const { origin, host } = req.headers
  if (SAFE_METHODS.has(req.method) || origin === undefined) return next()
  const from = URL.canParse(origin) ? new URL(origin).host : undefined
  if (from !== undefined && from === host?.toLowerCase()) return next()
  next(new HttpError(403, 'A page of another site asked for this change'))
}
