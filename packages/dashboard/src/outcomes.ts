import type { OutcomeCounts } from '@api-bouncer/limiter/contracts'

/**
 * What became of a request, as it is shown. One colour everywhere, from Okabe and Ito's set, which colour-blind people can
 * tell apart ("Color Universal Design", 2008), and never colour alone: a mark stands beside it.
 */
export const SHOWN = ['allowed', 'limited', 'blocked', 'degraded', 'exempt'] as const
export type Shown = (typeof SHOWN)[number]

export interface Look {
  readonly name: string
  /** A shape, for whom colours say nothing. */
  readonly mark: string
  readonly light: string
  readonly dark: string
  readonly meaning: string
}

export const LOOKS: Readonly<Record<Shown, Look>> = {
  allowed: { name: 'allowed', mark: '●', light: '#5b7a9d', dark: '#8fb0d3', meaning: 'let through and counted' },
  limited: { name: 'limited', mark: '▲', light: '#c77700', dark: '#f0a830', meaning: 'refused: over a limit' },
  blocked: {
    name: 'blocked',
    mark: '■',
    light: '#c8401a',
    dark: '#ff7a50',
    meaning: 'refused: blocked or on the denylist',
  },
  degraded: {
    name: 'degraded',
    mark: '◆',
    light: '#b0448a',
    dark: '#e58cc2',
    meaning: 'decided by the fail mode, because the store gave no answer',
  },
  exempt: {
    name: 'exempt',
    mark: '○',
    light: '#7d8590',
    dark: '#9aa3ad',
    meaning: 'let through without being counted',
  },
}

/** Requests by what became of them. */
export type Tally = Readonly<Record<Shown, number>>

export const ZERO: Tally = { allowed: 0, limited: 0, blocked: 0, degraded: 0, exempt: 0 }

/** A contract's counts as they are shown; what a shadow policy would have done is none of it. */
export function tallyOf(counts: OutcomeCounts): Tally {
  const { allowed = 0, limited = 0, blocked = 0, exempt = 0 } = counts
  return {
    allowed,
    limited,
    blocked,
    exempt,
    degraded: (counts['degraded-allowed'] ?? 0) + (counts['degraded-refused'] ?? 0),
  }
}

export const addTallies = (tallies: readonly Tally[]): Tally =>
  tallies.reduce(
    (sum, tally) => Object.fromEntries(SHOWN.map(key => [key, sum[key] + tally[key]])) as Record<Shown, number>,
    ZERO,
  )

/** All policies of a frame or bucket together. */
export const tallyOfPolicies = (policies: Readonly<Record<string, OutcomeCounts>>): Tally =>
  addTallies(Object.values(policies).map(tallyOf))

export const totalOf = (tally: Tally): number => SHOWN.reduce((sum, key) => sum + tally[key], 0)

/** Which share was refused (0 to 1); undefined when nothing came. */
export function hitRate(tally: Tally): number | undefined {
  const total = totalOf(tally)
  return total === 0 ? undefined : (tally.limited + tally.blocked) / total
}
