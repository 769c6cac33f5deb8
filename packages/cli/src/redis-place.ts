import { CommandError, EXIT } from './context.ts'

/** Where Redis is, as the limiter's own settings say it. */
export interface RedisPlace {
  readonly options: Readonly<Record<string, unknown>>
  /** For people: never with a secret. */
  readonly shown: string
  /** What named it. */
  readonly named: string
}

type Env = Readonly<Record<string, string | undefined>>

const list = (text: string) => text.split(',').map(one => one.trim())

/** From --redis, else from the variables that the server reads too (REDIS_URL and its relatives); undefined: nothing names one. */
export function redisPlace(env: Env, flag?: string): RedisPlace | undefined {
  const { REDIS_USERNAME: username, REDIS_PASSWORD: password, KEY_PREFIX: prefix } = env
  const shared = {
    ...(username && { username }),
    ...(password && { password }),
    ...(prefix && { prefix }),
    ...(env.REDIS_TLS === 'on' && { tls: true }),
  }
  if (flag !== undefined) return ofUrl(flag, '--redis', shared)
  if (env.REDIS_URL) return ofUrl(env.REDIS_URL, 'REDIS_URL', shared)
  if (env.REDIS_CLUSTER_NODES) {
    const cluster = list(env.REDIS_CLUSTER_NODES)
    return { options: { ...shared, cluster }, shown: cluster.join(', '), named: 'REDIS_CLUSTER_NODES' }
  }
  if (env.REDIS_SENTINELS) {
    const { REDIS_SENTINEL_NAME: sentinelName, REDIS_SENTINEL_PASSWORD: sentinelPassword } = env
    const sentinels = list(env.REDIS_SENTINELS)
    const named = { ...(sentinelName && { sentinelName }), ...(sentinelPassword && { sentinelPassword }) }
    const shown = `the master ${sentinelName ?? ''} that ${sentinels.join(', ')} watch`
    return { options: { ...shared, ...named, ...database(env), sentinels }, shown, named: 'REDIS_SENTINELS' }
  }
  if (env.REDIS_HOST || env.REDIS_PORT) {
    const host = env.REDIS_HOST || '127.0.0.1'
    const port = Number(env.REDIS_PORT || 6379)
    return { options: { ...shared, ...database(env), host, port }, shown: `${host}:${port}`, named: 'REDIS_HOST' }
  }
  return undefined
}

const database = (env: Env) => (env.REDIS_DB ? { db: Number(env.REDIS_DB) } : {})

function ofUrl(text: string, named: string, shared: Readonly<Record<string, unknown>>): RedisPlace {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (!url || !/^rediss?:$/.test(url.protocol)) {
    // It is not repeated: people put passwords in wrong places.
    throw new CommandError(EXIT.usage, `${named} is no Redis URL; write redis://127.0.0.1:6379 (rediss:// for TLS)`)
  }
  if (named === '--redis' && url.password) {
    throw new CommandError(
      EXIT.usage,
      'a password on a command line can be read by others; put it into REDIS_PASSWORD, or all of it into REDIS_URL',
    )
  }
  // A password that the URL carries wins over the variable.
  const { username, password, ...rest } = shared
  const own = {
    ...(!url.username && username ? { username } : {}),
    ...(!url.password && password ? { password } : {}),
  }
  return { options: { url: text, ...rest, ...own }, shown: url.host || '127.0.0.1:6379', named }
}
