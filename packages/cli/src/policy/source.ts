import { type Finding, findingsOf, guess, type Policy, policySchema, unreadable } from '@api-bouncer/limiter/contracts'
import { type Document, isMap, isNode, isScalar, isSeq, LineCounter, type Node, parseAllDocuments } from 'yaml'

/** What is wrong with a text, and where. Lines and columns count from 1. */
export interface Problem {
  readonly line: number
  readonly column: number
  readonly message: string
}

export interface SourcedPolicy {
  readonly policy: Policy
  readonly line: number
  readonly column: number
}

export interface PolicySource {
  readonly policies: readonly SourcedPolicy[]
  /** In the order of the text; any of them makes the text unusable. */
  readonly problems: readonly Problem[]
  /** Fields of a server's policies file that are no policy. */
  readonly otherFields: readonly string[]
}

/** What a server's policies file says besides policies. */
const OTHERS = ['penalty', 'allow', 'deny'] as const

type Path = readonly PropertyKey[]

/**
 * Reads policies from YAML, or JSON, which is YAML too: one policy or several documents, a list, or a list under
 * `policies:`; a record, as `policy get -o json` prints it, stands for its policy.
 */
export function readPolicies(text: string): PolicySource {
  const lines = new LineCounter()
  const policies: SourcedPolicy[] = []
  const problems: Problem[] = []
  const otherFields: string[] = []
  const placeOf = (offset: number) => {
    const { line, col } = lines.linePos(offset)
    return { line: Math.max(1, line), column: Math.max(1, col) }
  }
  const object = (offset: number, message: string) =>
    problems.push({ ...placeOf(offset), message: message.replace(/\s*\n\s*/g, ' ') })

  const parsed = parseAllDocuments(text, { lineCounter: lines, prettyErrors: false })
  for (const document of 'empty' in parsed ? [] : parsed) {
    // The first says what is wrong; the others are mostly its echoes.
    const [broken] = document.errors
    if (broken) {
      const { offset, message } = unreadable(text, { offset: broken.pos[0], message: broken.message })
      object(offset, message)
      continue
    }
    if (document.contents === null || (isScalar(document.contents) && document.contents.value === null)) continue
    let value: unknown
    try {
      value = document.toJS({ maxAliasCount: 100 })
    } catch (error) {
      object(0, (error as Error).message)
      continue
    }
    for (const path of policyPaths(document, (offset, message) => object(offset, message), otherFields)) {
      const result = policySchema.safeParse(at(value, path))
      const start = nodeAt(document, path)?.range?.[0] ?? 0
      if (result.success) {
        const twin = policies.find(({ policy }) => policy.id === result.data.id)
        if (!twin) policies.push({ policy: result.data, ...placeOf(start) })
        else object(start, `a second policy called "${twin.policy.id}"; the first is on line ${twin.line}`)
      } else {
        // A misspelt field is also missing under its right name: tell the cause first, the rest follows by place.
        for (const finding of withoutEchoes(findingsOf(result.error))) {
          const { offset, missing } = locate(document, path, finding)
          const where = finding.path.length > 0 ? `${finding.path.join('.')}: ` : ''
          object(offset, `${where}${missing ? 'is missing' : finding.message}`)
        }
      }
    }
  }
  if (policies.length + problems.length === 0)
    problems.push({ line: 1, column: 1, message: 'there is no policy in it' })
  return { policies, problems: problems.sort((a, b) => a.line - b.line || a.column - b.column), otherFields }
}

/** Where the policies of a document are. */
function policyPaths(document: Document, object: (offset: number, message: string) => void, others: string[]): Path[] {
  const { contents } = document
  const inside = (node: unknown, path: Path): Path[] =>
    isSeq(node) ? node.items.map((item, i) => unwrapped(item, [...path, i])) : [unwrapped(node, path)]
  if (!isMap(contents) || !contents.has('policies')) return inside(contents, [])
  for (const { key } of contents.items) {
    const name = isScalar(key) ? String(key.value) : ''
    if (OTHERS.some(other => other === name)) others.push(name)
    else if (name !== 'policies') {
      const meant = guess(name, ['policies', ...OTHERS])
      const offset = (isNode(key) && key.range?.[0]) || 0
      object(offset, `unknown field "${name}"${meant ? `, did you mean "${meant}"?` : ' beside policies'}`)
    }
  }
  const listed = contents.get('policies', true)
  if (isSeq(listed)) return inside(listed, ['policies'])
  object(listed?.range?.[0] ?? contents.range?.[0] ?? 0, 'policies: expected a list of policies')
  return []
}

const unwrapped = (node: unknown, path: Path): Path =>
  isMap(node) && node.has('policy') && node.has('version') && !node.has('limits') ? [...path, 'policy'] : path

/** Without what is only missing because it was misspelt beside. */
function withoutEchoes(findings: readonly Finding[]): Finding[] {
  const misspelt = findings.flatMap(({ path, message, unknown }) =>
    unknown ? [...message.matchAll(/did you mean "([^"]+)"/g)].map(([, meant]) => [...path, meant].join('.')) : [],
  )
  return findings.filter(({ path, unknown }) => unknown || !misspelt.includes(path.join('.')))
}

/** Where in the text a finding is; a field that is not there is looked for in what should hold it. */
function locate(document: Document, base: Path, { path, unknown }: Finding): { offset: number; missing: boolean } {
  const full = [...base, ...path]
  if (unknown) {
    const holder = nodeAt(document, full)
    const pair = isMap(holder) && holder.items.find(({ key }) => isScalar(key) && key.value === unknown[0])
    if (pair && isScalar(pair.key)) return { offset: pair.key.range?.[0] ?? 0, missing: false }
  }
  for (let depth = full.length; depth >= 0; depth--) {
    const node = nodeAt(document, full.slice(0, depth))
    if (node) return { offset: node.range?.[0] ?? 0, missing: depth < full.length }
  }
  return { offset: 0, missing: full.length > 0 }
}

function nodeAt(document: Document, path: Path): Node | undefined {
  const node = path.length === 0 ? document.contents : document.getIn(path, true)
  return isNode(node) ? node : undefined
}

const at = (value: unknown, path: Path): unknown =>
  path.reduce<unknown>((inner, key) => (inner as Record<PropertyKey, unknown>)[key], value)
