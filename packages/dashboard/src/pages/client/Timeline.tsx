import type { ClientDetail, ClientHistory } from '@api-bouncer/limiter/contracts'
import { Text } from '@mantine/core'
import { sayEvent } from '../../events.ts'
import { disarm } from '../../foreign.ts'
import { clockTime, span, useNow } from '../../time.ts'

interface Moment {
  readonly at: number
  readonly mark: string
  readonly color: string
  readonly text: string
}

/**
 * What happened to it, newest first: its last refusals one by one, before them its violations as the log tells them (at most
 * one line a second), every block and every unblock.
 */
export function momentsOf(
  { refusals, block }: Pick<ClientDetail, 'refusals' | 'block'>,
  events: ClientHistory['events'],
): Moment[] {
  const limited = { mark: '▲', color: 'var(--limited)' }
  const refused = [...refusals].reverse().map(
    ({ at, policy, route, limit }): Moment => ({
      ...limited,
      at,
      text: `refused by ${policy} (${limit}): ${disarm(route, 120)}`,
    }),
  )
  const oldest = Math.min(...refusals.map(({ at }) => at))
  const told = events.flatMap((event): Moment[] => {
    const { verb, rest } = sayEvent(event)
    const text = `${verb} ${rest.trim()}`
    if (event.type === 'violation') return event.at < oldest ? [{ ...limited, at: event.at, text }] : []
    if (event.type === 'blocked')
      return [
        {
          at: event.block.since,
          mark: '■',
          color: 'var(--blocked)',
          text: `${text} · by ${disarm(event.block.by, 40)}`,
        },
      ]
    return [{ at: event.at, mark: '○', color: 'var(--mantine-color-dimmed)', text }]
  })
  // The log may have dropped what still holds.
  const known = events.some(event => event.type === 'blocked' && event.block.since === block?.since)
  const held: Moment[] =
    block && !known
      ? [{ at: block.since, mark: '■', color: 'var(--blocked)', text: `blocked: ${disarm(block.reason, 120)}` }]
      : []
  // Of one millisecond: the block after the refusal that led to it.
  return [...refused, ...told, ...held].sort((a, b) => a.at - b.at).reverse()
}

interface Props {
  readonly detail: ClientDetail
  readonly history: ClientHistory
}

export function Timeline({ detail, history: { events, eventsFrom } }: Props) {
  const now = useNow(5000)
  const moments = momentsOf(detail, events)
  const counting = Object.values(detail.violations).reduce((sum, times) => sum + times.length, 0)
  const kept =
    eventsFrom === undefined
      ? 'No event is kept.'
      : `Violations, blocks and unblocks are kept since ${clockTime(eventsFrom, now)}: the newest 10,000 events of all clients, and the last 10 refusals of each for a day.`
  return (
    <>
      {counting > 0 && (
        <Text size="sm" mb={4}>
          {counting} violation{counting === 1 ? '' : 's'} count towards a block now.
        </Text>
      )}
      {moments.length === 0 ? (
        <Text size="sm">Nothing that is kept: no refusal, no block.</Text>
      ) : (
        <section
          // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by the keyboard too
          tabIndex={0}
          aria-label="what happened to it, newest first"
          style={{ overflow: 'auto', maxHeight: 320 }}
        >
          <ul className="events">
            {moments.map(({ at, mark, color, text }, i) => (
              // biome-ignore lint/suspicious/noArrayIndexKey: two of one millisecond are alike
              <li className="event" key={`${at} ${text} ${i}`}>
                <span className="mono" title={`${span(now - at)} ago`}>
                  {clockTime(at, now)}
                </span>
                <span aria-hidden style={{ color }}>
                  {mark}
                </span>
                <span className="foreign" title={text}>
                  {text}
                </span>
                <span />
              </li>
            ))}
          </ul>
        </section>
      )}
      <Text size="xs" c="dimmed" mt={4}>
        {kept}
      </Text>
    </>
  )
}
