import { type BouncerOptions, oneOf } from '@api-bouncer/limiter'
import * as z from 'zod'
import { ConfigError, secretive } from './setting.ts'

/** `host`, `host:port`, `[v6]:port`, several behind commas. */
const endpoints = secretive(text => {
  const list = text.split(',').map(one => one.trim())
  const good = list.every(one => /^(\[[0-9a-fA-F:]+\]|[^:[\]\s/@]+)(:\d{1,5})?$/.test(one) && portOf(one) <= 65_535)
  return good ? list : undefined
}, 'a list of host:port, divided by commas')

const portOf = (endpoint: string) => Number(/:(\d{1,5})$/.exec(endpoint)?.[1] ?? 0)

const wholeNumber = (min: number, max: number, what: string) =>
  secretive(text => {
    const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN
    return value >= min && value <= max ? value : undefined
  }, `${what} (${min} to ${max})`)

const decodes = (text: string) => {
  try {
    decodeURIComponent(text)
    return true
  } catch {
    return false
  }
}

const redisUrl = secretive(text => {
  if (!URL.canParse(text)) return undefined
  const { protocol, pathname, search, hash, username, password } = new URL(text)
  const good =
    /^rediss?:$/.test(protocol) && /^(\/\d{0,4})?$/.test(pathname) && search === '' && hash === '' && decodes(username)
  return good && decodes(password) ? text : undefined
}, 'redis://user:password@host:port/db, or rediss:// for TLS (odd characters in the password: percent-encoded)')

/** The variables that say where Redis is. A message about one never repeats it: people put passwords in wrong places. */
export const redisVariables = {
  REDIS_URL: redisUrl.optional(),
  REDIS_HOST: secretive(
    text => (/^[^\s/@:]+$|^[0-9a-fA-F:]+$/.test(text) ? text : undefined),
    'a host name or address (a port goes into REDIS_PORT, a URL into REDIS_URL)',
  ).optional(),
  REDIS_PORT: wholeNumber(1, 65_535, 'a port').optional(),
  REDIS_DB: wholeNumber(0, 9999, 'a database number').optional(),
  REDIS_USERNAME: z.string().optional(),
  REDIS_PASSWORD: z.string().optional(),
  REDIS_TLS: oneOf(['on', 'off']).optional(),
  REDIS_CLUSTER_NODES: endpoints.optional(),
  REDIS_SENTINELS: endpoints.optional(),
  REDIS_SENTINEL_NAME: z.string().optional(),
  REDIS_SENTINEL_PASSWORD: z.string().optional(),
  KEY_PREFIX: secretive(
    text => (/^[A-Za-z0-9_.:-]{1,64}$/.test(text) ? text : undefined),
    'a key prefix (1 to 64 letters, digits, "_", ".", ":" or "-"; no braces)',
  ).default('api_bouncer'),
}

export const REDIS_EXAMPLES: Readonly<Record<string, string>> = {
  REDIS_URL: 'redis://127.0.0.1:6379',
  REDIS_HOST: '127.0.0.1',
  REDIS_PORT: '6379',
  REDIS_DB: '0',
  REDIS_TLS: 'on',
  REDIS_CLUSTER_NODES: '10.0.0.1:6379,10.0.0.2:6379',
  REDIS_SENTINELS: '10.0.0.1:26379,10.0.0.2:26379',
  KEY_PREFIX: 'api_bouncer',
}

type RedisVariables = z.infer<z.ZodObject<typeof redisVariables>> & {
  readonly DECISION_DEADLINE: string
  readonly EXPECTED_INSTANCES: number
}

