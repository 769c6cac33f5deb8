import { BouncerError } from '@api-bouncer/limiter/client'
import type { BouncerEvent, EventPage, EventsQuery } from '@api-bouncer/limiter/contracts'

/** Events asked for at once. */
const PAGE = 1000
const POLL_MS = 500
/** While it is cut off it asks less and less often, up to this. */
const SLOWEST_MS = 5000

export interface Following {
  read(query: EventsQuery): Promise<EventPage>
  /** Where to go on from; absent: from the first event that is kept. */
  readonly after: string
  /** Whether an event of that id has been seen: then the next one must follow it without a gap. */
  readonly seen: boolean
  /** Waits; rejects when it is over. */
  wait(ms: number): Promise<void>
  /** Told once when nobody answers any more, and once (without a reason) when somebody does again. */
  cutOff(reason: string | undefined): void
}

/**
 * Every event after an id, in order, for ever; where some are lost, a `gap` event stands in their place. Throws what `wait`
 * throws, and any error that waiting does not mend.
 */
export async function* follow({ read, after, seen, wait, cutOff }: Following): AsyncGenerator<BouncerEvent> {
  let [last, held, failures] = [after, seen, 0]
  for (;;) {
    let page: EventPage
    try {
      page = await read({ after: last, limit: PAGE })
    } catch (error) {
      if (!(error instanceof BouncerError && error.code === 'ERR_UNAVAILABLE')) throw error
      if (failures++ === 0) cutOff(error.message)
      await wait(Math.min(POLL_MS * 2 ** Math.min(failures - 1, 10), SLOWEST_MS))
      continue
    }
    if (failures > 0) cutOff(undefined)
    failures = 0
    const [first] = page.events
    if (first && (page.gap || (held && first.prev !== last))) yield gapBefore(first, last)
    for (const event of page.events) {
      yield event
      ;[last, held] = [event.id, true]
    }
    if (page.events.length < PAGE) await wait(POLL_MS)
  }
}

/** Stands for what came after `after` and is lost. A log that starts anew has nothing before its first event. */
const gapBefore = ({ prev, at, instance }: BouncerEvent, after: string): BouncerEvent => ({
  type: 'gap',
  id: prev === '0-0' ? after : prev,
  prev: after,
  at,
  instance,
  after,
})
