import { resolve } from 'node:path'
import {
  ALGORITHMS,
  type BouncerOptions,
  compileTrust,
  durationBetween,
  FAIL_MODES,
  findingsOf,
  guess,
  oneOf,
  penaltySchema,
  settingsSchema,
} from '@api-bouncer/limiter'
import { stateDirOf } from '@api-bouncer/limiter/token-file'
import * as z from 'zod'
import { MIN_TOKEN } from './control/access.ts'
import { isLoopback } from './net.ts'
import { REDIS_EXAMPLES, redisOf, redisVariables } from './redis-settings.ts'
import { ConfigError, integer, setting } from './setting.ts'

const port = integer(0, 65_535, 'a port')

/** Express's meaning: `false`, a number of hops, or a list of addresses, ranges and their names. */
const trustProxy = z.string().transform((text, ctx): boolean | number | string => {
  const value = text === 'false' ? false : text === 'true' ? true : /^\d{1,3}$/.test(text) ? Number(text) : text
  try {
    compileTrust(value)
    return value
  } catch (error) {
    ctx.addIssue({ code: 'custom', message: (error as Error).message.replace(/^trustProxy: /, '') })
    return z.NEVER
  }
})

// What a header cannot carry could never be sent back.
const token = z
  .string()
  .regex(/^[\x21-\x7e]+$/, 'must be printable ASCII without spaces')
  .min(MIN_TOKEN, `must have at least ${MIN_TOKEN} characters`)

const list = z.string().transform((text): string | number | (string | number)[] => text.split(',').map(s => s.trim()))

/** Every setting, by the name of its environment variable. What is unset or empty has its default. */
const environment = z.object({
  PORT: port.default(8000),
  HOST: z.string().optional(),
  ADMIN_PORT: port.default(8900),
  ADMIN_HOST: z.string().default('127.0.0.1'),
  ADMIN_TOKEN: token.optional(),
  ADMIN_READONLY_TOKEN: token.optional(),
  ADMIN_ALLOWED_HOSTS: setting(
    text => (/^[\w.-]+(\s*,\s*[\w.-]+)*$/.test(text) ? text.split(',').map(name => name.trim()) : undefined),
    'a list of host names without ports (admin.example.com)',
  ).optional(),
  DATA_PLANE: oneOf(['on', 'off']).default('on'),
  TRUST_PROXY: trustProxy.default('loopback'),
  CLIENT_IP_HEADER: setting(
    text => (/^[A-Za-z0-9-]{1,100}$/.test(text) ? text.toLowerCase() : undefined),
    'the name of a header (such as X-Real-IP)',
  ).optional(),
  IPV6_PREFIX: integer(32, 128, 'a prefix length').default(settingsSchema.shape.ipv6Prefix.parse(undefined)),
  RATE_LIMIT_ALGORITHM: oneOf(ALGORITHMS).default('sliding_window'),
  VIOLATION_THRESHOLD: integer(1, 1000, 'a number of violations').optional(),
  VIOLATION_WINDOW: penaltySchema.shape.window.removeDefault().optional(),
  BLOCK_DURATION: list.pipe(penaltySchema.shape.block.removeDefault()).optional(),
  FAIL_MODE: oneOf(FAIL_MODES).default('open'),
  MAX_CLIENTS: integer(10, 10_000_000, 'a number of clients').default(100_000),
  POLICIES_FILE: z.string().optional(),
  LOG_LEVEL: oneOf(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).default('info'),
  XDG_STATE_HOME: z.string().optional(),
  ...redisVariables,
  DECISION_DEADLINE: durationBetween(5, 10_000).default('50ms'),
  EXPECTED_INSTANCES: integer(1, 10_000, 'a number of instances').default(1),
  INSTANCE: setting(
    text => (/^[\w.:@/-]{1,80}$/.test(text) ? text : undefined),
    'a name (letters, digits and _.:@/- only, at most 80)',
  ).optional(),
  WORKERS: integer(1, 256, 'a number of processes').default(1),
})
type Environment = z.infer<typeof environment>

