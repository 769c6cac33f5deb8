import type { Policy, PolicyRecord } from '@api-bouncer/limiter/contracts'

/** `30 per 1m`, `100 per 1m (burst 120)`. */
export const limitText = ({ limit, window, burst }: Policy['limits'][number]): string =>
  `${limit} per ${window}${burst === undefined ? '' : ` (burst ${burst})`}`

export const limitsText = ({ limits }: Pick<Policy, 'limits'>): string => limits.map(limitText).join(', ')

const penaltyText = (penalty: Policy['penalty']): string => {
  if (penalty === undefined) return "the fleet's"
  if (penalty === false) return 'none'
  return `${penalty.threshold} in ${penalty.window}: ${penalty.block.join(', ')}`
}

const FIELDS: readonly (readonly [string, (policy: Policy) => string])[] = [
  ['mode', ({ mode }) => mode],
  ['limits', limitsText],
  ['match', ({ match }) => match.join(', ')],
  ['algorithm', ({ algorithm }) => algorithm ?? "the server's"],
  ['cost', ({ cost }) => String(cost)],
  ['failMode', ({ failMode }) => failMode ?? "the server's"],
  ['penalty', ({ penalty }) => penaltyText(penalty)],
  ['description', ({ description }) => description ?? 'none'],
]

/** What changed, in words: `limits 30 per 1m → 20 per 1m`. Empty: nothing. */
export function changesOf(before: Policy, after: Policy): string[] {
  return FIELDS.flatMap(([name, say]) => {
    const [was, is] = [say(before), say(after)]
    if (was !== is) return [`${name} ${was} → ${is}`]
    // What reads the same may still differ in what is not read out, such as a penalty's memory.
    return JSON.stringify(fieldOf(before, name)) === JSON.stringify(fieldOf(after, name)) ? [] : [name]
  })
}

const fieldOf = (policy: Policy, name: string): unknown => (policy as Readonly<Record<string, unknown>>)[name]

export const samePolicy = (a: Policy, b: Policy): boolean => changesOf(a, b).length === 0

/** What the operator should know of the counters: they keep what is used only under the same algorithm and window. */
export function countersAfresh(before: Policy | undefined, after: Policy): string | undefined {
  if (!before || after.mode === 'off') return undefined
  if (before.algorithm !== after.algorithm) {
    return `its counters start afresh: the algorithm changes (${before.algorithm ?? "the server's"} → ${after.algorithm ?? "the server's"})`
  }
  const known = new Set(before.limits.map(({ window }) => window))
  const fresh = after.limits.map(({ window }) => window).filter(window => !known.has(window))
  return fresh.length === 0 ? undefined : `what is used so far does not count for the new window ${fresh.join(', ')}`
}

/** The policy that a record stands for now: a change that nobody confirmed in time has gone back. */
export const inForce = ({ policy, revert }: PolicyRecord, now: number): Policy | undefined =>
  revert && now >= revert.at ? (revert.policy ?? undefined) : policy
