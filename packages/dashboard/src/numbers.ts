const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 })
const tenths = new Intl.NumberFormat('en', { minimumFractionDigits: 1, maximumFractionDigits: 1 })

/** Rounded to what matters: 2,312 but 91.4. */
export const rate = (perSecond: number | undefined): string =>
  perSecond === undefined ? '–' : (perSecond >= 100 || perSecond === 0 ? whole : tenths).format(perSecond)

export const count = (n: number): string => whole.format(n)

/** `2 of 3 instances` */
export const instancesOf = ({ seen, of }: { readonly seen: number; readonly of: number }): string =>
  `${seen} of ${of} instance${of === 1 ? '' : 's'}`

export const percent = (share: number | undefined): string =>
  share === undefined ? '–' : `${tenths.format(share * 100)} %`

/** `1.2 ms`, `48 µs`. */
export function millis(ms: number | undefined): string {
  if (ms === undefined) return '–'
  if (ms < 1) return `${whole.format(ms * 1000)} µs`
  return `${(ms < 100 ? tenths : whole).format(ms)} ms`
}

export function bytes(n: number): string {
  const units = ['B', 'kB', 'MB', 'GB']
  let [size, unit] = [n, 0]
  while (size >= 1000 && unit < units.length - 1) [size, unit] = [size / 1000, unit + 1]
  return `${(unit === 0 ? whole : tenths).format(size)} ${units[unit]}`
}

/** Upper bounds of the decision-time buckets, ms: LATENCY_BUCKETS of the contracts, which would bring the schemas with it. */
export const BUCKETS_MS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 1000] as const

/** A percentile from a histogram, ms, interpolated within its bucket; undefined when it is empty, infinite above all bounds. */
export function percentile(histogram: readonly number[], share: number): number | undefined {
  const total = histogram.reduce((sum, n) => sum + n, 0)
  if (total === 0) return undefined
  let rank = share * total
  for (const [i, n] of histogram.entries()) {
    if (rank <= n && n > 0) {
      const upper = BUCKETS_MS[i]
      if (upper === undefined) return Number.POSITIVE_INFINITY
      const lower = i === 0 ? 0 : (BUCKETS_MS[i - 1] as number)
      return lower + (upper - lower) * (rank / n)
    }
    rank -= n
  }
  return undefined
}
