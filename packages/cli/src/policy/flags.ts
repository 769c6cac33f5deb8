import {
  ALGORITHMS,
  FAIL_MODES,
  findingsOf,
  guess,
  MODES,
  type Policy,
  type PolicyInput,
  policySchema,
} from '@api-bouncer/limiter/contracts'
import { flagOf } from '../problem.ts'

/** The flags of `policy set`, as commander reads them. */
export interface PolicyFlags {
  readonly limit?: readonly string[]
  readonly burst?: string
  readonly algorithm?: string
  readonly match?: readonly string[]
  readonly mode?: string
  readonly cost?: string
  readonly failMode?: string
  readonly penalty?: string
  readonly description?: string
}

/** A flag that cannot be; the message names it. */
export class FlagError extends Error {}

type Limit = Policy['limits'][number]

/** A policy with flags on top of what is there. Throws a FlagError. */
export function withFlags(policy: PolicyInput, flags: PolicyFlags): Policy {
  const { limit, burst, algorithm, match, mode, cost, failMode, penalty, description } = flags
  const changed: Record<string, unknown> = { ...policy }
  if (limit) changed.limits = limit.map(parseLimit)
  if (burst !== undefined) changed.limits = withBurst(changed.limits as Limit[], burst)
  if (match) changed.match = match
  if (mode !== undefined) changed.mode = oneOf('--mode', mode, MODES)
  if (cost !== undefined) changed.cost = integer('--cost', cost)
  if (algorithm !== undefined) changed.algorithm = orDefault('--algorithm', algorithm, ALGORITHMS)
  if (failMode !== undefined) changed.failMode = orDefault('--fail-mode', failMode, FAIL_MODES)
  if (penalty !== undefined) changed.penalty = parsePenalty(penalty)
  if (description !== undefined) changed.description = description === '' ? undefined : description
  const defined = Object.fromEntries(Object.entries(changed).filter(([, value]) => value !== undefined))
  const parsed = policySchema.safeParse(defined)
  if (parsed.success) return parsed.data
  const { path, message } = findingsOf(parsed.error)[0] as { path: readonly PropertyKey[]; message: string }
  throw new FlagError(`${flagFor(path)}: ${message}`)
}

/** Which flag a place in a policy was said with. */
const flagFor = ([field, , inner]: readonly PropertyKey[]): string =>
  field === 'id'
    ? 'the id'
    : field === 'limits' && inner !== 'burst'
      ? '--limit'
      : flagOf(String(inner === 'burst' ? inner : field))

/** `20/1m`, `20/m`, `20/1m,burst=40`. A burst goes with the limit it was for: one that stayed would undo what tightens. */
export function parseLimit(text: string): Limit {
  const match = /^(\d+)\s*(?:\/|\s+per\s+)\s*((?:\d+(?:\.\d+)?)?\s*(?:ms|s|m|h|d)?)(?:,burst=(\d+))?$/.exec(text.trim())
  const [, limit, spelt = '', burst] = match ?? []
  if (!match || spelt === '') throw new FlagError(`--limit: "${text}" is no limit (write 20/1m, or 20/1m,burst=40)`)
  const window = /^\d/.test(spelt) ? spelt : `1${spelt}`
  return { limit: Number(limit), window, ...(burst !== undefined && { burst: Number(burst) }) }
}

function withBurst(limits: readonly Limit[], text: string): Limit[] {
  if (text === 'none') return limits.map(({ burst: _, ...limit }) => limit)
  if (limits.length > 1) {
    throw new FlagError('--burst: there are several limits; say it with each (--limit 20/1m,burst=40)')
  }
  return limits.map(limit => ({ ...limit, burst: integer('--burst', text, ' or "none"') }))
}

/** `none`, `default` (the fleet's), `5/5m:15m` or, for repeat offenders, `5/5m:15m,1h,24h`. */
function parsePenalty(text: string): PolicyInput['penalty'] {
  if (text === 'none') return false
  if (text === 'default') return undefined
  const match = /^(\d+)\/([\w.]+):([\w.]+(?:,[\w.]+)*)$/.exec(text.replaceAll(' ', ''))
  if (!match) {
    throw new FlagError(
      `--penalty: "${text}" is no penalty (write none, default, or THRESHOLD/WINDOW:BLOCK as in 5/5m:15m,1h)`,
    )
  }
  const [, threshold, window = '', block = ''] = match
  return { threshold: Number(threshold), window, block: block.split(',') }
}

function integer(flag: string, text: string, or = ''): number {
  if (/^\d{1,9}$/.test(text)) return Number(text)
  throw new FlagError(`${flag}: "${text}" is not a whole number${or}`)
}

function oneOf(flag: string, text: string, known: readonly string[]): string {
  if (known.includes(text)) return text
  const meant = guess(text, known)
  throw new FlagError(
    `${flag}: "${text}" is none of ${known.join(', ')}${meant && meant !== 'default' ? `; did you mean ${meant}?` : ''}`,
  )
}

const orDefault = (flag: string, text: string, known: readonly string[]): string | undefined =>
  text === 'default' ? undefined : oneOf(flag, text, [...known, 'default'])
