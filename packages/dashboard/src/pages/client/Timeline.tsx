import type { ClientDetail } from '@api-bouncer/limiter/contracts'
import { Text } from '@mantine/core'
import { disarm } from '../../foreign.ts'
import { clockTime, span, useNow } from '../../time.ts'

interface Moment {
  readonly at: number
  readonly mark: string
  readonly color: string
  readonly text: string
}

/** Refusals, violations that still count, and the block, newest first. */
export function momentsOf({ refusals, violations, block }: ClientDetail): Moment[] {
  const refused = refusals.map(
    ({ at, policy, route, limit }): Moment => ({
      at,
      mark: '▲',
      color: 'var(--limited)',
      text: `refused by ${policy} (${limit}): ${disarm(route, 120)}`,
    }),
  )
  const told = new Set(refusals.map(({ at }) => at))
  const counted = Object.entries(violations).flatMap(([scope, times]) =>
    times
      .filter(at => !told.has(at))
      .map(
        (at): Moment => ({
          at,
          mark: '△',
          color: 'var(--limited)',
          text: `violation${scope === '' ? '' : ` of ${scope}`}`,
        }),
      ),
  )
  const blocked: Moment[] = block
    ? [{ at: block.since, mark: '■', color: 'var(--blocked)', text: `blocked: ${disarm(block.reason, 120)}` }]
    : []
  return [...refused, ...counted, ...blocked].sort((a, b) => b.at - a.at)
}

export function Timeline({ detail }: { detail: ClientDetail }) {
  const now = useNow(5000)
  const moments = momentsOf(detail)
  const counting = Object.values(detail.violations).reduce((sum, times) => sum + times.length, 0)
  if (moments.length === 0) {
    return (
      <Text size="sm" c="dimmed">
        It was refused nothing in the last day.
      </Text>
    )
  }
  return (
    <>
      {counting > 0 && (
        <Text size="sm" mb={4}>
          {counting} violation{counting === 1 ? '' : 's'} count towards a block now.
        </Text>
      )}
      <section
        // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by the keyboard too
        tabIndex={0}
        aria-label="refusals, newest first"
        style={{ overflow: 'auto', maxHeight: 320 }}
      >
        <ul className="events">
          {moments.map(({ at, mark, color, text }) => (
            <li className="event" key={`${at} ${text}`}>
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
    </>
  )
}
