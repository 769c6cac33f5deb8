import { formatDuration, formatRemaining } from '@api-bouncer/limiter/client'
import type { BouncerEvent } from '@api-bouncer/limiter/contracts'
import { nth } from '../usage.ts'

/** What kind of thing an event tells, for its colour. */
export type Tone = 'quiet' | 'limited' | 'blocked' | 'degraded' | 'plain'

export interface EventLine {
  readonly at: number
  /** One word. */
  readonly verb: string
  readonly says: string
  readonly tone: Tone
}

const by = ({ by, reason }: { by: string; reason?: string | undefined }) => `by ${by}${reason ? `: ${reason}` : ''}`

/** The epoch ms of an event's id. */
export const timeOfId = (id: string): number => Number(id.split('-')[0])

/** An event in words, its values as they came: disarm them before they are shown. */
export function eventLine(event: BouncerEvent, timeText: (at: number) => string): EventLine {
  const line = (verb: string, says: readonly (string | false | undefined)[], tone: Tone = 'plain'): EventLine => ({
    at: event.at,
    verb,
    says: says.filter(Boolean).join(' · '),
    tone,
  })
  switch (event.type) {
    case 'violation': {
      const { client, count, policy, route } = event
      return line('limited', [count > 1 ? `${client} ×${count}` : client, policy, route], 'limited')
    }
    case 'blocked': {
      const { block, client } = event
      const length = block.until - block.since
      const whole = Math.round(length / 1000) * 1000
      return line(
        'blocked',
        [
          `${client} for ${whole > 0 && whole % 60_000 === 0 ? formatDuration(whole) : formatRemaining(length)}`,
          block.reason,
          block.policy,
          block.offence > 1 && `${nth(block.offence)} offence`,
          block.by !== 'auto' && `by ${block.by}`,
        ],
        'blocked',
      )
    }
    case 'unblocked':
      return line('unblocked', [
        event.client,
        event.lifted.length > 0 && `lifted: ${event.lifted.join(', ')}`,
        by(event),
      ])
    case 'policy-changed':
      return line('policy', [
        event.action === 'deleted' ? `${event.policy} deleted` : `${event.policy} v${event.version}`,
        by(event),
      ])
    case 'list-changed':
      return line(event.list, [`${event.cidr} ${event.action}`, by(event)])
    case 'settings-changed':
      return line('settings', ['changed', by(event)])
    case 'store-state':
      return line('store', [event.state, event.detail], event.state === 'ok' ? 'plain' : 'degraded')
    case 'gap': {
      const anew = event.id === event.prev
      return line(
        'gap',
        [
          `events between ${timeText(timeOfId(event.after))} and ${timeText(event.at)} are lost`,
          anew ? 'the log started anew, as the embedded one does with its server' : 'they are no longer kept',
        ],
        'degraded',
      )
    }
    case 'overflow': {
      const counts = Object.entries(event.dropped).map(([type, count]) => `${count} ${type}`)
      return line('overflow', [`not told one by one: ${counts.join(', ')}`], 'degraded')
    }
  }
}

export interface EventFilter {
  readonly types?: readonly string[] | undefined
  readonly client?: ((client: string) => boolean) | undefined
  readonly policy?: string | undefined
}

/** Whether an event is asked for. A gap always is: it may have held what is. */
export function wanted(event: BouncerEvent, { types, client, policy }: EventFilter): boolean {
  if (event.type === 'gap') return true
  if (types && !types.includes(event.type)) return false
  if (client !== undefined && !('client' in event && client(event.client))) return false
  if (policy !== undefined) {
    const named = event.type === 'blocked' ? event.block.policy : 'policy' in event ? event.policy : undefined
    if (named !== policy) return false
  }
  return true
}
