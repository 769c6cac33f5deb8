import { own } from '@api-bouncer/limiter/client'
import type { Report } from './report.ts'

/** What a run must not do: `p99>50ms`, `errors>0`, `refused>10%`. */
export interface Threshold {
  readonly source: string
  /** The metric's value in this run, and whether the threshold was missed. */
  check(report: Report): { readonly value: string; readonly missed: boolean }
}

const LATENCIES: Readonly<Record<string, (report: Report) => number>> = {
  p50: ({ latencyMs }) => latencyMs.p50,
  p90: ({ latencyMs }) => latencyMs.p90,
  p95: ({ latencyMs }) => latencyMs.p95,
  p99: ({ latencyMs }) => latencyMs.p99,
  'p99.9': ({ latencyMs }) => latencyMs['p99.9'],
  max: ({ latencyMs }) => latencyMs.max,
  mean: ({ latencyMs }) => latencyMs.mean,
}

const COUNTS: Readonly<Record<string, (report: Report) => number>> = {
  errors: ({ errors }) => Object.values(errors).reduce((sum, one) => sum + one, 0),
  refused: ({ outcomes: { limited, blocked, denied, degraded } }) => limited + blocked + denied + degraded,
  limited: ({ outcomes }) => outcomes.limited,
  blocked: ({ outcomes }) => outcomes.blocked,
  admitted: ({ outcomes }) => outcomes.admitted,
  late: ({ late }) => late,
  dropped: ({ dropped }) => dropped,
}

const COMPARE: Readonly<Record<string, (a: number, b: number) => boolean>> = {
  '>': (a, b) => a > b,
  '>=': (a, b) => a >= b,
  '<': (a, b) => a < b,
  '<=': (a, b) => a <= b,
}

const UNITS: Readonly<Record<string, number>> = { us: 0.001, µs: 0.001, ms: 1, s: 1000 }

const round = (value: number) => Math.round(value * 1000) / 1000

/** Reads one `--fail-if`; throws with a sentence that says what can be written. */
export function parseThreshold(source: string): Threshold {
  const [, metric = '', operator = '', number = '', unit = ''] =
    /^\s*([a-z][a-z0-9.]*)\s*(>=|<=|>|<)\s*(\d+(?:\.\d+)?)\s*(us|µs|ms|s|%)?\s*$/.exec(source) ?? []
  const compare = COMPARE[operator]
  const latency = own(LATENCIES, metric)
  const count = own(COUNTS, metric)
  if (!compare) {
    throw new Error(`"${source}" is not a threshold; write 'p99>50ms', 'errors>0' or 'refused>10%'`)
  }
  if (latency) {
    const factor = UNITS[unit]
    if (factor === undefined) throw new Error(`"${source}": ${metric} is a time; write ${metric}${operator}${number}ms`)
    return {
      source,
      check: report => ({
        value: `${round(latency(report))} ms`,
        missed: compare(latency(report), Number(number) * factor),
      }),
    }
  }
  if (!count) {
    const known = [...Object.keys(LATENCIES), ...Object.keys(COUNTS)].join(', ')
    throw new Error(`"${source}": there is no "${metric}"; there are ${known}`)
  }
  if (unit !== '' && unit !== '%')
    throw new Error(`"${source}": ${metric} is a number; write ${metric}${operator}${number}`)
  return {
    source,
    check(report) {
      const share = unit === '%'
      const value = share ? (100 * count(report)) / Math.max(1, report.sent) : count(report)
      return { value: share ? `${round(value)}%` : String(value), missed: compare(value, Number(number)) }
    },
  }
}
