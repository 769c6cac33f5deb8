import { posix } from 'node:path'
import { type Algorithm, algorithms, type Limit } from '../algorithms/index.ts'
import {
  type AlgorithmId,
  type FailMode,
  formatDuration,
  type PenaltySettings,
  type Policy,
  parseDuration,
} from '../contracts/index.ts'
import { BouncerError } from '../errors.ts'
import { bySpecificity, compilePattern, methodMatches, overlaps, type Pattern } from './pattern.ts'

/** Durations as ms. */
export interface Penalty {
  readonly threshold: number
  readonly windowMs: number
  readonly blockMs: readonly number[]
  readonly memoryMs: number
  /** Whose violations it counts: a policy's own, or (empty) all that have no penalty of their own. */
  readonly scope: string
}

/** A policy ready to decide. */
export interface CompiledPolicy {
  readonly id: string
  readonly shadow: boolean
  readonly algorithm: Algorithm
  readonly limits: readonly Limit[]
  /** Its limit, when it has one: nearly always. */
  readonly only: Limit | undefined
  readonly cost: number
  /** A request that costs more can never be allowed. */
  readonly maxCost: number
  /** A client untouched for so long has all of its limits whole again: nothing is lost with it. */
  readonly forgetAfterUs: number
  readonly failMode: FailMode
  /** Absent: its violations never block. */
  readonly penalty: Penalty | undefined
  readonly source: Policy
}

export interface Defaults {
  readonly algorithm: AlgorithmId
  readonly failMode: FailMode
}

const ms = (duration: string) => parseDuration(duration) as number

export function compilePenalty(settings: PenaltySettings | false, scope = ''): Penalty | undefined {
  if (settings === false) return undefined
  return {
    threshold: settings.threshold,
    windowMs: ms(settings.window),
    blockMs: settings.block.map(ms),
    memoryMs: ms(settings.memory),
    scope,
  }
}

/** What a compiled policy has by its limits. */
export const byLimits = (limits: readonly Limit[]) => ({
  limits,
  only: limits.length === 1 ? limits[0] : undefined,
  maxCost: Math.min(...limits.map(({ maxCost }) => maxCost)),
  forgetAfterUs: Math.max(0, ...limits.map(({ forgetAfterUs }) => forgetAfterUs)),
})

let compiledLimits = 0

export function compilePolicy(source: Policy, penalty: Penalty | undefined, defaults: Defaults): CompiledPolicy {
  const algorithm = algorithms[source.algorithm ?? defaults.algorithm]
  const limits = source.limits.map(({ limit, window, burst }): Limit => {
    const windowMs = ms(window)
    if (algorithm.id === 'sliding_window' && limit > 100_000) {
      throw new BouncerError(
        'ERR_INVALID',
        `policy "${source.id}": sliding_window keeps one entry a unit; ${limit} per ${window} is too many`,
        'Use sliding_window_counter or gcra for limits above 100000',
      )
    }
    const windowName = windowMs % 1000 === 0 ? `${windowMs / 1000}s` : `${windowMs}ms`
    const capacity = algorithm.bursts ? (burst ?? limit) : limit
    const windowUs = windowMs * 1000
    const compiled = {
      algorithm: algorithm.id,
      limit,
      capacity,
      maxCost: Math.min(limit, capacity),
      windowMs,
      windowUs,
      windowName,
      number: ++compiledLimits,
      counter: `${algorithm.id}:${source.id}:${windowName}`,
    }
    return { ...compiled, forgetAfterUs: algorithm.fullWithin(compiled) }
  })
  return {
    id: source.id,
    shadow: source.mode === 'shadow',
    algorithm,
    ...byLimits(limits),
    cost: source.cost,
    failMode: source.failMode ?? defaults.failMode,
    penalty: source.penalty === undefined ? penalty : compilePenalty(source.penalty, source.id),
    source,
  }
}

/** Stands for "no policy applies": limits nothing, but a block still holds. */
export const noPolicy = (defaults: Defaults): CompiledPolicy => ({
  id: '-',
  shadow: false,
  algorithm: algorithms[defaults.algorithm],
  ...byLimits([]),
  cost: 1,
  failMode: 'open',
  penalty: undefined,
  source: { id: '-', match: [], limits: [], cost: 1, mode: 'enforce' },
})

type Row = Pattern & { readonly policy: CompiledPolicy }

/** Which policy a request falls under. Immutable: a change makes a new table. */
export class PolicyTable {
  readonly policies: readonly CompiledPolicy[]
  private readonly enforced: readonly Row[]
  private readonly shadows: readonly Row[]

