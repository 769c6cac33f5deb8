import type { BouncerEvent } from '@api-bouncer/limiter/contracts'
import { disarm } from './foreign.ts'
import { span } from './time.ts'

export const EVENT_FILTERS = ['all', 'blocks', 'violations', 'changes'] as const
export type EventFilter = (typeof EVENT_FILTERS)[number]

const KINDS: Readonly<Record<BouncerEvent['type'], EventFilter | 'always'>> = {
  violation: 'violations',
  blocked: 'blocks',
  unblocked: 'blocks',
  'policy-changed': 'changes',
  'list-changed': 'changes',
  'settings-changed': 'changes',
  // Who filters must still hear that something is missing, or that the store is away.
  'store-state': 'always',
  gap: 'always',
  overflow: 'always',
}

export const passes = (filter: EventFilter, { type }: BouncerEvent): boolean =>
  filter === 'all' || KINDS[type] === filter || KINDS[type] === 'always'

/** An event in words, beside the client that it is about. */
export function sayEvent(event: BouncerEvent): {
  readonly verb: string
  readonly rest: string
  readonly client?: string
} {
  const by = 'by' in event && event.by ? ` by ${disarm(event.by, 40)}` : ''
  const why = 'reason' in event && event.reason ? ` · ${disarm(event.reason, 80)}` : ''
  switch (event.type) {
    case 'violation':
      return {
        verb: 'limited',
        client: event.client,
        rest: `${event.count > 1 ? `×${event.count} ` : ''}· ${event.policy} · ${disarm(event.route, 80)}`,
      }
    case 'blocked':
      return {
        verb: 'blocked',
        client: event.client,
        rest: `for ${span(event.block.until - event.block.since)} · ${disarm(event.block.reason, 80)}`,
      }
    case 'unblocked':
      return { verb: 'unblocked', client: event.client, rest: `${by}${why}` }
    case 'policy-changed':
      return {
        verb: event.action === 'put' ? 'policy saved' : 'policy deleted',
        rest: `${event.policy} v${event.version}${by}${why}`,
      }
    case 'list-changed':
      return { verb: `${event.list}list`, rest: `${event.action} ${event.cidr}${by}${why}` }
    case 'settings-changed':
      return { verb: 'settings', rest: `changed${by}${why}` }
    case 'store-state':
      return { verb: event.state === 'ok' ? 'store answers' : 'store degraded', rest: disarm(event.detail, 120) }
    case 'gap':
      return { verb: 'gap', rest: 'events are missing here: they are no longer kept' }
    case 'overflow':
      return {
        verb: 'overflow',
        rest: `not told one by one: ${Object.entries(event.dropped)
          .map(([type, n]) => `${n} × ${type}`)
          .join(', ')}`,
      }
  }
}
