import { distance } from 'fastest-levenshtein'
import { z } from 'zod'

/** The candidate that was probably meant, if one is near. */
export function guess(word: string, candidates: readonly string[]): string | undefined {
  const ranked = candidates
    .map(candidate => ({ candidate, far: distance(word.toLowerCase(), candidate.toLowerCase()) }))
    .sort((a, b) => a.far - b.far)
  const best = ranked[0]
  return best && best.far <= Math.max(2, Math.floor(word.length / 3)) ? best.candidate : undefined
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

/** All of a validation error's findings on one line: `limits.0.window: "1 fortnight" is not a duration …`. */
export function describeIssues(error: z.ZodError): string {
  const flatten = (issues: readonly z.core.$ZodIssue[], path: PropertyKey[]): string[] =>
    issues.flatMap(issue => {
      const where = [...path, ...issue.path]
      // Of a union, tell what the closest alternative says.
      if (issue.code === 'invalid_union' && issue.errors.length > 0) {
        const closest = [...issue.errors].sort((a, b) => depth(b) - depth(a))[0] as z.core.$ZodIssue[]
        if (depth(closest) > 0 || closest.some(({ code }) => code === 'custom')) return flatten(closest, where)
      }
      return [`${where.length > 0 ? `${where.join('.')}: ` : ''}${issue.message}`]
    })
  return flatten(error.issues, []).join('; ')
}

const depth = (issues: readonly z.core.$ZodIssue[]) =>
  Math.max(0, ...issues.map(({ path, code }) => path.length + Number(code === 'custom')))
