import { formatDuration } from '@api-bouncer/limiter/client'
import type { Styles } from '../output.ts'
import { flow, safe } from '../text.ts'
import type { Cleaned } from './cleaning.ts'
import { addressOf, attackersOf } from './clients.ts'
import { LATE_MS } from './measurements.ts'
import type { LoadOptions } from './options.ts'
import type { OracleReport } from './oracle.ts'
import type { Result } from './sender.ts'

/** The whole run as a document. Its fields stay; new ones may come. Latencies are from the planned start. */
export interface Report {
  readonly v: 1
  readonly method: string
  readonly url: string
  readonly pace: string
  readonly seed: number
  readonly clients: number
  readonly attackers: number
  readonly startedAt: string
  readonly durationMs: number
  readonly interrupted: boolean
  readonly offered: number
  readonly sent: number
  readonly rps: number
  readonly late: number
  readonly heldBack: number
  readonly dropped: number
  readonly errors: Readonly<Record<string, number>>
  readonly statuses: Readonly<Record<string, number>>
  readonly outcomes: Readonly<Record<'admitted' | 'limited' | 'blocked' | 'denied' | 'degraded', number>>
  readonly latencyMs: Readonly<Record<'p50' | 'p90' | 'p95' | 'p99' | 'p99.9' | 'mean' | 'max', number>>
  readonly sendLagMs: Readonly<Record<'p50' | 'p99' | 'max', number>>
  /** Who was refused, most often first: at most 20. Times are ms after the start. */
  readonly refused: readonly { client: string; count: number; firstMs: number; lastMs: number; blocked: boolean }[]
  readonly oracle: OracleReport
  readonly cleaned: Cleaned | null
  readonly thresholds: readonly { threshold: string; value: string; missed: boolean }[]
}

export interface Facts {
  readonly url: URL
  readonly options: LoadOptions
  readonly result: Result
  readonly startedAt: number
  readonly interrupted: boolean
  readonly oracle: OracleReport
  readonly cleaned: Cleaned | null
}

const micro = (ms: number) => Math.round(ms * 1000) / 1000

const rounded = <K extends string>(times: Readonly<Record<K, number>>): Record<K, number> =>
  Object.fromEntries(Object.entries<number>(times).map(([name, ms]) => [name, micro(ms)])) as Record<K, number>

export function reportOf({ url, options, result, startedAt, interrupted, oracle, cleaned }: Facts): Report {
  const { seen, endedAfter } = result
  const { offered, sent, late, heldBack, dropped, errors, statuses } = seen
  const { admitted, limited, blocked, denied, degraded } = seen
  const { method, pace, seed, clients, attackers } = options
  const report: Report = {
    v: 1,
    ...{ method, url: url.href, pace, seed, clients, attackers: attackersOf(clients, attackers) },
    startedAt: new Date(startedAt).toISOString(),
    durationMs: Math.round(endedAfter),
    interrupted,
    ...{ offered, sent },
    rps: endedAfter === 0 ? 0 : Math.round((sent * 10_000) / endedAfter) / 10,
    ...{ late, heldBack, dropped, errors, statuses },
    outcomes: { admitted, limited, blocked, denied, degraded },
    latencyMs: rounded(seen.latencyMs),
    sendLagMs: rounded(seen.sendLagMs),
    refused: seen.refused.map(({ client, count, first, last, blocked }) => ({
      client: addressOf(client),
      count,
      firstMs: Math.round(first),
      lastMs: Math.round(last),
      blocked,
    })),
    oracle,
    cleaned,
    thresholds: [],
  }
  const thresholds = options.thresholds.map(one => ({ threshold: one.source, ...one.check(report) }))
  return { ...report, thresholds }
}

const BAR = 40

