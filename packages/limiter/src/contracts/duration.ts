const UNITS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const

/** Milliseconds of `250ms`, `90s`, `15m`, `4h`, `7d` or a bare number of seconds; `undefined` when it is none of these. */
export function parseDuration(value: string | number): number | undefined {
  const match = /^(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?$/.exec(String(value).trim())
  if (!match) return undefined
  const ms = Number(match[1]) * UNITS[(match[2] ?? 's') as keyof typeof UNITS]
  return Number.isInteger(ms) ? ms : undefined
}

/** The shortest exact spelling: 60000 → `1m`, 90000 → `90s`, 250 → `250ms`. */
export function formatDuration(ms: number): string {
  if (ms === 0) return '0s'
  for (const unit of ['d', 'h', 'm', 's'] as const) {
    if (ms % UNITS[unit] === 0) return `${ms / UNITS[unit]}${unit}`
  }
  return `${ms}ms`
}

/** What is left, for people: `2d 4h`, `13m 02s`, `12s`. Rounds up, so that it never says 0s while there is something left. */
export function formatRemaining(ms: number): string {
  const seconds = Math.max(0, Math.ceil(ms / 1000))
  const [d, h, m, s] = [
    Math.floor(seconds / 86_400),
    Math.floor(seconds / 3600) % 24,
    Math.floor(seconds / 60) % 60,
    seconds % 60,
  ]
  const two = (n: number) => String(n).padStart(2, '0')
  if (d > 0) return `${d}d ${h}h`
  if (h > 0) return `${h}h ${two(m)}m`
  if (m > 0) return `${m}m ${two(s)}s`
  return `${s}s`
}

/** So long, ms, a changed policy may wait to be confirmed. */
export const CONFIRM_MS = { least: 1000, most: 86_400_000 } as const
