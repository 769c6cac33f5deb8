import type { IncomingMessage } from 'node:http'
import type { TLSSocket } from 'node:tls'
import { parseCookie } from 'cookie'
import { isSame, type Role, type SessionRecord, type Sessions } from './session.ts'

/** Who asks, by their token or by their session. */
export interface Caller {
  readonly role: Role
  /** As the audit names them unless they say more. */
  readonly by: string
  /** Of a browser: its session, and the cookie's secret. */
  readonly session?: SessionRecord
  readonly secret?: string
}

/** The names that a role has without one of its own. */
export const NAMES: Readonly<Record<Role, string>> = { operator: 'admin', viewer: 'viewer' }

/** Guesses are not refused by their number, so none may get anywhere: 16 characters of chance are 96 bits. */
export const MIN_TOKEN = 16

export interface Tokens {
  /** May do everything. */
  readonly token: string
  /** May look; absent: nobody has it. */
  readonly viewerToken?: string | undefined
}

/** Whose token this is. It takes as long for every wrong one. */
export function roleOf(given: string, { token, viewerToken }: Tokens): Role | undefined {
  const [operator, viewer] = [isSame(given, token), viewerToken !== undefined && isSame(given, viewerToken)]
  return operator ? 'operator' : viewer ? 'viewer' : undefined
}

/** Whether the browser speaks TLS, to this process or to a proxy that says so. Who lies about it only loses their cookie. */
export function isHttps({ socket, headers }: IncomingMessage): boolean {
  if ((socket as TLSSocket).encrypted) return true
  return /^\s*https\s*(?:,|$)/i.test(String(headers['x-forwarded-proto'] ?? ''))
}

/**
 * The name of the session's cookie. Cookies ignore ports, so each has its own: two control planes on one host name would
 * else sign each other out. Over TLS `__Host-` keeps other hosts of the domain from setting it.
 */
export function cookieName(req: IncomingMessage): string {
  const https = isHttps(req)
  const port = /:(\d{1,5})$/.exec(req.headers.host ?? '')?.[1] ?? (https ? '443' : '80')
  return `${https ? '__Host-' : ''}api_bouncer_${port}`
}

/** Who asks: the token of `Authorization`, and only where there is none the cookie. */
export function callerOf(
  req: IncomingMessage,
  tokens: Tokens,
  sessions: Sessions | undefined,
): Caller | 'wrong token' | undefined {
  const { authorization, cookie } = req.headers
  if (authorization !== undefined) {
    const given = /^Bearer +([^ ]+) *$/i.exec(authorization)?.[1]
    if (given === undefined) return undefined
    const role = roleOf(given, tokens)
    return role ? { role, by: NAMES[role] } : 'wrong token'
  }
  if (!sessions || cookie === undefined || isForeign(req)) return undefined
  const secret = parseCookie(cookie)[cookieName(req)]
  const session = secret === undefined ? undefined : sessions.find(secret)
  return session && secret !== undefined ? { role: session.role, by: session.by, session, secret } : undefined
}

/** SameSite knows sites, not ports: a page of another server on this very host name would have the cookie sent along. */
function isForeign({ headers }: IncomingMessage): boolean {
  const from = headers['sec-fetch-site']
  return from === 'cross-site' || from === 'same-site'
}

const LOCAL_NAMES = ['localhost', '127.0.0.1', '[::1]']

/** The host of a Host header, without its port; undefined for what is none. */
const hostOf = (header: string | undefined) =>
  /^(\[[0-9a-f:.]+\]|[^:[\]\s/@]+)(?::\d{1,5})?$/i.exec(header ?? '')?.[1]?.toLowerCase()

/**
 * Which names this control plane answers to; undefined: to all. One that only this machine can call answers to this
 * machine's names, and one that is given names to these besides.
 */
export function namesOf(localHost: string | undefined, allowedHosts: readonly string[] = []): string[] | undefined {
  if (localHost === undefined && allowedHosts.length === 0) return undefined
  const bound = localHost === undefined ? [] : [localHost.includes(':') ? `[${localHost}]` : localHost]
  return [...new Set([...LOCAL_NAMES, ...bound, ...allowedHosts].map(name => name.toLowerCase()))]
}

/** Whether a request names one of these. */
export function isNamed({ headers }: IncomingMessage, names: readonly string[] | undefined): boolean {
  if (names === undefined) return true
  const host = hostOf(headers.host)
  return host !== undefined && names.includes(host)
}

/** Whether a request comes from a page of this very origin, or (`undefined`) says nothing of where it comes from. */
export function isOwnOrigin({ headers: { origin, host } }: IncomingMessage): boolean | undefined {
  if (origin === undefined) return undefined
  const from = URL.canParse(origin) ? new URL(origin).host : undefined
  return from !== undefined && from !== '' && from === host?.toLowerCase()
}
