import { readFileSync } from 'node:fs'
import {
  type BouncerError,
  type BouncerOptions,
  type Finding,
  findingsOf,
  penaltySchema,
  policySchema,
  strict,
  unreadable,
} from '@api-bouncer/limiter'
import { type Document, isMap, isNode, isScalar, isSeq, LineCounter, type Node, parseDocument, visit } from 'yaml'
import * as z from 'zod'
import { ConfigError } from './setting.ts'

const schema = strict({
  /** Absent: the built-in ones. */
  policies: z.array(policySchema).min(1, 'no policy: nothing would be limited').max(1000).optional(),
  penalty: z.union([z.literal(false), penaltySchema]).optional(),
  allow: z.array(z.string()).optional(),
  deny: z.array(z.string()).optional(),
})

export interface PoliciesFile {
  readonly options: Pick<BouncerOptions, 'policies' | 'penalty' | 'allow' | 'deny'>
  /** What the limiter has against the file as a whole (policies that tie, a range that is none), with its place. */
  blame(error: BouncerError): ConfigError
}

/** Reads a policies file (YAML, or JSON, which is YAML too; a list is one of policies). Throws a ConfigError that names line and column. */
export function readPoliciesFile(path: string): PoliciesFile {
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(readFileSync(path))
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    const why = code === 'ENOENT' ? 'there is no such file' : code === 'EISDIR' ? 'is a folder' : message
    throw new ConfigError(`POLICIES_FILE: ${path}: ${why}. Name a readable YAML file, or leave it out`)
  }
  return parsePolicies(text, path)
}

/** `name` stands in messages for where the text comes from. */
export function parsePolicies(text: string, name: string): PoliciesFile {
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false })
  const fail = (offset: number, message: string): ConfigError => {
    const { line, col } = lines.linePos(offset)
    return new ConfigError(`POLICIES_FILE: ${name}:${line}:${col}: ${message.replaceAll('\n', ' ')}`)
  }
  const broken = document.errors[0]
  if (broken?.code === 'MULTIPLE_DOCS') throw fail(broken.pos[0], 'a second document begins here (---). Write one')
  if (broken) {
    const { offset, message } = unreadable(text, { offset: broken.pos[0], message: broken.message })
    throw fail(offset, message)
  }

  const { contents } = document
  if (contents === null) throw fail(0, 'is empty. Write policies, penalty, allow or deny, or leave POLICIES_FILE out')
  const isList = isSeq(contents)
  if (!isList && !isMap(contents))
    throw fail(contents.range?.[0] ?? 0, 'is one value. Write policies: and a list of them under it')

  const value = toValue(document, message => fail(0, message))
  const parsed = schema.safeParse(isList ? { policies: value } : value)
  if (!parsed.success) {
    // A misspelt field is also missing under its right name: tell the cause first.
    const findings = findingsOf(parsed.error).sort((a, b) => Number(!!b.unknown) - Number(!!a.unknown))
    const more = findings.length > 1 ? ` (and ${findings.length - 1} more)` : ''
    const first = findings[0] as Finding
    const { offset, missing } = locate(document, isList ? { ...first, path: first.path.slice(1) } : first)
    const where = first.path.length > 0 ? `${first.path.join('.')}: ` : ''
    throw fail(offset, `${where}${missing ? 'is missing' : first.message}${more}`)
  }
  return {
    options: parsed.data as PoliciesFile['options'],
    blame: error => fail(quotedIn(document, error.message), error.message),
  }
}

function toValue(document: Document, fail: (message: string) => ConfigError): unknown {
  try {
    return document.toJS({ maxAliasCount: 100 })
  } catch (error) {
    throw fail((error as Error).message)
  }
}

/** Where in the text a finding is; a field that is not there is looked for in what should hold it. */
function locate(document: Document, { path, unknown }: Finding): { offset: number; missing: boolean } {
  if (unknown) {
    const holder = nodeAt(document, path)
    const pair = isMap(holder) && holder.items.find(({ key }) => isScalar(key) && key.value === unknown[0])
    if (pair && isScalar(pair.key)) return { offset: pair.key.range?.[0] ?? 0, missing: false }
  }
  for (let depth = path.length; depth >= 0; depth--) {
    const node = nodeAt(document, path.slice(0, depth))
    if (node) return { offset: node.range?.[0] ?? 0, missing: depth < path.length }
  }
  return { offset: 0, missing: path.length > 0 }
}

function nodeAt(document: Document, path: readonly PropertyKey[]): Node | undefined {
  const node = path.length === 0 ? document.contents : document.getIn(path, true)
  return isNode(node) ? node : undefined
}

/** The limiter names what it objects to in quotes: the first scalar that is quoted so, in its last place (a second one is one too many), or the start. */
function quotedIn(document: Document, message: string): number {
  const quoted = [...message.matchAll(/"([^"]+)"/g)].map(match => match[1])
  for (const text of quoted) {
    let offset: number | undefined
    visit(document, {
      Scalar: (key, node) => {
        if (key !== 'key' && String(node.value) === text) offset = node.range?.[0]
      },
    })
    if (offset !== undefined) return offset
  }
  return 0
}
