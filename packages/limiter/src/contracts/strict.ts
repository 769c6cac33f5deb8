import { distance } from 'fastest-levenshtein'
import * as z from 'zod'
import { own } from './own.ts'

/** The candidate that was probably meant, if one is near. */
export function guess(word: string, candidates: readonly string[]): string | undefined {
  const ranked = candidates
    .map(candidate => ({ candidate, far: distance(word.toLowerCase(), candidate.toLowerCase()) }))
    .sort((a, b) => a.far - b.far)
  const best = ranked[0]
  // A word must have something in common with what it is taken for: `no` is not `on`.
  const most = Math.min(word.length - 1, Math.max(2, Math.floor(word.length / 3)))
  return best && best.far <= most ? best.candidate : undefined
}

/** An object that takes no unknown field, and guesses which one was meant. */
export function strict<T extends z.ZodRawShape>(shape: T) {
  return z.strictObject(shape, {
    error: issue => {
      if (issue.code !== 'unrecognized_keys') return undefined
      return (issue.keys as string[])
        .map(key => {
          const meant = guess(key, Object.keys(shape))
          return `unknown field "${key}"${meant ? `, did you mean "${meant}"?` : ` (known: ${Object.keys(shape).join(', ')})`}`
        })
        .join('; ')
    },
  })
}

/** One of some words; a near miss is told which one was meant. */
export const oneOf = <const T extends readonly [string, ...string[]]>(words: T) =>
  z.enum(words, {
    error: ({ input }) => {
      const meant = typeof input === 'string' ? guess(input, words) : undefined
      const known = meant ? `did you mean "${meant}"?` : `known: ${words.join(', ')}`
      return `${JSON.stringify(input)?.slice(0, 100)} is unknown (${known})`
    },
  })

/** One finding of a validation: where, and what is wrong. */
export interface Finding {
  readonly path: readonly PropertyKey[]
  readonly message: string
  /** The fields of the object at `path` that nobody knows. */
  readonly unknown?: readonly string[]
}

/** All of a validation error's findings; of a union, what the closest alternative says. */
export function findingsOf(error: z.ZodError): Finding[] {
  const flatten = (issues: readonly z.core.$ZodIssue[], path: PropertyKey[]): Finding[] =>
    issues.flatMap((issue): Finding[] => {
      const where = [...path, ...issue.path]
      if (issue.code === 'invalid_union' && issue.errors.length > 0) {
        const closest = [...issue.errors].sort((a, b) => depth(b) - depth(a))[0] as z.core.$ZodIssue[]
        if (depth(closest) > 0 || closest.some(({ code }) => code === 'custom')) return flatten(closest, where)
      }
      const message = plain(issue)
      const unknown = issue.code === 'unrecognized_keys' ? { unknown: issue.keys } : {}
      return [{ path: where, message, ...unknown }]
    })
  return flatten(error.issues, [])
}

const KINDS: Readonly<Record<string, string>> = {
  array: 'a list',
  object: 'an object',
  string: 'a string',
  number: 'a number',
  boolean: 'a boolean',
  null: 'nothing',
  undefined: 'nothing',
}
const kind = (word: string) => own(KINDS, word) ?? word

/** What an alternative wants, where that is a word or two. */
function wanted([issue]: readonly z.core.$ZodIssue[]): string | undefined {
  if (issue?.code === 'invalid_type') return kind(issue.expected)
  return issue?.code === 'invalid_value' ? issue.values.map(value => JSON.stringify(value)).join(' or ') : undefined
}

/** The library's words where they say enough. */
function plain(issue: z.core.$ZodIssue): string {
  if (issue.code === 'invalid_type' && issue.expected === 'int') return 'expected a whole number'
  if (issue.code === 'too_small' && issue.origin === 'number' && issue.inclusive) return `at least ${issue.minimum}`
  if (issue.code === 'too_big' && issue.origin === 'number' && issue.inclusive) return `at most ${issue.maximum}`
  const [, expected, received] = /^Invalid input: expected (\w+), received (\w+)$/.exec(issue.message) ?? []
  if (expected && received) return `expected ${kind(expected)}, not ${kind(received)}`
  if (issue.code !== 'invalid_union' || issue.errors.length === 0) return issue.message
  const all = issue.errors.map(wanted)
  return all.every(one => one !== undefined) ? `expected ${[...new Set(all)].join(' or ')}` : issue.message
}

/** The findings on one line: `limits.0.window: "1 fortnight" is not a duration …`. */
export const describeIssues = (error: z.ZodError): string =>
  findingsOf(error)
    .map(({ path, message }) => `${path.length > 0 ? `${path.join('.')}: ` : ''}${message}`)
    .join('; ')

const depth = (issues: readonly z.core.$ZodIssue[]) =>
  Math.max(0, ...issues.map(({ path, code }) => path.length + Number(code === 'custom')))
