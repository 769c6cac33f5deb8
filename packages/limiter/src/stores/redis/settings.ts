import type { ConnectionOptions } from 'node:tls'
import * as z from 'zod'
import { durationBetween, parseDuration, strict } from '../../contracts/index.ts'
import { DEFAULT_PREFIX } from '../../control/keys.ts'
import { BouncerError } from '../../errors.ts'

const functionOrObject = z.custom<ConnectionOptions>(
  value => typeof value === 'object' && value !== null,
  'expected true or TLS options',
)

const endpoint = z.string().regex(/^(\[[0-9a-fA-F:]+\]|[^:[\]\s]+)(:\d{1,5})?$/, 'expected host or host:port')

export const redisSchema = strict({
  /** `redis://user:password@host:port/db`, `rediss://` for TLS. */
  url: z
    .string()
    .regex(/^rediss?:\/\/\S+$/, 'expected redis://host:port or rediss://host:port')
    .optional(),
  host: z.string().min(1).optional(),
  /** Default 6379. */
  port: z.int().min(1).max(65_535).optional(),
  /** Default 0; Cluster has no other. */
  db: z.int().min(0).max(9999).optional(),
  username: z.string().optional(),
  password: z.string().optional(),
  tls: z.union([z.boolean(), functionOrObject]).optional(),
  /** `host:port` of some nodes of a Redis Cluster. */
  cluster: z.array(endpoint).min(1).optional(),
  /** `host:port` of the Sentinels, with `sentinelName`. */
  sentinels: z.array(endpoint).min(1).optional(),
  /** The master's name at the Sentinels. */
  sentinelName: z.string().min(1).optional(),
  sentinelPassword: z.string().optional(),
  /** Begins every key. Default `api_bouncer`. */
  prefix: z
    .string()
    .regex(/^[A-Za-z0-9_.:-]{1,64}$/, 'a key prefix is 1 to 64 letters, digits, "_", ".", ":" or "-"; no braces')
    .default(DEFAULT_PREFIX),
  /** A decision waits at most so long; then the fail mode decides. Default 50ms. */
  deadline: durationBetween(5, 10_000).default('50ms'),
  /** For fail mode `local`: limits are divided by the live instances last seen, or by this if it is larger. Default 1. */
  expectedInstances: z.int().min(1).max(10_000).default(1),
})
export type RedisOptions = z.input<typeof redisSchema>

/** Redis settings that cannot contradict each other any more. */
export function parseRedis(options: z.output<typeof redisSchema>) {
  const ways = [options.url ?? options.host, options.cluster, options.sentinels].filter(way => way !== undefined)
  if (ways.length === 0) {
    throw new BouncerError(
      'ERR_INVALID',
      'redis: names no Redis (a url that is undefined?)',
      'Give url (redis://127.0.0.1:6379), host, cluster or sentinels; leave redis out to count in this process',
    )
  }
  if (ways.length > 1) {
    throw new BouncerError(
      'ERR_CONTRADICTION',
      'redis: url/host, cluster and sentinels exclude each other',
      'Keep the one you run',
    )
  }
  if ((options.sentinels === undefined) !== (options.sentinelName === undefined)) {
    throw new BouncerError(
      'ERR_CONTRADICTION',
      'redis: sentinels and sentinelName go together',
      'Give both, or neither',
    )
  }
  const url = options.url === undefined ? undefined : parseUrl(options.url)
  const twice =
    url && (['host', 'port', 'db'] as const).find(name => options[name] !== undefined && options[name] !== url[name])
  if (twice) {
    throw new BouncerError(
      'ERR_CONTRADICTION',
      `redis: url and ${twice} say different things`,
      'Say it once: redis://host:port/db, or host, port and db',
    )
  }
  if (url?.tls && options.tls === false) {
    throw new BouncerError(
      'ERR_CONTRADICTION',
      'redis: rediss:// is TLS, and tls is false',
      'Write redis://, or leave tls out',
    )
  }
  const db = options.db ?? url?.db ?? 0
  if (options.cluster && db !== 0) {
    throw new BouncerError(
      'ERR_CONTRADICTION',
      `redis: a Cluster has no database ${db}`,
      'Leave db out; use prefix to tell systems apart',
    )
  }
  return { ...options, ...url, db, deadlineMs: parseDuration(options.deadline) as number }
}
export type RedisSettings = ReturnType<typeof parseRedis>

/** What does not decode is taken as it stands: a password may hold a %. */
function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

function parseUrl(text: string) {
  let url: URL
  try {
    url = new URL(text)
  } catch {
    // The text may hold a password: it is not repeated.
    throw new BouncerError(
      'ERR_INVALID',
      'redis: the url does not parse',
      'Write redis://user:password@host:port/db; percent-encode odd characters in the password',
    )
  }
  const path = url.pathname.slice(1)
  if (path !== '' && !/^\d{1,4}$/.test(path)) {
    throw new BouncerError(
      'ERR_INVALID',
      `redis: "${path}" in the url is not a database number`,
      'Write redis://host:port/0',
    )
  }
  return {
    host: url.hostname.replace(/^\[|\]$/g, '') || 'localhost',
    port: url.port === '' ? 6379 : Number(url.port),
    ...(path !== '' && { db: Number(path) }),
    ...(url.username !== '' && { username: decode(url.username) }),
    ...(url.password !== '' && { password: decode(url.password) }),
    ...(url.protocol === 'rediss:' && { tls: true }),
  }
}

export function splitEndpoint(text: string, defaultPort: number): { host: string; port: number } {
  const [, host = '', port] =
    /^(.*?)(?::(\d+))?$/.exec(text.replace(/^\[(.*)\]/, (_, inner: string) => inner.replaceAll(':', '%'))) ?? []
  return { host: host.replaceAll('%', ':'), port: port === undefined ? defaultPort : Number(port) }
}
