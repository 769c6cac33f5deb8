import { CONFIRM_MS, parseDuration } from '@api-bouncer/limiter/client'
import { type Command, InvalidArgumentError } from 'commander'

/** Reads a whole number for an option. */
export const whole =
  (min: number, max: number) =>
  (text: string): number => {
    const value = /^\d{1,12}$/.test(text) ? Number(text) : Number.NaN
    if (value >= min && value <= max) return value
    throw new InvalidArgumentError(`It takes a whole number from ${min} to ${max}.`)
  }

/** Checks a duration for an option; it stays as it was written. */
export function duration(text: string): string {
  if (parseDuration(text) !== undefined) return text
  throw new InvalidArgumentError('It takes a duration: 90s, 15m, 4h, 7d.')
}

/** How long a change may wait to be confirmed: what cannot be is refused before anything is shown. */
export function confirmWithin(text: string): string {
  const ms = parseDuration(text)
  if (ms !== undefined && ms >= CONFIRM_MS.least && ms <= CONFIRM_MS.most) return text
  throw new InvalidArgumentError('It takes a duration from 1s to 1d: 90s, 2m.')
}

/** On every command that writes. */
export const dryRun = (command: Command): Command =>
  command.option('--dry-run', 'show what would be done, and do nothing', false)
