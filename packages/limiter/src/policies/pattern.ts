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
  /** A letter a segment and one for the end, literal > parameter > wildcard; compared as text. The method decides last. */
  readonly specificity: string
}

const MAX_ALTERNATIVES = 32

/** As Express 5 reads a route: trailing slashes mean nothing. It wants wildcards named; people write `/auth/*`. */
function normalise(path: string): string {
  let unnamed = 0
  return path
    .replace(/(?!^)\/+$/, '')
    .replace(/\\.|\*(?![\p{ID_Start}_$"])/gu, star => (star === '*' ? `*any${++unnamed}` : star))
}

/** People write `/auth/*` and mean `/auth` too. */
function orBare(tokens: readonly Token[]): TokenData {
  const [before, last] = tokens.slice(-2)
  if (last?.type !== 'wildcard' || before?.type !== 'text' || !before.value.endsWith('/')) {
    return new TokenData([...tokens])
  }
  const bare: Token = { type: 'text', value: before.value.slice(0, -1) }
  return new TokenData([...tokens.slice(0, -2), bare, { type: 'group', tokens: [{ type: 'text', value: '/' }, last] }])
}

/** How many paths `flatten` would make; counted first, for each optional part doubles them. */
const countPaths = (tokens: readonly Token[]): number =>
  tokens.reduce((count, token) => (token.type === 'group' ? count * (1 + countPaths(token.tokens)) : count), 1)

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

// From the least specific. A path that ends stands above the same path with a wildcard to come: `/auth` above `/auth/*`.
const BARE_WILD = 'a'
const END = 'b'

/** A segment that mixes text with a parameter lies between a literal and a bare parameter. */
function rank(segment: string): string {
  if (segment.includes(WILD)) return segment === WILD ? BARE_WILD : 'c'
  if (segment.includes(PARAM)) return segment === PARAM ? 'd' : 'e'
  return 'f'
}

const specificityOf = (segments: readonly string[]) =>
  segments.map(rank).join('') + (segments.at(-1) === WILD ? '' : END)

/** Whether two patterns of the same specificity could match the same path. */
export function overlaps(a: Pattern, b: Pattern): boolean {
  if (a.method !== b.method || a.specificity !== b.specificity) return false
  const wild = a.segments.map(segment => segment.includes(WILD))
  const [first, last] = [wild.indexOf(true), wild.lastIndexOf(true)]
  return a.segments.every((segment, i) => {
    // Between two wildcards nothing stands at a known place.
    if (first < last && first <= i && i <= last) return true
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
    const { tokens } = parse(normalise(path))
    const count = countPaths(tokens)
    if (count > MAX_ALTERNATIVES) {
      throw new Error(`its optional parts make ${count} paths, more than ${MAX_ALTERNATIVES}`)
    }
    return flatten(tokens).map(alternative => {
      const segments = segmentsOf(alternative)
      const { regexp } = pathToRegexp(orBare(alternative))
      return { source, method, regexp, segments, specificity: specificityOf(segments) }
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
