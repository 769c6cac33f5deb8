import * as z from 'zod'
import {
  ALGORITHMS,
  type AlgorithmId,
  builtInPolicies,
  type ControlState,
  FAIL_MODES,
  type FailMode,
  oneOf,
  type PenaltySettings,
  type PolicyInput,
  penaltySchema,
  policySchema,
  settingsSchema,
  strict,
} from './contracts/index.ts'
import { parseWith } from './control/parse.ts'
import { BouncerError } from './errors.ts'
import { parseCidr } from './identity/cidr.ts'
import { compileTrust, type IdentityOptions } from './identity/identify.ts'
import { compileRules } from './policies/rules.ts'
import { parseRedis, type RedisOptions, redisSchema } from './stores/redis/settings.ts'

/** Receives one line a change of state, never one a request. pino and console fit. */
export interface Logger {
  info(message: string): void
  warn(message: string): void
  error(message: string): void
}

/** What `createBouncer` takes; everything is optional. Durations: `250ms`, `90s`, `15m`, `4h`, `7d`; a bare number is seconds. */
export interface BouncerOptions {
  /** Default: `default`, 100 a minute (burst 120) on everything, and `auth`, 30 a minute on `/auth/*`. */
  policies?: readonly PolicyInput[]
  /** For policies that name none. Default `sliding_window`. */
  algorithm?: AlgorithmId
  /** When violations block. Default: 5 within 5m block for 15m. A list of `block` durations escalates. `false`: never. */
  penalty?: z.input<typeof penaltySchema> | false
  /** Addresses and CIDR ranges that are never counted nor refused. Default none. */
  allow?: readonly string[]
  /** Addresses and CIDR ranges that are always refused (403). Default none. */
  deny?: readonly string[]
  /** As Express's `trust proxy`; `true` is refused, it lets clients choose who they are. Default `loopback`. */
  trustProxy?: IdentityOptions['trustProxy']
  /** Take the address from this header alone (`x-real-ip`) when the peer is trusted. Default: X-Forwarded-For. */
  clientIpHeader?: string
  /** IPv6 clients are counted by this many bits, 32 to 128. Default 64. */
  ipv6Prefix?: number
  /** Where counting is shared by all instances: standalone, Sentinel or Cluster. Default: none, the embedded store. */
  redis?: RedisOptions
  /** For policies that name none: what decides when the store gives no answer in time. Default `open`. */
  failMode?: FailMode
  /** The embedded store remembers at most so many clients. Default 100,000. */
  maxClients?: number
  /** The embedded store's time, µs since the epoch; where it runs backwards, time stands still. Default: the process's monotonic clock. */
  clock?: () => number
  /** Name of this process in events and the fleet view. Default `hostname:pid`. */
  instance?: string
  /** `false`: a control plane alone, which decides no request: it counts as no instance. Default true. */
  decides?: boolean
  /** Default: warnings and errors go to `process.emitWarning`, the rest nowhere. */
  logger?: Logger
}

const functionSchema = <T>() => z.custom<T>(value => typeof value === 'function', 'expected a function')

const schema = strict({
  policies: z.array(policySchema).min(1, 'no policy: nothing would be limited').max(1000).default(builtInPolicies),
  algorithm: oneOf(ALGORITHMS).default('sliding_window'),
  penalty: z.union([z.literal(false), penaltySchema]).default((): PenaltySettings => penaltySchema.parse({})),
  allow: z.array(z.string()).default([]),
  deny: z.array(z.string()).default([]),
  trustProxy: z
    .union([
      z.boolean(),
      z.number(),
      z.string(),
      z.array(z.string()),
      functionSchema<(address: string, hop: number) => boolean>(),
    ])
    .default('loopback'),
  clientIpHeader: z
    .string()
    .regex(/^[A-Za-z0-9-]+$/, 'not a header name')
    .optional(),
  ipv6Prefix: settingsSchema.shape.ipv6Prefix,
  redis: redisSchema.optional(),
  failMode: oneOf(FAIL_MODES).default('open'),
  maxClients: z.int().min(10).max(10_000_000).default(100_000),
  clock: functionSchema<() => number>().optional(),
  instance: z.string().min(1).max(100).optional(),
  decides: z.boolean().default(true),
  logger: z
    .custom<Logger>(
      value =>
        (['info', 'warn', 'error'] as const).every(name => typeof (value as Logger | null)?.[name] === 'function'),
      'expected { info, warn, error }, each a function (pino and console fit)',
    )
    .optional(),
})
export type ParsedOptions = z.infer<typeof schema>

