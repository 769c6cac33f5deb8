import type { z } from 'zod'
import { describeIssues } from '../contracts/index.ts'
import { BouncerError } from '../errors.ts'

/** A value by its schema, or an ERR_INVALID that names what is wrong in it. */
export function parseWith<T extends z.ZodType>(
  schema: T,
  value: unknown,
  what: string,
  mend = 'Mend it and try again',
): z.output<T> {
  const parsed = schema.safeParse(value)
  if (parsed.success) return parsed.data
  throw new BouncerError('ERR_INVALID', `${what}: ${describeIssues(parsed.error)}`, mend)
}