  constructor(policies: readonly Policy[], penalty: Penalty | undefined, defaults: Defaults) {
    const live = policies.filter(policy => policy.mode !== 'off')
    this.policies = live.map(policy => compilePolicy(policy, penalty, defaults))
    const rows = (shadow: boolean) =>
      this.policies
        .filter(policy => policy.shadow === shadow)
        .flatMap(policy =>
          policy.source.match.flatMap(match => compilePattern(match, policy.id)).map(p => ({ ...p, policy })),
        )
        .sort(bySpecificity)
    this.enforced = rows(false)
    this.shadows = rows(true)
    refuseTies(this.enforced)
    refuseTies(this.shadows)
  }

  /** The most specific enforced policy, or `undefined`; where a path can be read in several ways, the strictest of theirs. */
  match(method: string, path: string): CompiledPolicy | undefined {
    return find(this.enforced, method, path)
  }

  /** The same of shadow policies. */
  matchShadow(method: string, path: string): CompiledPolicy | undefined {
    return this.shadows.length === 0 ? undefined : find(this.shadows, method, path)
  }

  /** Every pattern that matches, most specific first, for `explain`. */
  matches(method: string, path: string): { policy: CompiledPolicy; source: string }[] {
    const spelled = ODD.test(path) ? readingsOf(path).flat() : [path]
    return [...this.enforced, ...this.shadows].filter(row => spelled.some(path => rowMatches(row, method, path)))
  }

  get(id: string): CompiledPolicy | undefined {
    return this.policies.find(policy => policy.id === id)
  }
}

const rowMatches = ({ method: wanted, regexp }: Row, method: string, path: string) =>
  methodMatches(wanted, method) && (regexp === undefined || regexp.test(path))

function find(rows: readonly Row[], method: string, path: string): CompiledPolicy | undefined {
  if (ODD.test(path)) return strictest(rows, method, path)
  for (const row of rows) if (rowMatches(row, method, path)) return row.policy
  return undefined
}

/** What somebody reads otherwise than it stands: an escape, a dot or a second slash behind a slash, `\` and `;`. */
const ODD = /%|\/[./]|\\|;/

/**
 * The ways in which handlers read an odd path; of each, the spellings that mean the same there. As it stands and, because a
 * router mounted at `/login` is asked for `//` by `/login//` and takes it for its `/`, with repeated slashes as one. Decoded
 * and then its dots resolved: Express compares literals with the path as it stands, but decodes parameters (of
 * `/users/%61dmin`, `/users/:id` makes `admin`), and express.static does both. As the WHATWG's URL reads it, with which many
 * a listener finds its path: `//x/login` is `/login` on a host x, `\` a slash. And all of these up to a `;`, where some
 * routers (Fastify's `useSemicolonDelimiter`) see the query begin.
 */
function readingsOf(path: string): (readonly string[])[] {
  const upTo = path.indexOf(';')
  return (upTo < 0 ? [path] : [path, path.slice(0, upTo)]).flatMap(path => [
    [path, path.replace(/\/{2,}/g, '/')],
    [posix.normalize(decoded(path))],
    [decoded(URL.canParse(path, 'http://x') ? new URL(path, 'http://x').pathname : path)],
  ])
}

/** What does not decode stays as it is: Express refuses it, others do not. */
const decoded = (path: string) =>
  path.replace(/(?:%[\da-f]{2})+/gi, escapes => {
    try {
      return decodeURIComponent(escapes)
    } catch {
      return escapes
    }
  })

/** Not the most specific: a spelling could name a looser policy's path on the way to a stricter one's. */
const strictest = (rows: readonly Row[], method: string, path: string): CompiledPolicy | undefined =>
  readingsOf(path)
    .map(spelled => rows.find(row => spelled.some(path => rowMatches(row, method, path)))?.policy)
    .reduce((found, policy) => (policy && (!found || rateOf(policy) < rateOf(found)) ? policy : found))

/** Requests a ms that a policy lets through in the long run. */
const rateOf = ({ limits, cost }: CompiledPolicy) =>
  Math.min(...limits.map(({ limit, windowMs }) => limit / (windowMs * cost)))

/** Two policies of the same specificity that could match one request: nobody could say which one wins. */
function refuseTies(rows: readonly Row[]): void {
  rows.forEach((row, i) => {
    const twin = rows.find((other, j) => j > i && other.policy !== row.policy && overlaps(row, other))
    if (twin) {
      throw new BouncerError(
        'ERR_CONTRADICTION',
        `policies "${row.policy.id}" (${row.source}) and "${twin.policy.id}" (${twin.source}) match the same requests equally well`,
        'Make one more specific, or set one to mode: off or shadow',
      )
    }
  })
}

const described = new WeakMap<Limit, string>()

/** `30 per 1m`, for people; the same string each time, for each refusal keeps it. */
export function describeLimit(limit: Limit): string {
  const known = described.get(limit)
  if (known !== undefined) return known
  const { windowMs, capacity } = limit
  const text = `${limit.limit} per ${formatDuration(windowMs)}${capacity === limit.limit ? '' : ` (burst ${capacity})`}`
  described.set(limit, text)
  return text
}
