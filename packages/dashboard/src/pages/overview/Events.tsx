import type { BouncerEvent } from '@api-bouncer/limiter/contracts'
import { Button, SegmentedControl, UnstyledButton } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { useRef, useState } from 'react'
import { Unknown } from '../../components/Answer.tsx'
import { ClientLink } from '../../components/Client.tsx'
import { EmptyState } from '../../components/EmptyState.tsx'
import { Panel } from '../../components/Panel.tsx'
import { UnblockDialog } from '../../components/UnblockDialog.tsx'
import { EVENT_FILTERS, passes, sayEvent } from '../../events.ts'
import { fetchEvents, newestFrame, useLive } from '../../live.ts'
import { useSearchState } from '../../search.ts'
import { clockTime, useNow } from '../../time.ts'

const SHOWN_EVENTS = 100

const COLOURS: Readonly<Partial<Record<BouncerEvent['type'], readonly [mark: string, color: string]>>> = {
  violation: ['▲', 'var(--limited)'],
  blocked: ['■', 'var(--blocked)'],
  'store-state': ['◆', 'var(--degraded)'],
  gap: ['◆', 'var(--degraded)'],
  overflow: ['◆', 'var(--degraded)'],
}

/** The newest block of each client, by its event, unless it was lifted after that or its time is over. */
function inForce(events: readonly BouncerEvent[], now: number): ReadonlySet<BouncerEvent> {
  const newest = new Map<string, BouncerEvent>()
  for (const event of events)
    if ((event.type === 'blocked' || event.type === 'unblocked') && !newest.has(event.client))
      newest.set(event.client, event)
  return new Set([...newest.values()].filter(event => event.type === 'blocked' && event.block.until > now))
}

interface LineProps {
  readonly event: BouncerEvent
  /** Absent: there is no block to lift. */
  readonly onUnblock: ((client: string) => void) | undefined
}

function Line({ event, onUnblock }: LineProps) {
  const { verb, client, rest } = sayEvent(event)
  const [mark, color] = COLOURS[event.type] ?? ['○', 'var(--mantine-color-dimmed)']
  return (
    <li className="event">
      <span className="mono">{clockTime(event.at)}</span>
      <span aria-hidden style={{ color }}>
        {mark}
      </span>
      <span className="foreign" style={{ minWidth: 0 }} title={`${verb} ${client ?? ''} ${rest}`}>
        {verb} {client !== undefined && <ClientLink client={client} />} {rest}
      </span>
      {event.type === 'blocked' && onUnblock ? (
        <UnstyledButton
          fz="xs"
          td="underline"
          onClick={() => onUnblock(event.client)}
          aria-label={`unblock ${event.client}`}
        >
          unblock
        </UnstyledButton>
      ) : (
        <span />
      )}
    </li>
  )
}

/** What happens, newest above; what comes in while one reads further down waits. */
export function Events() {
  const [asked, select] = useSearchState('events', 'all')
  const filter = EVENT_FILTERS.find(one => one === asked) ?? 'all'
  const all = useLive(live => live.events)
  const [held, setHeld] = useState<readonly BouncerEvent[]>()
  const [unblocking, setUnblocking] = useState<string>()
  const box = useRef<HTMLUListElement>(null)

  const before = useQuery({ queryKey: ['events'], queryFn: fetchEvents })

  const now = useNow(5000)
  const nobody = useLive(live => newestFrame(live)?.activeBlocks === 0)
  const lasting = inForce(nobody ? [] : all, now)
  const shown = (held ?? all).filter(event => passes(filter, event)).slice(0, SHOWN_EVENTS)
  const waiting = held === undefined ? 0 : all.filter(event => passes(filter, event) && !held.includes(event)).length
  const toTop = () => {
    box.current?.scrollTo({ top: 0 })
    setHeld(undefined)
  }
  return (
    <Panel
      title="Events"
      id="events"
      tools={
        <SegmentedControl
          size="xs"
          aria-label="events shown"
          data={[...EVENT_FILTERS]}
          value={filter}
          onChange={select}
        />
      }
    >
      {waiting > 0 && (
        <Button size="compact-xs" variant="light" onClick={toTop} mb={4}>
          {waiting} new above
        </Button>
      )}
      <Unknown of={before} what="what happened before" newest={all[0]?.at} />
      {shown.length === 0 ? (
        before.isSuccess && (
          <EmptyState what={filter === 'all' ? 'Nothing has happened yet. Make some trouble:' : `No ${filter} yet.`} />
        )
      ) : (
        <ul
          className="events scroll"
          ref={box}
          // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by the keyboard too
          tabIndex={0}
          aria-label="events, newest first"
          onScroll={({ currentTarget }) => {
            if (currentTarget.scrollTop <= 0) setHeld(undefined)
            else setHeld(held ?? all)
          }}
        >
          {shown.map(event => (
            <Line key={event.id} event={event} onUnblock={lasting.has(event) ? setUnblocking : undefined} />
          ))}
        </ul>
      )}
      {unblocking !== undefined && (
        <UnblockDialog client={unblocking} opened onClose={() => setUnblocking(undefined)} />
      )}
    </Panel>
  )
}
