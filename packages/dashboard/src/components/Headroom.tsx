import type { ClientSummary } from '@api-bouncer/limiter/contracts'
import { Group, Text } from '@mantine/core'
import { count } from '../numbers.ts'
import { LOOKS, type Shown } from '../outcomes.ts'

const LOOK: Readonly<Record<ClientSummary['state'], Shown>> = {
  ok: 'allowed',
  near: 'limited',
  limited: 'limited',
  blocked: 'blocked',
}

/** How much of its fullest counter a client has used, and what state that is. */
export function Headroom({ summary }: { summary: Pick<ClientSummary, 'state' | 'used' | 'limit'> }) {
  const { state, used, limit } = summary
  const share = state === 'blocked' ? 1 : limit === 0 ? 0 : Math.min(1, used / limit)
  const look = LOOK[state]
  return (
    <Group gap={6} wrap="nowrap">
      <div
        role="img"
        aria-label={state === 'blocked' ? 'blocked' : `${used} of ${limit} used`}
        style={{
          height: 8,
          flex: '0 1 64px',
          minWidth: 24,
          background: 'var(--mantine-color-default-border)',
          borderRadius: 2,
        }}
      >
        <div style={{ width: `${share * 100}%`, height: '100%', background: `var(--${look})`, borderRadius: 2 }} />
      </div>
      <Text span size="sm" style={{ whiteSpace: 'nowrap' }}>
        {state === 'blocked' ? (
          <>
            <span aria-hidden style={{ color: 'var(--blocked)' }}>
              {LOOKS.blocked.mark}
            </span>{' '}
            blocked
          </>
        ) : (
          `${count(used)}/${count(limit)}${state === 'limited' ? ' full' : ''}`
        )}
      </Text>
    </Group>
  )
}
