import { formatDuration } from '@api-bouncer/limiter/client'
import type { Block, ClientDetail, Explanation } from '@api-bouncer/limiter/contracts'
import { safe, width } from './text.ts'
import { clock, inTime } from './time.ts'

type Verdict = Explanation['limits'][number]
type Refusal = ClientDetail['refusals'][number]

/** `30 of 30 per 1m used; the next unit at 14:03:39 (in 27s)`, `5 of 10 used, 100 per 1m (burst 10)`. */
export function verdictText(verdict: Verdict, now: number): string {
  const { limit, perWindow, remaining, resetAfterMs } = verdict
  const rate = rateText(verdict)
  const used =
    perWindow === undefined ? `${limit - remaining} of ${rate} used` : `${limit - remaining} of ${limit} used, ${rate}`
  return resetAfterMs === 0
    ? used
    : `${used}; the next unit at ${clock(now + resetAfterMs, now)} (${inTime(resetAfterMs)})`
}

/** A limit in words: `100 per 1m (burst 120)`. */
export const rateText = ({ limit, perWindow, windowMs }: Verdict): string =>
  `${perWindow ?? limit} per ${formatDuration(windowMs)}${perWindow === undefined ? '' : ` (burst ${limit})`}`

/** Refusals as aligned lines: when, by which policy, on which route, over what. */
export function refusalLines(refusals: readonly Refusal[], now: number): string[] {
  const cells = refusals.map(({ at, policy, route, limit }) => [clock(at, now), safe(policy), safe(route), safe(limit)])
  const widths = [0, 1, 2].map(i => Math.max(0, ...cells.map(line => width(line[i] as string))))
  return cells.map(line =>
    line
      .map((cell, i) => cell + ' '.repeat(Math.max(0, (widths[i] ?? 0) - width(cell))))
      .join('  ')
      .trimEnd(),
  )
}

const ENDINGS = ['th', 'st', 'nd', 'rd']
/** `1st`, `2nd`, `11th`. */
export function nth(n: number): string {
  const last = n % 100
  return `${n}${ENDINGS[last > 10 && last < 14 ? 0 : last % 10] ?? 'th'}`
}

/** `, the 2nd offence`; a block that somebody set counts for none. */
export const offenceText = ({ offence }: Pick<Block, 'offence'>): string =>
  offence > 0 ? `, the ${nth(offence)} offence` : ''
