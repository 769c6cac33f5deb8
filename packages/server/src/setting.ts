import { BouncerError } from '@api-bouncer/limiter'
import * as z from 'zod'

/** A setting or file that stops the start. The message is one line: what is wrong, where, and how to mend it. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
}

/** What stops a start with one line instead of a stack. */
export const isConfigError = (error: unknown): error is Error =>
  error instanceof ConfigError || error instanceof BouncerError

/** A setting read from text; `read` answers undefined for what it does not understand. */
export const setting = <T>(read: (text: string) => T | undefined, wanted: string) =>
  z.string().transform((text, ctx): T => {
    const value = read(text)
    if (value !== undefined) return value
    ctx.addIssue({ code: 'custom', message: `"${text.slice(0, 100)}" is not ${wanted}` })
    return z.NEVER
  })

/** As `setting`, for what may hold a password: a message never repeats it. */
export const secretive = <T>(read: (text: string) => T | undefined, wanted: string) =>
  z.string().transform((text, ctx): T => {
    const value = read(text)
    if (value !== undefined) return value
    ctx.addIssue({ code: 'custom', message: `is not ${wanted}` })
    return z.NEVER
  })

export const integer = (min: number, max: number, what: string) =>
  setting(text => {
    const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN
    return value >= min && value <= max ? value : undefined
  }, `${what} (${min} to ${max})`)