const quiet: Logger = {
  info: () => {},
  warn: message => process.emitWarning(message, 'ApiBouncerWarning'),
  error: message => process.emitWarning(message, 'ApiBouncerWarning'),
}

/** A logger that throws must not end the application around it: we log from timers, where nobody would catch it. */
function unthrowing(logger: Logger): Logger {
  const safely = (name: keyof Logger) => (message: string) => {
    try {
      logger[name](message)
    } catch (error) {
      process.emitWarning(
        `the logger failed: ${(error as Error)?.message} (it was told: ${message})`,
        'ApiBouncerWarning',
      )
    }
  }
  return { info: safely('info'), warn: safely('warn'), error: safely('error') }
}

const YEAR_MS = 365 * 86_400_000

/** Microseconds. Virtual time may start anywhere; what reads as the time of day in another unit is a slip. */
function checkClock(clock: () => number): void {
  const now = clock()
  const refuse = (what: string) => {
    throw new BouncerError(
      'ERR_INVALID',
      `clock: ${what}`,
      'Return microseconds since the epoch, () => Date.now() * 1000, or leave clock out: the default never runs backwards',
    )
  }
  if (typeof now !== 'number' || !Number.isFinite(now) || now < 0) refuse(`returned ${String(now)}`)
  if (now > Number.MAX_SAFE_INTEGER) refuse(`${now} is beyond what a number counts exactly: nanoseconds?`)
  const today = Date.now()
  for (const [unit, ms] of [
    ['milliseconds', 1],
    ['seconds', 1000],
  ] as const) {
    if (Math.abs(now * ms - today) < 10 * YEAR_MS) refuse(`${now} is the time in ${unit}`)
  }
}

/** Checks everything that can be checked before the first request, and says what is wrong with a code and a mend. */
export function parseOptions(options: BouncerOptions) {
  const parsed = parseWith(schema, options, 'createBouncer', 'The options are listed in the README under "Options"')
  const ids = parsed.policies.map(({ id }) => id)
  const twice = ids.find((id, i) => ids.indexOf(id) !== i)
  if (twice !== undefined) {
    throw new BouncerError('ERR_CONTRADICTION', `two policies are called "${twice}"`, 'Give each policy its own id')
  }
  compileTrust(parsed.trustProxy)
  if (parsed.clock) checkClock(parsed.clock)
  const seed = seedState(parsed)
  const defaults = { algorithm: parsed.algorithm, failMode: parsed.failMode }
  const redis = parsed.redis && parseRedis(parsed.redis)
  return {
    ...parsed,
    redis,
    logger: unthrowing(parsed.logger ?? quiet),
    defaults,
    seed,
    rules: compileRules(seed, defaults),
  }
}

/** The control state of a first start. */
function seedState({ policies, penalty, ipv6Prefix, allow, deny }: ParsedOptions): ControlState {
  const addedAt = Date.now()
  const entries = (list: 'allow' | 'deny', ranges: readonly string[]) =>
    ranges.map(range => ({ list, cidr: parseCidr(range).cidr, addedAt, addedBy: 'options' }))
  const denied = new Set(entries('deny', deny).map(({ cidr }) => cidr))
  const both = allow.find(range => denied.has(parseCidr(range).cidr))
  if (both !== undefined) {
    throw new BouncerError(
      'ERR_CONTRADICTION',
      `"${both}" is on allow and on deny`,
      'Keep it on one of them: where both hold, allow wins',
    )
  }
  return {
    epoch: 1,
    policies: policies.map(policy => ({ policy, version: 1, updatedAt: addedAt, updatedBy: 'options' })),
    tombstones: {},
    settings: { penalty, ipv6Prefix },
    lists: [...entries('allow', allow), ...entries('deny', deny)],
  }
}