/** Where Redis is, said once and completely; undefined when nothing names one. */
export function redisOf(env: RedisVariables): BouncerOptions['redis'] {
  const set = (Object.keys(redisVariables) as (keyof typeof redisVariables)[]).filter(
    name => name !== 'KEY_PREFIX' && env[name] !== undefined,
  )
  const place = refuseTwoPlaces(env)
  refuseHalves(env, place, set)
  if (place === undefined) return undefined
  const {
    REDIS_URL: url,
    REDIS_PORT: port,
    REDIS_DB: db,
    REDIS_USERNAME: username,
    REDIS_PASSWORD: password,
    REDIS_CLUSTER_NODES: cluster,
    REDIS_SENTINELS: sentinels,
    REDIS_SENTINEL_NAME: sentinelName,
    REDIS_SENTINEL_PASSWORD: sentinelPassword,
  } = env
  const host = place === 'REDIS_HOST' ? (env.REDIS_HOST ?? '127.0.0.1') : undefined
  return {
    ...(url !== undefined && { url }),
    ...(host !== undefined && { host }),
    ...(port !== undefined && { port }),
    ...(db !== undefined && { db }),
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password }),
    ...(env.REDIS_TLS === 'on' && { tls: true }),
    ...(cluster !== undefined && { cluster }),
    ...(sentinels !== undefined && { sentinels }),
    ...(sentinelName !== undefined && { sentinelName }),
    ...(sentinelPassword !== undefined && { sentinelPassword }),
    prefix: env.KEY_PREFIX,
    deadline: env.DECISION_DEADLINE,
    expectedInstances: env.EXPECTED_INSTANCES,
  }
}

type Place = 'REDIS_URL' | 'REDIS_HOST' | 'REDIS_CLUSTER_NODES' | 'REDIS_SENTINELS'

function refuseTwoPlaces(env: RedisVariables): Place | undefined {
  const named: [Place, string][] = [['REDIS_URL', 'REDIS_URL']]
  named.push(['REDIS_HOST', env.REDIS_HOST === undefined ? 'REDIS_PORT' : 'REDIS_HOST'])
  named.push(['REDIS_CLUSTER_NODES', 'REDIS_CLUSTER_NODES'], ['REDIS_SENTINELS', 'REDIS_SENTINELS'])
  const [first, second] = named.filter(([, name]) => env[name as keyof RedisVariables] !== undefined)
  if (first && second) {
    throw new ConfigError(`${second[1]}: ${first[1]} already says where Redis is. Keep the one of the two that you run`)
  }
  return first?.[0]
}

function refuseHalves(env: RedisVariables, place: Place | undefined, set: readonly string[]): void {
  if (place === undefined && set.length > 0) {
    throw new ConfigError(
      `${set[0]}: is set, but nothing says where Redis is. Set REDIS_URL, REDIS_HOST, REDIS_CLUSTER_NODES or REDIS_SENTINELS, or leave ${set[0]} out`,
    )
  }
  if (place === 'REDIS_SENTINELS' && env.REDIS_SENTINEL_NAME === undefined) {
    throw new ConfigError(
      'REDIS_SENTINEL_NAME: is missing; REDIS_SENTINELS alone does not say which master. Add the name they watch it by, such as REDIS_SENTINEL_NAME=mymaster',
    )
  }
  const stray = set.find(name => name.startsWith('REDIS_SENTINEL_'))
  if (place !== 'REDIS_SENTINELS' && stray !== undefined) {
    throw new ConfigError(
      `${stray}: is only for REDIS_SENTINELS. Leave it out, or name the Sentinels instead of ${place}`,
    )
  }
  if (place === 'REDIS_CLUSTER_NODES' && (env.REDIS_DB ?? 0) !== 0) {
    throw new ConfigError(
      'REDIS_DB: a Redis Cluster has database 0 only. Leave REDIS_DB out; KEY_PREFIX tells systems apart',
    )
  }
  if (env.REDIS_URL !== undefined) refuseTwice(env, new URL(env.REDIS_URL))
}

/** What the URL says, no other variable may say too. */
function refuseTwice(env: RedisVariables, { protocol, pathname, username, password }: URL): void {
  const inUrl = {
    REDIS_DB: pathname.length > 1,
    REDIS_USERNAME: username !== '',
    REDIS_PASSWORD: password !== '',
  }
  for (const [name, said] of Object.entries(inUrl)) {
    if (said && env[name as keyof typeof inUrl] !== undefined) {
      throw new ConfigError(`${name}: REDIS_URL says it too. Keep it in one of the two`)
    }
  }
  if (protocol === 'rediss:' && env.REDIS_TLS === 'off') {
    throw new ConfigError(
      'REDIS_TLS: is off, but rediss:// in REDIS_URL is TLS. Write redis://, or leave REDIS_TLS out',
    )
  }
}
