import { readFileSync } from 'node:fs'
import { BouncerError, httpControlPlane } from '@api-bouncer/limiter/client'
import type { ControlPlane } from '@api-bouncer/limiter/contracts'
import { readKeptToken, stateDirOf, tokenFileOf } from '@api-bouncer/limiter/token-file'
import { CommandError, EXIT, type GlobalOptions } from './context.ts'
import { type RedisPlace, redisPlace } from './redis-place.ts'

export const DEFAULT_URL = 'http://127.0.0.1:8900'
/** A local server that is up answers at once. */
const PROBE_MS = 500

export interface Connection {
  readonly control: ControlPlane
  close(): Promise<void>
}

type Env = Readonly<Record<string, string | undefined>>

/**
 * The way to the control plane: what the options say, else BOUNCER_URL; else, where the environment names a Redis, the local
 * server when it answers and Redis when it does not, and `say` tells which; else the local server.
 */
export async function connect(options: GlobalOptions, env: Env, say: (line: string) => void): Promise<Connection> {
  if (options.url !== undefined && options.redis !== undefined) {
    throw new CommandError(EXIT.usage, '--url and --redis are two ways to the same; give one of them')
  }
  if (options.redis !== undefined) return throughRedis(redisPlace(env, options.redis) as RedisPlace)
  const url = options.url ?? (env.BOUNCER_URL || undefined)
  if (url !== undefined) return throughServer(url, options, env)
  const redis = redisPlace(env)
  if (redis === undefined) return throughServer(DEFAULT_URL, options, env)
  if (await answers(DEFAULT_URL)) {
    say(`through the server at ${DEFAULT_URL} (${redis.named} is set too; --redis goes straight there)`)
    return throughServer(DEFAULT_URL, options, env)
  }
  say(`no server answers at ${DEFAULT_URL}: straight on Redis at ${redis.shown} (${redis.named})`)
  return throughRedis(redis)
}

/** Whether a control plane is there: it asks strangers for a token. */
async function answers(url: string): Promise<boolean> {
  try {
    const init = { method: 'GET', redirect: 'error', headers: {}, signal: AbortSignal.timeout(PROBE_MS) } as const
    const { send } = await import('./http-send.ts')
    return (await send(`${url}/admin/status`, init)).status === 401
  } catch {
    return false
  }
}

async function throughServer(text: string, options: GlobalOptions, env: Env): Promise<Connection> {
  const url = serverUrl(text)
  const { send } = await import('./http-send.ts')
  const token = tokenFor(url, options, env)
  const control = httpControlPlane({ url: url.href, token, fetch: send })
  return { control: withMends(control, token !== undefined), close: async () => {} }
}

function serverUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (!url || !/^https?:$/.test(url.protocol)) {
    throw new CommandError(
      EXIT.usage,
      `"${withoutSecret(text)}" is not the URL of a control plane; write ${DEFAULT_URL}`,
    )
  }
  if (url.username || url.password) {
    throw new CommandError(
      EXIT.usage,
      'the URL has a secret in it, which others can read; use --token-file or BOUNCER_TOKEN',
    )
  }
  return url
}

const withoutSecret = (text: string) => text.replace(/\/\/[^/]*@/, '//')

const isLocal = ({ hostname }: URL) => /^(localhost|127(\.\d+){3}|\[::1\])$/.test(hostname)

/** The token that a local server leaves is for that server: it is never sent anywhere else. */
function tokenFor(url: URL, { tokenFile }: GlobalOptions, env: Env): string | undefined {
  if (tokenFile !== undefined) return readToken(tokenFile)
  if (env.BOUNCER_TOKEN) return env.BOUNCER_TOKEN
  if (!isLocal(url)) return undefined
  const port = Number(url.port || (url.protocol === 'https:' ? 443 : 80))
  return readKeptToken(tokenFileOf(stateDirOf(env), port))
}

function readToken(file: string): string {
  let token: string
  try {
    token = readFileSync(file, 'utf8').trim()
  } catch (error) {
    throw new CommandError(EXIT.usage, `--token-file: cannot read ${file} (${(error as NodeJS.ErrnoException).code})`)
  }
  if (/^[\x21-\x7e]+$/.test(token)) return token
  throw new CommandError(EXIT.usage, `--token-file: ${file} holds no token (one line, no spaces)`)
}

/** The same control plane, its errors with what the operator can do about them here. */
function withMends(control: ControlPlane, hadToken: boolean): ControlPlane {
  return new Proxy(control, {
    get: (target, name) => {
      const method = Reflect.get(target, name)
      if (typeof method !== 'function') return method
      return (...args: unknown[]) =>
        method.apply(target, args).catch((error: unknown) => {
          throw mended(error, hadToken, () => lookOf(String(name), args))
        })
    },
  })
}

function mended(error: unknown, hadToken: boolean, look: () => string): unknown {
  if (!(error instanceof BouncerError)) return error
  if (error.code === 'ERR_UNAUTHORISED') {
    const what = hadToken ? 'the control plane does not take this token' : 'the control plane wants a token'
    // What it says of a token that it knows (it may only look) is for it to say.
    if (!/^(Wrong token|Send the admin token)/.test(error.message) && /token/i.test(error.message)) return error
    const why = /token/i.test(error.message) ? what : error.message
    return new BouncerError('ERR_UNAUTHORISED', why, 'Give it in --token-file FILE or BOUNCER_TOKEN')
  }
  if (error.code === 'ERR_UNAVAILABLE' && error.message.startsWith('cannot reach')) {
    return new BouncerError('ERR_UNAVAILABLE', error.message, 'Is the server up? Straight on Redis: --redis redis://…')
  }
  if (error.code === 'ERR_UNAVAILABLE' && error.message.includes('it may have been done')) {
    return new BouncerError('ERR_UNAVAILABLE', error.message, `Look: ${look()}`)
  }
  if (error.code === 'ERR_UNAVAILABLE' && error.message.includes('no answer of a control plane')) {
    return new BouncerError(
      'ERR_UNAVAILABLE',
      error.message,
      `A server's control plane is at ${DEFAULT_URL} unless told otherwise`,
    )
  }
  return error
}

/** The command that shows whether a write was done. */
function lookOf(method: string, [first, second]: readonly unknown[]): string {
  const client = method === 'block' ? (first as { client: string }).client : first
  const policy = method === 'putPolicy' ? (first as { id?: unknown } | null)?.id : first
  if (method === 'block' || method === 'unblock') return `bouncer inspect ${quoted(client)}`
  if (/policy/i.test(method)) return `bouncer policy show ${quoted(policy)}`
  if (/list/i.test(method)) return `bouncer ${first} check ${quoted(second).replace(/\/\d+'?$/, '')}`
  if (method === 'deleteKey') return `bouncer key show ${quoted(first)}`
  return 'bouncer audit'
}

const quoted = (value: unknown) => (/^[\w.:/@%+=-]+$/.test(String(value)) ? String(value) : `'${value}'`)

async function throughRedis({ options, shown }: RedisPlace): Promise<Connection> {
  const { openRedisControl } = await import('@api-bouncer/limiter/redis-control')
  const control = await openRedisControl(options).catch((error: Error) => {
    throw /NOAUTH|WRONGPASS/.test(error.message)
      ? new BouncerError(
          'ERR_UNAUTHORISED',
          `Redis at ${shown} does not take this user and password`,
          'Give them in REDIS_USERNAME and REDIS_PASSWORD, or in REDIS_URL',
        )
      : error
  })
  return { control, close: () => control.close() }
}
