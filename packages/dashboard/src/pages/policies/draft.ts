import { findingsOf, type Policy, type PolicyInput, policySchema } from '@api-bouncer/limiter/contracts'
import { type Document, isNode, parseDocument, stringify } from 'yaml'

/** Something wrong with a draft, at its place in the text (offsets). */
export interface Problem {
  readonly from: number
  readonly to: number
  readonly message: string
}

/** What a draft says; `policy` is there when it may be saved. */
export interface Draft {
  readonly value: Partial<PolicyInput>
  readonly policy: Policy | undefined
  readonly problems: readonly Problem[]
}

function rangeOf(document: Document, path: readonly PropertyKey[], length: number): [number, number] {
  for (let depth = path.length; depth >= 0; depth--) {
    const node = depth === 0 ? document.contents : document.getIn(path.slice(0, depth) as (string | number)[], true)
    if (isNode(node) && node.range) return [node.range[0], Math.max(node.range[0] + 1, node.range[1])]
  }
  return [0, length]
}

/** Reads what a person wrote, and says what is wrong with it and where: by the contract that the server checks too. */
export function readDraft(text: string, id: string): Draft {
  const document = parseDocument(text, { prettyErrors: false })
  const problems = document.errors.map(
    ({ pos, message }): Problem => ({ from: pos[0], to: Math.max(pos[0] + 1, pos[1]), message }),
  )
  if (problems.length > 0) return { value: {}, policy: undefined, problems }
  let value: unknown
  try {
    value = document.toJS({ maxAliasCount: 10 })
  } catch (error) {
    return { value: {}, policy: undefined, problems: [{ from: 0, to: text.length, message: (error as Error).message }] }
  }
  const parsed = policySchema.safeParse(value)
  const known =
    typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Partial<PolicyInput>) : {}
  if (parsed.success) {
    if (parsed.data.id === id) return { value: known, policy: parsed.data, problems: [] }
    const [from, to] = rangeOf(document, ['id'], text.length)
    const message = `this is the policy "${id}"; another id is another policy`
    return { value: known, policy: undefined, problems: [{ from, to, message }] }
  }
  const found = findingsOf(parsed.error).map(({ path, message, unknown }): Problem => {
    const [from, to] = rangeOf(document, unknown?.[0] === undefined ? path : [...path, unknown[0]], text.length)
    return { from, to, message: path.length > 0 ? `${path.join('.')}: ${message}` : message }
  })
  return { value: known, policy: undefined, problems: found }
}

/** Changes one field of what a person wrote, and leaves their comments alone. */
export function changeField(text: string, path: readonly (string | number)[], value: unknown): string {
  const document = parseDocument(text)
  if (document.errors.length > 0) return text
  if (value === undefined) document.deleteIn(path)
  else document.setIn(path, document.createNode(value))
  return String(document)
}

/** A policy as people write it: what is as by default is left out. */
export function write(policy: Policy): string {
  const { id, description, match, algorithm, limits, cost, mode, failMode, penalty } = policy
  return stringify(
    {
      id,
      ...(description !== undefined && { description }),
      match,
      ...(algorithm !== undefined && { algorithm }),
      limits,
      ...(cost !== 1 && { cost }),
      mode,
      ...(failMode !== undefined && { failMode }),
      ...(penalty !== undefined && { penalty }),
    },
    { lineWidth: 100 },
  )
}

/** The policy that nobody has written yet. */
export const template = (id: string): string =>
  `id: ${id}\nmatch:\n  - /api/${id}/*\nlimits:\n  - limit: 100\n    window: 1m\n# try it first: it counts, and refuses nobody\nmode: shadow\n`

/** What a change does to the counters that are there, in sentences. */
export function consequences(before: Policy | undefined, after: Policy): string[] {
  if (!before) return []
  const windows = (policy: Policy) => policy.limits.map(({ window }) => window)
  const said: string[] = []
  if (before.algorithm !== after.algorithm)
    said.push('Another algorithm counts anew: everybody starts with nothing used.')
  else {
    const gone = windows(before).filter(window => !windows(after).includes(window))
    const fresh = windows(after).filter(window => !windows(before).includes(window))
    if (gone.length > 0) said.push(`What was counted per ${gone.join(', ')} is forgotten.`)
    if (fresh.length > 0) said.push(`Counting per ${fresh.join(', ')} starts with nothing used.`)
  }
  for (const { limit, window } of after.limits) {
    const was = before.limits.find(one => one.window === window)
    if (was && limit < was.limit)
      said.push(`Who has used more than ${limit} of ${was.limit} per ${window} is refused at once.`)
  }
  if (before.mode !== 'enforce' && after.mode === 'enforce') said.push('From now on it refuses.')
  if (before.mode === 'enforce' && after.mode !== 'enforce') said.push('From now on it refuses nobody.')
  return said
}
