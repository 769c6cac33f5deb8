import { type BouncerEvent, eventSchema, type NewEvent } from '../../contracts/index.ts'
import { type Catchup, compareIds, type EventLog, type Listener } from '../../events/event-log.ts'
import { evaluate } from './batcher.ts'
import type { Connection } from './connection.ts'
import type { Keys } from './keys.ts'
import { withTimeout } from './redis-store.ts'
import { loadScript } from './scripts.ts'

const appendScript = loadScript('append')

export const LOG_LENGTH = 10_000
const TIMEOUT_MS = 2000
/** While Redis is away so many of our own events are kept, to be told when it is back. */
const KEPT = 1000

/** The fleet's events: a capped stream that says what was missed, and pub/sub as its fast path. */
export class RedisEventLog implements EventLog {
  private readonly connection: Connection
  private readonly keys: Keys
  private readonly instance: string
  private readonly listeners = new Set<Listener>()
  private outbox: NewEvent[] = []
  private sending: Promise<void> | undefined
  private dropped = 0
  private last: string | undefined
  private catching: Promise<void> | undefined

  constructor(connection: Connection, keys: Keys, instance: string) {
    this.connection = connection
    this.keys = keys
    this.instance = instance
  }

  /** Resolves when the event is written, or given up for now; it is tried again with the next one and every second. */
  append(event: NewEvent): Promise<void> {
    if (this.outbox.length < KEPT) this.outbox.push(event)
    else this.dropped++
    return this.flush()
  }

  async flush(): Promise<void> {
    if (this.sending) return this.sending
    if (this.outbox.length === 0) return
    this.sending = this.send().finally(() => {
      this.sending = undefined
    })
    await this.sending
    if (this.outbox.length > 0 && this.connection.health.state === 'ok') await this.flush()
  }

  async after(id: string, limit: number): Promise<Catchup> {
    const entries = await withTimeout(
      this.connection.commands.xrange(this.keys.log, `(${id}`, '+', 'COUNT', limit),
      TIMEOUT_MS,
    )
    const events = entries.flatMap(entry => parseEntry(entry) ?? [])
    return { events, gap: events[0] !== undefined && compareIds(events[0].prev, id) > 0 }
  }

  async latest(limit: number): Promise<BouncerEvent[]> {
    const entries = await withTimeout(
      this.connection.commands.xrevrange(this.keys.log, '+', '-', 'COUNT', limit),
      TIMEOUT_MS,
    )
    return entries.flatMap(entry => parseEntry(entry) ?? []).reverse()
  }

  subscribe(listener: Listener): () => void {
    this.listeners.add(listener)
    return () => this.listeners.delete(listener)
  }

  /** A message of the events channel. */
  heard(message: string): void {
    const event = parseEvent(message)
    if (!event || (this.last !== undefined && compareIds(event.id, this.last) <= 0)) return
    if (this.last !== undefined && event.prev !== this.last) void this.catchUp()
    else if (!this.catching) this.deliver(event)
  }

  /** Reads what was missed: after a gap, and after a lost connection. */
  catchUp(): Promise<void> {
    this.catching ??= this.readOn()
      .catch(() => {})
      .finally(() => {
        this.catching = undefined
      })
    return this.catching
  }

  private async readOn(): Promise<void> {
    if (this.last === undefined) {
      this.last = (await this.latest(1))[0]?.id ?? '0-0'
      return
    }
    for (;;) {
      const after = this.last
      const { events, gap } = await this.after(after, 500)
      const first = events[0]
      if (!first) return
      if (gap) this.deliver({ type: 'gap', id: first.prev, prev: after, at: first.at, instance: this.instance, after })
      for (const event of events) this.deliver(event)
    }
  }

  private deliver(event: BouncerEvent): void {
    this.last = event.id
    for (const listener of this.listeners) listener(event)
  }

  private async send(): Promise<void> {
    const events = this.outbox.splice(0, 100)
    if (this.dropped > 0) events.push({ type: 'overflow', dropped: { event: this.dropped } })
    // An unblock raises the epoch: whoever missed the message hears of it with the next heartbeat.
    const bump = events.some(({ type }) => type === 'unblocked') ? 1 : 0
    const { keys } = this
    try {
      await withTimeout(
        evaluate(
          this.connection.commands,
          appendScript,
          [keys.log, keys.epoch],
          [keys.channels.events, this.instance, LOG_LENGTH, bump, ...events.map(event => JSON.stringify(event))],
        ),
        TIMEOUT_MS,
      )
      this.dropped = 0
    } catch {
      // It may have been written all the same: an event told twice is better than one never told.
      this.outbox.unshift(...events.filter(({ type }) => type !== 'overflow'))
    }
  }
}

function parseEvent(text: string): BouncerEvent | undefined {
  try {
    // An older instance leaves out what it does not know.
    return eventSchema.safeParse(JSON.parse(text)).data
  } catch {
    return undefined
  }
}

function parseEntry([id, fields]: [string, string[]]): BouncerEvent | undefined {
  const of = (name: string) => fields[fields.indexOf(name) + 1] ?? ''
  try {
    return eventSchema.safeParse({
      ...JSON.parse(of('event')),
      id,
      prev: of('prev'),
      at: Number(id.split('-')[0]),
      instance: of('instance'),
    }).data
  } catch {
    return undefined
  }
}
