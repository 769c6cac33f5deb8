import type { Outcome as Decided } from '@api-bouncer/limiter/contracts'
import { Text } from '@mantine/core'
import { LOOKS, type Shown } from '../outcomes.ts'

const shownOf = (outcome: Decided | Shown): Shown =>
  outcome === 'degraded-allowed' || outcome === 'degraded-refused' ? 'degraded' : outcome

/** What became of a request, in its colour, with its mark and its word. */
export function Outcome({ outcome }: { outcome: Decided | Shown }) {
  const shown = shownOf(outcome)
  const { mark, name, meaning } = LOOKS[shown]
  return (
    <Text span size="sm" title={meaning} style={{ whiteSpace: 'nowrap' }}>
      <span aria-hidden style={{ color: `var(--${shown})` }}>
        {mark}
      </span>{' '}
      {name}
    </Text>
  )
}
