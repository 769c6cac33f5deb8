import * as z from 'zod'
import { formatDuration, parseDuration } from './duration.ts'
import { guess, oneOf, strict } from './strict.ts'

export const ALGORITHMS = ['sliding_window', 'token_bucket', 'gcra', 'sliding_window_counter', 'fixed_window'] as const
export type AlgorithmId = (typeof ALGORITHMS)[number]

export const FAIL_MODES = ['open', 'closed', 'local'] as const
export type FailMode = (typeof FAIL_MODES)[number]

export const MODES = ['enforce', 'shadow', 'off'] as const

const MS_A_DAY = 86_400_000

/** A duration from `min` to `max` ms; parses to its canonical spelling, so that a document stays what a person wrote. */
export const durationBetween = (min: number, max: number) =>
  z
    .union([z.string(), z.number()])
    .transform((value, ctx) => {
      const ms = parseDuration(value)
      if (ms === undefined) {
        ctx.addIssue({ code: 'custom', message: `"${value}" is not a duration (write 250ms, 90s, 15m, 4h or 7d)` })
      } else if (ms < min || ms > max) {
        ctx.addIssue({
          code: 'custom',
          message: `"${value}" is out of range (${formatDuration(min)} to ${formatDuration(max)})`,
        })
      } else return formatDuration(ms)
      return z.NEVER
    })
    .meta({ description: 'A duration: 250ms, 90s, 15m, 4h, 7d; a bare number is seconds' })

export const policyId = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, 'a policy id is 1 to 64 letters, digits, ".", "_" or "-"')
  // It names fields of records: there such a name would already stand for something.
  .refine(id => !(id in Object.prototype), {
    error: ({ input }) => `"${input}" is a name that every JavaScript object has; choose another id`,
  })

export const limitSchema = strict({
  /** Units allowed in a window. */
  limit: z.int().min(1).max(1_000_000),
  window: durationBetween(100, 31 * MS_A_DAY),
  /** Units that may be taken at once (token_bucket, gcra); default: `limit`. */
  burst: z.int().min(1).max(1_000_000).optional(),
})

const msOf = (duration: string) => parseDuration(duration) as number

export const penaltySchema = strict({
  /** This many violations … */
  threshold: z.int().min(1).max(1000).default(5),
  /** … within this time … */
  window: durationBetween(1000, 7 * MS_A_DAY).default('5m'),
  /** … block the client for this long; a list escalates for repeat offenders. */
  block: z
    .union([
      durationBetween(1000, 365 * MS_A_DAY).transform(one => [one]),
      z
        .array(durationBetween(1000, 365 * MS_A_DAY))
        .min(1)
        .max(10)
        .refine(
          steps => steps.every((step, i) => i === 0 || msOf(step) >= msOf(steps[i - 1] as string)),
          'gets shorter, so that who offends again would be blocked for less: write the shortest first, 15m, 1h, 24h',
        ),
    ])
    .default(['15m']),
  /** An offence is remembered this long, for the escalation. */
  memory: durationBetween(1000, 365 * MS_A_DAY).default('1d'),
})
export type PenaltySettings = z.infer<typeof penaltySchema>

/** Those that Node's parser lets through; another one would name no request, and a slip would leave a route unguarded. */
const METHODS =
  'ACL BIND CHECKOUT CONNECT COPY DELETE GET HEAD LINK LOCK M-SEARCH MERGE MKACTIVITY MKCALENDAR MKCOL MOVE NOTIFY OPTIONS PATCH POST PROPFIND PROPPATCH PURGE PUT QUERY REBIND REPORT SEARCH SOURCE SUBSCRIBE TRACE UNBIND UNLINK UNLOCK UNSUBSCRIBE'.split(
    ' ',
  )

/** `"/auth/*"`, `"POST /auth/*"` or `"*"`: a method (or any) and an Express 5 path pattern. */
export const matchSchema = z
  .string()
  .max(512)
  .refine(
    text => {
      const [first = '', second, ...rest] = text.split(' ')
      const path = second ?? first
      return (
        rest.length === 0 && (second === undefined || METHODS.includes(first)) && (path === '*' || path.startsWith('/'))
      )
    },
    {
      error: ({ input }) => {
        const [first = '', path] = String(input).split(' ')
        const meant = path?.startsWith('/') && !METHODS.includes(first) ? guess(first, METHODS) : undefined
        const hint = meant ? `; did you mean "${meant} ${path}"?` : ''
        return `expected "PATH" or "METHOD PATH", where PATH is "*" or starts with "/" (as in "POST /auth/*")${hint}`
      },
    },
  )

/** The algorithms to which `burst` means something. */
export const BURSTING: readonly AlgorithmId[] = ['token_bucket', 'gcra']

export const policySchema = strict({
  id: policyId,
  description: z.string().max(500).optional(),
  match: z
    .union([matchSchema.transform(one => [one]), z.array(matchSchema).min(1).max(64)])
    .default(['*'])
    .meta({ description: 'Where it applies: "*", "/auth/*", "POST /auth/:action"' }),
  /** Absent: the server's default (RATE_LIMIT_ALGORITHM). */
  algorithm: oneOf(ALGORITHMS).optional(),
  limits: z.array(limitSchema).min(1).max(8),
  /** Units a request costs. */
  cost: z.int().min(1).max(1_000_000).default(1),
  mode: oneOf(MODES).default('enforce'),
  /** What decides when Redis does not answer in time. Absent: the server's default (FAIL_MODE). */
  failMode: oneOf(FAIL_MODES).optional(),
  /** Absent: the fleet's penalty. An override counts this policy's violations on their own; `false`: they never block. */
  penalty: z.union([z.literal(false), penaltySchema]).optional(),
}).superRefine((policy, ctx) => {
  const seen = new Set<string>()
  policy.limits.forEach((limit, i) => {
    if (seen.has(limit.window)) {
      ctx.addIssue({
        code: 'custom',
        path: ['limits', i, 'window'],
        message: `a second limit over ${limit.window}; keep the stricter one`,
      })
    }
    seen.add(limit.window)
    // Without an algorithm of its own, the default may come to be one that knows bursts.
    const burst = policy.algorithm === undefined || BURSTING.includes(policy.algorithm) ? limit.burst : undefined
    if (policy.cost > Math.min(limit.limit, burst || limit.limit)) {
      const room = policy.cost > limit.limit ? `${limit.limit} per ${limit.window}` : `a burst of ${burst}`
      ctx.addIssue({
        code: 'custom',
        path: ['cost'],
        message: `a cost of ${policy.cost} never fits into ${room}; every request would be refused`,
      })
    }
  })
})
/** A policy as people write it: defaults may be left out. */
export type PolicyInput = z.input<typeof policySchema>
/** A policy as it is kept: every default filled in, durations in their canonical spelling. */
export type Policy = z.infer<typeof policySchema>

export const settingsSchema = strict({
  penalty: z.union([z.literal(false), penaltySchema]).default(() => penaltySchema.parse({})),
  /** IPv6 clients are counted by this prefix. */
  ipv6Prefix: z.int().min(32).max(128).default(64),
})
/** What the whole fleet shares besides its policies. */
export type Settings = z.infer<typeof settingsSchema>

/** First start: 100 a minute (burst 120) on everything, 30 a minute on /auth. */
export const builtInPolicies = (): Policy[] =>
  [
    { id: 'default', match: '*', limits: [{ limit: 100, window: '1m', burst: 120 }] },
    { id: 'auth', match: '/auth/*', limits: [{ limit: 30, window: '1m' }] },
  ].map(policy => policySchema.parse(policy))