/** The settings that people may set, for the README's table. */
export const SETTINGS = Object.keys(environment.shape).filter(name => name !== 'XDG_STATE_HOME')

/** Names that are nearly a setting's, with the one that was probably meant: a slip would be ignored in silence. */
export function misspelt(variables: Readonly<Record<string, string | undefined>>): { name: string; meant: string }[] {
  const near = (name: string, meant: string) => {
    const [parts, right] = [name.split('_'), meant.split('_')]
    if (parts.join('') === right.join('')) return true
    return parts.length === right.length && parts.filter((part, i) => part !== right[i]).length === 1
  }
  return Object.keys(variables).flatMap(name => {
    // Of one word is much in an environment that is nobody's slip (PATH, USER, HOSTNAME).
    const words = SETTINGS.filter(setting => setting.includes('_'))
    if (SETTINGS.includes(name)) return []
    const meant = guess(name, words)
    return meant !== undefined && near(name.toUpperCase(), meant) ? { name, meant } : []
  })
}

/** Everything the server is told, checked. */
export interface Config {
  /** Absent: control plane only. `host` absent: every address of this machine. */
  readonly dataPlane: { readonly port: number; readonly host: string | undefined } | undefined
  readonly admin: {
    readonly port: number
    readonly host: string
    readonly token: string | undefined
    /** For who may look and change nothing. */
    readonly viewerToken: string | undefined
    /** Names that it answers to besides its own; none: see ADMIN_HOST. */
    readonly allowedHosts: readonly string[]
  }
  readonly trustProxy: boolean | number | string
  readonly clientIpHeader: string | undefined
  readonly ipv6Prefix: number
  readonly algorithm: Environment['RATE_LIMIT_ALGORITHM']
  readonly failMode: Environment['FAIL_MODE']
  readonly maxClients: number
  /** Absent: the embedded store. */
  readonly redis: BouncerOptions['redis']
  readonly instance: string | undefined
  /** Processes that serve the data plane; 1: this very one does. */
  readonly workers: number
  /** As far as the environment says it. */
  readonly penalty: { threshold?: number; window?: string; block?: string[] } | undefined
  readonly policiesFile: string | undefined
  readonly logLevel: Environment['LOG_LEVEL']
  /** Where the admin token is kept when nobody sets one. */
  readonly stateDir: string
}

/** Reads the settings; throws a ConfigError for the first wrong one. Variables it does not know are none of its business (but see misspelt). */
export function readConfig(variables: Readonly<Record<string, string | undefined>>): Config {
  const given = Object.fromEntries(
    Object.keys(environment.shape)
      .map(name => [name, variables[name]?.trim()] as const)
      .filter(([, value]) => value !== undefined && value !== ''),
  )
  const parsed = environment.safeParse(given)
  if (!parsed.success) throw describe(parsed.error)
  const env = parsed.data
  const redis = redisOf(env)
  refuseContradictions(env, redis !== undefined)
  const penalty = {
    ...(env.VIOLATION_THRESHOLD !== undefined && { threshold: env.VIOLATION_THRESHOLD }),
    ...(env.VIOLATION_WINDOW !== undefined && { window: env.VIOLATION_WINDOW }),
    ...(env.BLOCK_DURATION !== undefined && { block: env.BLOCK_DURATION }),
  }
  return {
    dataPlane: env.DATA_PLANE === 'off' ? undefined : { port: env.PORT, host: env.HOST },
    admin: {
      port: env.ADMIN_PORT,
      host: env.ADMIN_HOST,
      token: env.ADMIN_TOKEN,
      viewerToken: env.ADMIN_READONLY_TOKEN,
      allowedHosts: env.ADMIN_ALLOWED_HOSTS ?? [],
    },
    trustProxy: env.TRUST_PROXY,
    clientIpHeader: env.CLIENT_IP_HEADER,
    ipv6Prefix: env.IPV6_PREFIX,
    algorithm: env.RATE_LIMIT_ALGORITHM,
    failMode: env.FAIL_MODE,
    maxClients: env.MAX_CLIENTS,
    redis,
    instance: env.INSTANCE,
    workers: env.WORKERS,
    penalty: Object.keys(penalty).length > 0 ? penalty : undefined,
    policiesFile: env.POLICIES_FILE === undefined ? undefined : resolve(env.POLICIES_FILE),
    logLevel: env.LOG_LEVEL,
    stateDir: stateDirOf(env),
  }
}

