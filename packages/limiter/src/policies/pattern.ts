import { parse, pathToRegexp, type Token, TokenData } from 'path-to-regexp'
import { BouncerError } from '../errors.ts'

/** One way of matching: a method (or any) and a path without optional parts. */
export interface Pattern {
  /** As the user wrote it, for messages. */
  readonly source: string
  readonly method: string | undefined
  /** Absent: every path. */
  readonly regexp: RegExp | undefined
  /** Lower case, parameters as one mark each. */
  readonly segments: readonly string[]
  /** A letter a segment, literal > parameter > wildcard; compared as text. The method decides last. */
  readonly specificity: string
}

const MAX_ALTERNATIVES = 32

/** Express 5 wants wildcards named; people write `/auth/*` and mean `/auth` too. */
function normalise(path: string): string {
  let unnamed = 0
  const named = path.replace(/\\.|\*(?![\p{ID_Start}_$"])/gu, star => (star === '*' ? `*any${++unnamed}` : star))
  return named.replace(/\/(\*(?:[\p{ID_Start}_$][\p{ID_Continue}$\u200c\u200d]*|"[^"]*"))$/u, '{/$1}')
}

/** `/a{/:b}` → `/a`, `/a/:b`: each alternative is as specific as what it matches. */
function flatten(tokens: readonly Token[]): Token[][] {
  return tokens.reduce<Token[][]>(
    (paths, token) =>
      token.type === 'group'
        ? paths.flatMap(path => [path, ...flatten(token.tokens).map(inner => [...path, ...inner])])
        : paths.map(path => [...path, token]),
    [[]],
  )
}

/** The path's segments, with parameters and wildcards as one mark each. */
function segmentsOf(tokens: readonly Token[]): string[] {
  let segment = ''
  const segments: string[] = []
  for (const token of tokens) {
    const pieces =
      token.type === 'text' ? token.value.toLowerCase().split('/') : [token.type === 'param' ? PARAM : WILD]
    pieces.forEach((piece, i) => {
      if (i > 0) segments.push(segment)
      segment = i > 0 ? piece : segment + piece
    })
  }
  return [...segments, segment].slice(1)
}

// Neither can stand in a pathname.
const PARAM = '?'
const WILD = '#'

/** A segment that mixes text with a parameter lies between a literal and a bare parameter. */
function rank(segment: string): string {
  if (segment.includes(WILD)) return segment === WILD ? 'a' : 'b'
  if (segment.includes(PARAM)) return segment === PARAM ? 'c' : 'd'
  return 'e'
}

/** Whether two patterns of the same specificity could match the same path. */
export function overlaps(a: Pattern, b: Pattern): boolean {
  if (a.method !== b.method || a.specificity !== b.specificity) return false
  return a.segments.every((segment, i) => {
    const [left, right] = [segment.split(/[?#]/), (b.segments[i] as string).split(/[?#]/)]
    if (left.length === 1 && right.length === 1) return left[0] === right[0]
    const [startL, startR, endL, endR] = [left[0], right[0], left.at(-1), right.at(-1)] as [
      string,
      string,
      string,
      string,
    ]
    return (startL.startsWith(startR) || startR.startsWith(startL)) && (endL.endsWith(endR) || endR.endsWith(endL))
  })
}

/** Compiles `"POST /auth/*"` into its alternatives. */
export function compilePattern(source: string, policy: string): Pattern[] {
  const space = source.indexOf(' ')
  const method = space < 0 ? undefined : source.slice(0, space)
  const path = source.slice(space + 1)
  if (path === '*') return [{ source, method, regexp: undefined, segments: [], specificity: '' }]
  try {
    const alternatives = flatten(parse(normalise(path)).tokens)
    if (alternatives.length > MAX_ALTERNATIVES) {
      throw new Error(`its optional parts make ${alternatives.length} paths, more than ${MAX_ALTERNATIVES}`)
    }
    return alternatives.map(tokens => {
      const segments = segmentsOf(tokens)
      const { regexp } = pathToRegexp(new TokenData(tokens))
      return { source, method, regexp, segments, specificity: segments.map(rank).join('') }
    })
  } catch (error) {
    throw new BouncerError(
      'ERR_INVALID',
      `policy "${policy}": the path pattern "${path}" does not parse: ${(error as Error).message}`,
      'Patterns are those of Express 5: /users/:id, /files/*rest, /a{/:optional}; escape a literal : or * with \\',
    )
  }
}

/** GET stands for HEAD too, as in Express: else HEAD would be a way round. */
export const methodMatches = (pattern: string | undefined, method: string) =>
  pattern === undefined || pattern === method || (pattern === 'GET' && method === 'HEAD')

/** Most specific first: by path, then a method before any, and HEAD's own before GET's. */
export const bySpecificity = (a: Pattern, b: Pattern) =>
  a.specificity < b.specificity ? 1 : a.specificity > b.specificity ? -1 : methodRank(b) - methodRank(a)

const methodRank = ({ method }: Pattern) => (method === undefined ? 0 : method === 'HEAD' ? 2 : 1)