/** `GET http://127.0.0.1:8000/api/data   200 rps for 10s, 20 clients (198.18.0.1 to .20), open loop`, in its parts. */
export function titleOf(url: URL, { method, pace, clients, attackers, seed }: LoadOptions): string[] {
  const last = addressOf(clients - 1).replace(/^198\.18\.0(?=\.)/, '')
  const who = clients === 1 ? `1 client (${addressOf(0)})` : `${clients} clients (${addressOf(0)} to ${last})`
  const bad = attackersOf(clients, attackers)
  const some = bad === 0 ? [] : [`${bad} of them ${bad === 1 ? 'attacks' : 'attack'}`]
  const order = clients > 1 ? [`seed ${seed}`] : []
  return [`${method} ${safe(url.href)}`, `${pace}, ${who}, open loop`, ...some, ...order]
}

export const milliseconds = (ms: number): string =>
  ms >= 1000 ? ms.toFixed(0) : ms >= 100 ? ms.toFixed(0) : ms.toFixed(1)

/** A bar of blocks, never empty for what is not nothing. */
export const bar = (share: number, width: number): string =>
  share <= 0 ? '' : '█'.repeat(Math.max(1, Math.round(share * width)))

/** The summary, as people read it. */
export function summary(report: Report, title: readonly string[], styles: Styles, columns?: number): string {
  const { bad, warn, good, dim } = styles
  const errors = Object.values(report.errors).reduce((sum, one) => sum + one, 0)
  const marked = (label: string, count: number, style = bad) => `${label} ${count > 0 ? style(String(count)) : count}`
  const rate = `(${report.rps.toFixed(1)} rps)`
  const numbers = [
    `offered ${report.offered}`,
    `sent ${report.sent} ${rate}`,
    marked(`late > ${LATE_MS}ms`, report.late, warn),
    ...(report.heldBack > 0 ? [`held back ${report.heldBack}`] : []),
    marked('dropped', report.dropped),
    marked('errors', errors),
  ]
  const { latencyMs: l } = report
  const ms = (name: string, value: number) => `${name} ${milliseconds(value)}`
  const latency =
    report.outcomes.admitted + report.outcomes.limited + report.outcomes.blocked === 0 && errors > 0
      ? 'nothing was answered'
      : flow(
          [
            'latency from the planned start, ms',
            ms('p50', l.p50),
            ms('p90', l.p90),
            ms('p99', l.p99),
            ms('p99.9', l['p99.9']),
            ms('max', l.max),
          ],
          columns,
        )
  const missed = report.thresholds.filter(one => one.missed)
  return [
    flow(title, columns),
    ...(report.interrupted ? [warn(`interrupted after ${(report.durationMs / 1000).toFixed(1)} s`)] : []),
    '',
    flow(numbers, columns),
    ...statusLines(report, styles),
    ...Object.entries(report.errors).map(([code, count]) => bad(`${safe(code)}  ${count}`)),
    latency,
    ...(report.heldBack > 0 ? [dim('held back: well-behaved clients waited as long as Retry-After asked')] : []),
    ...oracleLines(report, styles, columns),
    ...cleanedLine(report).map(dim),
    ...(report.thresholds.length === 0
      ? []
      : [
          missed.length === 0
            ? `thresholds: ${report.thresholds.map(one => `${one.threshold} (${one.value})`).join(', ')}   ${good('held')}`
            : `thresholds: ${missed.map(one => `${one.threshold} (${one.value})`).join(', ')}   ${bad('MISSED')}`,
        ]),
    '',
  ].join('\n')
}

