import type { EventType, NewEvent } from '../contracts/index.ts'

interface Refused {
  policy: string
  route: string
  violations: number
  count: number
  sentAt: number
}

export interface ReporterOptions {
  send(event: NewEvent): void
  /** ms; only differences matter. */
  now(): number
  /** At most so many events a second; the rest becomes one `overflow`. */
  budget?: number
  /** Clients whose violations are gathered at once. */
  maxClients?: number
}

const COALESCE_MS = 1000

/**
 * Keeps a flood of refusals from becoming a flood of events: violations of one client are told at most once a second, with
 * a count, and an instance sends at most 200 events a second, the rest as one `overflow` with counts.
 */
export class Reporter {
  private readonly refused = new Map<string, Refused>()
  private readonly options: Required<ReporterOptions>
  private spent = 0
  private secondStarted = Number.NEGATIVE_INFINITY
  private dropped: Record<string, number> = {}
  private timer: NodeJS.Timeout | undefined
  /** Events not told one by one since the start. */
  overflow = 0

  constructor({ budget = 200, maxClients = 10_000, ...rest }: ReporterOptions) {
    this.options = { budget, maxClients, ...rest }
  }

  /** An enforced refusal. */
  violation(client: string, policy: string, route: string, violations: number): void {
    const known = this.refused.get(client)
    const now = this.options.now()
    if (known) {
      known.count++
      Object.assign(known, { policy, route, violations })
    } else if (this.refused.size >= this.options.maxClients) {
      this.drop('violation')
    } else {
      this.refused.set(client, { policy, route, violations, count: 0, sentAt: now })
      this.tell({ type: 'violation', client, policy, route, count: 1, violations })
    }
    this.schedule()
  }

  /** Any other event of this instance's own; operators' changes do not pass here, they always go out alone. */
  tell(event: NewEvent): void {
    const now = this.options.now()
    if (now - this.secondStarted >= 1000) this.newSecond(now)
    if (this.spent >= this.options.budget) {
      this.drop(event.type, event.type === 'violation' ? event.count : 1)
      return this.schedule()
    }
    this.spent++
    this.options.send(event)
  }

  /** Sends what is gathered and due; with `all`, everything (at shutdown). */
  flush(all = false): void {
    const now = this.options.now()
    if (now - this.secondStarted >= 1000 || all) this.newSecond(now)
    for (const [client, { count, sentAt, policy, route, violations }] of this.refused) {
      if (!all && now - sentAt < COALESCE_MS) continue
      this.refused.delete(client)
      if (count === 0) continue
      this.tell({ type: 'violation', client, policy, route, count, violations })
      // It stays on the list for another second, so that the next refusal is gathered too.
      if (!all) this.refused.set(client, { policy, route, violations, count: 0, sentAt: now })
    }
    if (all) this.newSecond(now)
  }

  close(): void {
    clearTimeout(this.timer)
    this.flush(true)
  }

  private newSecond(now: number): void {
    this.secondStarted = now
    this.spent = 0
    if (Object.keys(this.dropped).length === 0) return
    this.options.send({ type: 'overflow', dropped: this.dropped })
    this.dropped = {}
  }

  private drop(type: EventType, count = 1): void {
    this.dropped[type] = (this.dropped[type] ?? 0) + count
    this.overflow += count
  }

  private schedule(): void {
    this.timer ??= setTimeout(() => {
      this.timer = undefined
      this.flush()
      if (this.refused.size > 0 || Object.keys(this.dropped).length > 0) this.schedule()
    }, 250).unref()
  }
}