/** A right value of each setting, for who wrote a wrong one. */
const EXAMPLES: Readonly<Record<string, string>> = {
  PORT: '8000',
  ADMIN_PORT: '8900',
  ADMIN_TOKEN: '$(openssl rand -hex 32)',
  ADMIN_READONLY_TOKEN: '$(openssl rand -hex 32)',
  ADMIN_ALLOWED_HOSTS: 'admin.example.com',
  DATA_PLANE: 'off',
  TRUST_PROXY: 'loopback,10.0.0.0/8',
  CLIENT_IP_HEADER: 'X-Real-IP',
  IPV6_PREFIX: '64',
  RATE_LIMIT_ALGORITHM: 'token_bucket',
  VIOLATION_THRESHOLD: '5',
  VIOLATION_WINDOW: '5m',
  BLOCK_DURATION: '15m,1h,24h',
  FAIL_MODE: 'open',
  MAX_CLIENTS: '100000',
  LOG_LEVEL: 'info',
  ...REDIS_EXAMPLES,
  DECISION_DEADLINE: '50ms',
  EXPECTED_INSTANCES: '3',
  INSTANCE: 'api-1',
  WORKERS: '4',
}

function describe(error: z.ZodError): ConfigError {
  const [first, ...more] = findingsOf(error)
  const name = String(first?.path[0])
  const others = new Set(more.map(({ path }) => String(path[0])).filter(other => other !== name))
  const also = others.size > 0 ? ` (also wrong: ${[...others].join(', ')})` : ''
  return new ConfigError(`${name}: ${first?.message}. For example: ${name}=${EXAMPLES[name]}${also}`)
}

function refuseContradictions(env: Environment, onRedis: boolean): void {
  if (env.DATA_PLANE === 'on' && env.PORT === env.ADMIN_PORT && env.PORT !== 0) {
    throw new ConfigError(
      `ADMIN_PORT: ${env.ADMIN_PORT} is the PORT of the data plane. Give the control plane a port of its own, such as ${env.PORT === 8900 ? 8901 : 8900}`,
    )
  }
  if (env.ADMIN_TOKEN === undefined && !isLoopback(env.ADMIN_HOST)) {
    throw new ConfigError(
      `ADMIN_TOKEN: must be set when the control plane is reachable from other machines (ADMIN_HOST=${env.ADMIN_HOST}). Make one with: openssl rand -hex 32`,
    )
  }
  if (env.ADMIN_READONLY_TOKEN !== undefined && env.ADMIN_READONLY_TOKEN === env.ADMIN_TOKEN) {
    throw new ConfigError(
      'ADMIN_READONLY_TOKEN: is the ADMIN_TOKEN, which may do everything. Make another one with: openssl rand -hex 32',
    )
  }
  if (env.CLIENT_IP_HEADER !== undefined && (env.TRUST_PROXY === false || env.TRUST_PROXY === 0)) {
    throw new ConfigError(
      `CLIENT_IP_HEADER: is never read while TRUST_PROXY is ${env.TRUST_PROXY}. Name the proxy that writes it in TRUST_PROXY, or leave CLIENT_IP_HEADER out`,
    )
  }
  if (env.WORKERS > 1 && !onRedis) {
    throw new ConfigError(
      `WORKERS: ${env.WORKERS} processes share no memory, each would count for itself. Name the Redis they shall share (REDIS_URL=redis://127.0.0.1:6379), or leave WORKERS out`,
    )
  }
  if (env.WORKERS > 1 && env.DATA_PLANE === 'off') {
    throw new ConfigError('WORKERS: serve the data plane, and DATA_PLANE is off. Leave one of the two out')
  }
}