function statusLines({ statuses, outcomes }: Report, { warn, bad, dim }: Styles): string[] {
  const shown: Record<string, number> = { ...statuses }
  // The two answers that a limiter is about stand there even when there are none.
  if (Object.keys(shown).length > 0) shown['429'] ??= 0
  const total = Object.values(statuses).reduce((sum, one) => sum + one, 0)
  const digits = Math.max(...Object.values(shown).map(one => String(one).length))
  const why = [
    ...(outcomes.limited > 0 ? [`${outcomes.limited} limited`] : []),
    ...(outcomes.blocked > 0 ? [`${outcomes.blocked} blocked`] : []),
  ]
  return Object.entries(shown).map(([status, count]) => {
    const share = count / Math.max(1, total)
    const style = status === '429' ? warn : status >= '500' ? bad : (text: string) => text
    const tail = status === '429' && why.length > 0 ? `   ${dim(why.join(', '))}` : ''
    const percent = count === 0 ? '' : `${share < 0.01 ? '<1' : (100 * share).toFixed(0)}%`
    return `${status}  ${String(count).padStart(digits)}  ${style(bar(share, BAR))}${count === 0 ? '' : '  '}${percent}${tail}`.trimEnd()
  })
}

const between = (least: number, most: number) => (least === most ? String(least) : `${least} to ${most}`)

const SHOWN = 5

function oracleLines({ oracle, outcomes, sent }: Report, { good, bad, warn }: Styles, columns?: number): string[] {
  if (oracle.verdict === 'none') return [`oracle: ${warn('no verdict')}: ${safe(oracle.reason)}`]
  const { law, least, most, admitted, wrong, verdict } = oracle
  const what = `${between(least, most)} had to be admitted, ${admitted} ${admitted === 1 ? 'was' : 'were'}`
  const agrees = verdict === 'agrees'
  const said = flow([`oracle: ${safe(law)};`, `${what}   ${agrees ? good('agrees') : bad('DISAGREES')}`], columns, ' ')
  if (agrees) return [said]
  const longest = Math.max(...wrong.map(({ client }) => client.length))
  return [
    said,
    ...wrong.slice(0, SHOWN).map(one => {
      const off = one.admitted > one.most ? one.admitted - one.most : one.least - one.admitted
      const what = `${off} too ${one.admitted > one.most ? 'many' : 'few'}`
      return `  ${one.client.padEnd(longest)}  sent ${one.sent}   had to be ${between(one.least, one.most)}   admitted ${one.admitted}   ${bad(what)}`
    }),
    ...(wrong.length > SHOWN ? [`  and ${wrong.length - SHOWN} more clients`] : []),
    outcomes.admitted === sent
      ? '  nothing was refused: is this target behind API Bouncer, and does it enforce? (without a check: --no-oracle)'
      : '  a cost, skip or client function of the application, or traffic of the same clients meanwhile, would explain it too',
  ]
}

function cleanedLine({ cleaned }: Report): string[] {
  if (!cleaned) return []
  if (cleaned.clients === 0) return ['cleaned up: there was nothing']
  const { clients, blocks, violations, policies } = cleaned
  const parts = [
    ...(policies.length > 0 ? [`the counters of ${policies.join(', ')}`] : []),
    ...(blocks > 0 ? [`${blocks} ${blocks === 1 ? 'block' : 'blocks'}`] : []),
    ...(violations > 0 ? [`${violations} ${violations === 1 ? 'violation' : 'violations'}`] : []),
  ]
  return [
    `cleaned up: ${parts.join(', ') || 'what was remembered'} of ${clients} ${clients === 1 ? 'client' : 'clients'}`,
  ]
}

/** `default allows 100 per 1m a client`. */
export const lawText = (
  policy:
    | {
        readonly id: string
        readonly algorithm: { readonly id: string }
        readonly cost: number
        readonly limits: readonly { limit: number; capacity: number; windowMs: number }[]
      }
    | undefined,
): string => {
  if (!policy) return 'no policy applies'
  const limits = policy.limits.map(
    ({ limit, capacity, windowMs }) =>
      `${limit} per ${formatDuration(windowMs)}${capacity === limit ? '' : ` (burst ${capacity})`}`,
  )
  const cost = policy.cost === 1 ? '' : `, at a cost of ${policy.cost}`
  return `${policy.id} allows ${limits.join(' and ')} a client${cost} (${policy.algorithm.id})`
}
