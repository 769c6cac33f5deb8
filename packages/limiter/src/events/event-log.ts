import { compareIds } from '../contracts/event-id.ts'
import type { BouncerEvent, NewEvent } from '../contracts/index.ts'
import { Listeners } from '../listeners.ts'
import type { Answer } from '../stores/store.ts'

export type Listener = (event: BouncerEvent) => void

/** What came after an event, and whether some of it is no longer kept. */
export interface Catchup {
  readonly events: readonly BouncerEvent[]
  /** True when events between `after` and the first of `events` are lost. */
  readonly gap: boolean
}

/** What the log still tells of one client. */
export interface About {
  /** Oldest first; at most the newest `MOST_ABOUT`. */
  readonly events: readonly BouncerEvent[]
  /** Epoch ms of the oldest event that was looked at; undefined: the log is empty. */
  readonly from: number | undefined
}

export const MOST_ABOUT = 200

/** The fleet's events in order: append, follow, catch up. */
export interface EventLog {
  append(event: NewEvent): Answer<void>
  /** Events after an id (`0-0`: from the oldest kept), at most `limit`, oldest first. */
  after(id: string, limit: number): Answer<Catchup>
  /** The newest `limit` events, oldest first. */
  latest(limit: number): Answer<BouncerEvent[]>
  /** What happened to a client, as far as the log goes back. */
  about(client: string): Answer<About>
  /** Calls back for every event from now on; returns how to stop. */
  subscribe(listener: Listener): () => void
}

/** Whether something between `after` and the first event after it is lost: dropped by the cap, or with the log before this one. */
export const isGap = (after: string, first: { readonly prev: string } | undefined): boolean =>
  first !== undefined && (compareIds(first.prev, after) > 0 || (first.prev === ORIGIN && after !== ORIGIN))

/** Before the first event of a log. */
const ORIGIN = '0-0'

const KEPT = 10_000

/** The embedded log: the last 10,000 events of this process. */
export class MemoryEventLog implements EventLog {
  private readonly events: BouncerEvent[] = []
  private readonly listeners = new Listeners<BouncerEvent>()
  private last = ORIGIN
  private readonly instance: string
  private readonly now: () => number

  constructor(instance: string, now: () => number) {
    this.instance = instance
    this.now = now
  }

  append(event: NewEvent): void {
    const at = this.now()
    const [ms = 0, seq = 0] = this.last.split('-').map(Number)
    const id = at > ms ? `${at}-0` : `${ms}-${seq + 1}`
    const placed = { ...event, id, prev: this.last, at, instance: this.instance } as BouncerEvent
    this.last = id
    this.events.push(placed)
    if (this.events.length > KEPT * 1.1) this.events.splice(0, this.events.length - KEPT)
    this.listeners.tell(placed)
  }

  after(id: string, limit: number): Catchup {
    const events = this.events.filter(event => compareIds(event.id, id) > 0).slice(0, limit)
    return { events, gap: isGap(id, events[0]) }
  }

  latest(limit: number): BouncerEvent[] {
    return this.events.slice(Math.max(0, this.events.length - limit))
  }

  about(client: string): About {
    const events = this.events.filter(event => 'client' in event && event.client === client).slice(-MOST_ABOUT)
    return { events, from: this.events[0]?.at }
  }

  subscribe(listener: Listener): () => void {
    return this.listeners.add(listener)
  }
}
