import { compareIds } from '../../contracts/event-id.ts'
import { type BouncerEvent, eventSchema, type NewEvent } from '../../contracts/index.ts'
import { type About, type Catchup, type EventLog, isGap, type Listener, MOST_ABOUT } from '../../events/event-log.ts'
import { Listeners } from '../../listeners.ts'
import { type Connection, OPERATOR_MS } from './connection.ts'
import { withTimeout } from './evaluate.ts'
import type { Keys } from './keys.ts'
import { loadScript } from './scripts.ts'

const appendScript = loadScript('append')

export const LOG_LENGTH = 10_000
/** While Redis is away so many of our own events are kept, to be told when it is back. */
const KEPT = 1000
/** Events read, and sent, at once. */
const READ = 500
const SENT = 100

/** An event's place in the log; the event itself is absent when a newer version wrote it. */
interface Placed {
  readonly id: string
  readonly prev: string
  readonly event?: BouncerEvent | undefined
}

/** The fleet's events: a capped stream that says what was missed, and pub/sub as its fast path. */
export class RedisEventLog implements EventLog {
  private readonly connection: Connection
  private readonly keys: Keys
  private readonly instance: string
  private readonly listeners = new Listeners<BouncerEvent>()
  private outbox: NewEvent[] = []
  private sending: Promise<void> | undefined
  private dropped = 0
  /** The newest event that the listeners were told, or that was there before they were. */
  private last: string | undefined
  private behind = false
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
    // One at a time, in order; who waits for its event waits until it had its turn.
    if (this.sending) await this.sending
    if (this.outbox.length === 0) return
    this.sending ??= this.send().finally(() => {
      this.sending = undefined
    })
    await this.sending
  }

  async after(id: string, limit: number): Promise<Catchup> {
    const placed = await this.read(id, limit)
    return { events: eventsOf(placed), gap: isGap(id, placed[0]) }
  }

  async latest(limit: number): Promise<BouncerEvent[]> {
    return eventsOf(await this.newest(limit)).reverse()
  }

  /** Reads the log backwards; what names the client is understood, the rest only looked over. */
  async about(client: string): Promise<About> {
    const name = JSON.stringify({ client }).slice(1, -1)
    const found: BouncerEvent[] = []
    let from: number | undefined
    for (let to = '+'; found.length < MOST_ABOUT; ) {
      const entries = await this.backwards(to, READ)
      const named = entries.filter(([, fields]) => fields.some(field => field.includes(name)))
      found.push(...eventsOf(named.map(parseEntry)).filter(event => 'client' in event && event.client === client))
      const oldest = entries.at(-1)?.[0]
      if (oldest !== undefined) from = timeOf(oldest)
      if (oldest === undefined || entries.length < READ) break
      to = `(${oldest}`
    }
    return { events: found.slice(0, MOST_ABOUT).reverse(), from }
  }

  subscribe(listener: Listener): () => void {
    return this.listeners.add(listener)
  }

  /** A message of the events channel. */
  heard(message: string): void {
    const placed = parseMessage(message)
    if (!placed) return
    // The first of all: what came before it is past.
    this.last ??= placed.prev
    if (compareIds(placed.id, this.last) <= 0) return
    if (this.catching || placed.prev !== this.last) void this.catchUp()
    else this.deliver(placed)
  }

  /** The log has come so far, whether we heard of it or not. */
  reached(id: string): void {
    if (this.last === undefined || compareIds(id, this.last) > 0) void this.catchUp()
  }

  /** Reads what was missed: after a gap, and after a lost connection. */
  catchUp(): Promise<void> {
    this.behind = true
    this.catching ??= this.readOn()
      .catch(() => {})
      .finally(() => {
        this.catching = undefined
      })
    return this.catching
  }

  private async readOn(): Promise<void> {
    if (this.last === undefined) {
      const [newest] = await this.newest(1)
      this.last ??= newest?.id ?? '0-0'
    }
    // Again when it was asked meanwhile: what was read may end before what was heard of.
    while (this.behind) {
      this.behind = false
      for (let more = true; more; ) {
        const after: string = this.last
        const placed = await this.read(after, READ)
        if (isGap(after, placed[0])) this.tellGap(after, placed[0] as Placed)
        for (const one of placed) this.deliver(one)
        more = placed.length === READ
      }
    }
  }

  private tellGap(after: string, { id, prev }: Placed): void {
    const at = timeOf(id)
    const place = { id: compareIds(prev, after) > 0 ? prev : after, prev: after }
    this.tell({ type: 'gap', ...place, at, instance: this.instance, after })
  }

  private deliver({ id, event }: Placed): void {
    this.last = id
    if (event) this.tell(event)
  }

  private tell(event: BouncerEvent): void {
    this.listeners.tell(event)
  }

  private async read(after: string, limit: number): Promise<Placed[]> {
    const { commands } = this.connection
    const entries = await withTimeout(commands.xrange(this.keys.log, `(${after}`, '+', 'COUNT', limit), OPERATOR_MS)
    return entries.map(parseEntry)
  }

  private async newest(limit: number): Promise<Placed[]> {
    return (await this.backwards('+', limit)).map(parseEntry)
  }

  private backwards(to: string, limit: number): Promise<Entry[]> {
    return withTimeout(this.connection.commands.xrevrange(this.keys.log, to, '-', 'COUNT', limit), OPERATOR_MS)
  }

  /** Sends all there is, until something does not go out. */
  private async send(): Promise<void> {
    const { keys } = this
    while (this.outbox.length > 0) {
      const events = this.outbox.slice(0, SENT)
      const overflow: NewEvent[] = this.dropped > 0 ? [{ type: 'overflow', dropped: { event: this.dropped } }] : []
      // An unblock raises the epoch: whoever missed the message hears of it with the next heartbeat.
      const bump = events.some(({ type }) => type === 'unblocked') ? this.keys.channels.control : ''
      try {
        await this.connection.run(
          appendScript,
          [keys.log, keys.epoch],
          [
            keys.channels.events,
            this.instance,
            LOG_LENGTH,
            bump,
            ...[...events, ...overflow].map(event => JSON.stringify(event)),
          ],
        )
      } catch {
        // Told again later. What timed out was not written; what a broken connection hides may be told twice.
        return
      }
      this.outbox.splice(0, events.length)
      this.dropped = 0
    }
  }
}

/** An entry of the stream: its id, and its fields in pairs. */
type Entry = [string, string[]]

const timeOf = (id: string) => Number(id.split('-')[0])

const eventsOf = (placed: readonly Placed[]) => placed.flatMap(({ event }) => event ?? [])

// An older instance leaves out what it does not know, and keeps count of its place.
function parseMessage(text: string): Placed | undefined {
  try {
    const { id, prev, ...rest } = JSON.parse(text)
    return { id, prev, event: eventSchema.safeParse({ id, prev, ...rest }).data }
  } catch {
    return undefined
  }
}

function parseEntry([id, fields]: Entry): Placed {
  const of = (name: string) => fields[fields.indexOf(name) + 1] ?? ''
  const [prev, instance, at] = [of('prev'), of('instance'), timeOf(id)]
  try {
    return { id, prev, event: eventSchema.safeParse({ ...JSON.parse(of('event')), id, prev, at, instance }).data }
  } catch {
    return { id, prev }
  }
}
