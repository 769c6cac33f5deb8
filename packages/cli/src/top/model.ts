import { formatRemaining } from '@api-bouncer/limiter/client'
import type { Block, ClientSummary, Status } from '@api-bouncer/limiter/contracts'

/** What one look at the control plane saw. */
export interface Look {
  readonly at: number
  readonly status: Status
  readonly clients: readonly ClientSummary[]
  readonly blocks: readonly Block[]
}

/** Requests of the fleet in one second, by outcome. */
export interface Rates {
  readonly allowed: number
  readonly limited: number
  readonly blocked: number
  readonly degraded: number
}

export const ratesOf = ({ instances }: Pick<Status, 'instances'>): Rates => {
  const sum = (pick: (one: Status['instances'][number]) => number) => instances.reduce((n, one) => n + pick(one), 0)
  const [requests, refused, blocked, degraded] = [
    sum(one => one.requestsPerSecond),
    sum(one => one.refusedPerSecond),
    sum(one => one.blockedPerSecond),
    sum(one => one.degraded),
  ]
  return { allowed: Math.max(0, requests - refused), limited: Math.max(0, refused - blocked), blocked, degraded }
}

export const SORTS = ['rate', 'used', 'client'] as const
export type Sort = (typeof SORTS)[number]

export interface Row {
  readonly client: string
  readonly rate: number
  /** Units used of the fullest limit; absent: nothing is known of it. */
  readonly used?: number
  readonly limit?: number
  readonly policy?: string | undefined
  readonly state: ClientSummary['state']
  /** Epoch ms. */
  readonly blockedUntil?: number | undefined
}

/** The clients of the table: the busiest or the nearest their limit, and whoever is blocked. */
export function rowsOf({ clients, blocks }: Look, sort: Sort, filter: string): Row[] {
  const known = new Set(clients.map(({ client }) => client))
  const rows: Row[] = [
    ...clients.map(({ client, requestsPerSecond, state, policy, used, limit, blockedUntil }) => ({
      client,
      rate: requestsPerSecond,
      state,
      blockedUntil,
      // Nothing is used: then no policy is the one that matters, but the one that has blocked.
      ...(used > 0 ? { used, limit, policy } : { policy: blocks.find(block => block.client === client)?.policy }),
    })),
    ...blocks
      .filter(({ client }) => !known.has(client))
      .map(({ client, policy, until }) => ({
        client,
        rate: 0,
        policy,
        state: 'blocked' as const,
        blockedUntil: until,
      })),
  ]
  const share = ({ used = 0, limit = 0, state }: Row) => (state === 'blocked' ? 2 : limit > 0 ? used / limit : 0)
  const by: Record<Sort, (a: Row, b: Row) => number> = {
    rate: (a, b) => b.rate - a.rate || share(b) - share(a),
    used: (a, b) => share(b) - share(a) || b.rate - a.rate,
    client: () => 0,
  }
  const wantedText = filter.toLowerCase()
  return rows
    .filter(({ client, policy = '', state }) => `${client} ${policy} ${state}`.toLowerCase().includes(wantedText))
    .sort((a, b) => by[sort](a, b) || compareClients(a.client, b.client))
}

/** Addresses by their numbers: 9.0.0.1 before 10.0.0.1. */
const compareClients = (a: string, b: string) => a.localeCompare(b, 'en', { numeric: true })

const TICKS = '▁▂▃▄▅▆▇█'

/** The newest values, one tick each, `width` at most; the scale is from 0 to the highest of them. */
export function sparkline(values: readonly number[], width: number): string {
  const shown = values.slice(-width)
  const highest = Math.max(...shown, 0)
  return shown
    .map(value => TICKS[highest === 0 ? 0 : Math.min(7, Math.round((value / highest) * 7))])
    .join('')
    .padStart(width)
}

/** A bar of `width` cells; whatever is used shows at least one, and only a full one is full. */
export function bar(used: number, limit: number, width: number): string {
  const share = limit > 0 ? Math.min(1, used / limit) : 0
  const cells = share >= 1 ? width : Math.min(width - 1, Math.max(share > 0 ? 1 : 0, Math.round(share * width)))
  return '█'.repeat(cells) + '░'.repeat(width - cells)
}

/** Three digits that matter: `2312`, `91.4`, `0.2`. */
export const rateText = (rate: number): string => (rate >= 100 ? rate.toFixed(0) : rate.toFixed(1))

export function stateText({ state, blockedUntil }: Row, now: number): string {
  if (state !== 'blocked') return state
  return blockedUntil === undefined ? 'blocked' : `blocked ${formatRemaining(blockedUntil - now)}`
}

/** What keys do and what is chosen. The chosen client stays chosen wherever its row goes. */
export interface View {
  readonly sort: Sort
  readonly filter: string
  readonly paused: boolean
  readonly chosen: string | undefined
  /** What keys are for: the table, the filter's text, the question whether to unblock. */
  readonly mode: 'table' | 'filter' | 'unblock'
}

export const initialView: View = { sort: 'rate', filter: '', paused: false, chosen: undefined, mode: 'table' }

/** The row under the cursor: the chosen client's, or the first. */
export const cursorOf = (rows: readonly Row[], chosen: string | undefined): number =>
  Math.max(
    0,
    rows.findIndex(({ client }) => client === chosen),
  )

/** Which rows fit: those around the cursor. */
export function windowOf(cursor: number, rows: number, height: number): { from: number; to: number } {
  const from = Math.max(0, Math.min(cursor - Math.floor(height / 2), rows - height))
  return { from, to: Math.min(rows, from + height) }
}

/**
 * Order changes at most every 3 s: until then rows stay where they were, with new values, and new clients come below.
 */
export function calmly(order: readonly string[], rows: readonly Row[]): Row[] {
  const place = new Map(order.map((client, i) => [client, i]))
  return [...rows].sort((a, b) => (place.get(a.client) ?? order.length) - (place.get(b.client) ?? order.length))
}
