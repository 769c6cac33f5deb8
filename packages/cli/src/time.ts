import { formatRemaining } from '@api-bouncer/limiter/client'

const two = (n: number) => String(n).padStart(2, '0')

/** `14:03:11` today, `12-31 14:03:11` on another day, in the time of this machine. */
export function clock(at: number, now: number): string {
  const [then, today] = [new Date(at), new Date(now)]
  const time = [then.getHours(), then.getMinutes(), then.getSeconds()].map(two).join(':')
  if (then.toDateString() === today.toDateString()) return time
  const day = `${two(then.getMonth() + 1)}-${two(then.getDate())}`
  return then.getFullYear() === today.getFullYear() ? `${day} ${time}` : `${then.getFullYear()}-${day} ${time}`
}

/** `in 13m 02s`. */
export const inTime = (ms: number): string => `in ${formatRemaining(ms)}`

/** `2m 03s ago`. */
export const ago = (ms: number): string =>
  ms < 1000 ? 'just now' : `${formatRemaining(Math.floor(ms / 1000) * 1000)} ago`

/** `14:18:11 (in 13m 02s)`, `14:03:11 (2m 03s ago)`. */
export const exact = (at: number, now: number): string =>
  `${clock(at, now)} (${at > now ? inTime(at - now) : ago(now - at)})`

/** For files: `2026-01-31T14:03:11.000Z`; nothing for no time. */
export const iso = (at: number | undefined): string | undefined =>
  at === undefined ? undefined : new Date(at).toISOString()
