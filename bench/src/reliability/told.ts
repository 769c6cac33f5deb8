import { setTimeout as sleep } from 'node:timers/promises'
import { type BouncerEvent, openRedisControl, type RedisOptions } from '@api-bouncer/limiter'

/** Between a refusal and its event in the log, at most, ms: an instance gathers a client's for a second. */
export const GATHERED_MS = 1500

/** A span of time, epoch ms. */
export interface Span {
  readonly from: number
  readonly to: number
}

/** Something `limited` that a client was answered. */
export interface Refusal {
  readonly instance: string
  readonly client: string
  /** Epoch ms. */
  readonly at: number
}

/** What may be missing, or too much, and why. */
export interface Excuse extends Span {
  /** Absent: of all. */
  readonly instance?: string
}

/** Refusals against the events that tell of them, instance by instance and client by client. */
export interface Account {
  /** Nobody tells of them, and nothing says so. */
  readonly lost: number
  /** Nobody tells of them; they fell into a marked gap, or into the last second of an instance that was killed. */
  readonly excused: number
  /** Told again, word by word: the connection broke before an instance heard that they were written. */
  readonly twice: number
  /** Told of requests whose answer was lost with their instance. */
  readonly unheard: number
  /** Told, though nobody was refused. */
  readonly surplus: number
}

/** Follows the events as another process does, from Redis itself. */
export class Follower {
  readonly control: Awaited<ReturnType<typeof openRedisControl>>
  readonly events: BouncerEvent[] = []
  /** What the log says that it has lost, from the last refusal that could have been told before. */
  readonly gaps: Span[] = []
  private over = false
  private readonly reading: Promise<void>

  private constructor(control: Follower['control']) {
    this.control = control
    this.reading = this.follow()
  }

  static async of(redis: RedisOptions): Promise<Follower> {
    return new Follower(await openRedisControl(redis))
  }

  /** Reads the rest and lets go. */
  async end(): Promise<void> {
    this.over = true
    await this.reading
    while ((await this.read()) > 0);
    await this.control.close()
  }

  private async follow(): Promise<void> {
    while (!this.over) {
      await this.read().catch(() => {})
      await sleep(100)
    }
  }

  private async read(): Promise<number> {
    const last = this.events.at(-1)
    const { events, gap } = await this.control.events({ after: last?.id ?? '0-0', limit: 1000 })
    const [first] = events
    if (gap && first) this.gaps.push({ from: (last?.at ?? 0) - GATHERED_MS, to: first.at })
    this.events.push(...events)
    return events.length
  }
}

/** Refusals in events that say word by word what the same instance said seconds before, by instance and client. */
function repeated(events: readonly BouncerEvent[]): Map<string, number> {
  const said = new Map<string, number>()
  const again = new Map<string, number>()
  for (const event of events) {
    if (event.type !== 'violation') continue
    const { id: _, prev: __, at, ...body } = event
    const words = JSON.stringify(body)
    if (at - (said.get(words) ?? Number.NEGATIVE_INFINITY) < 5000) add(again, keyOf(event), event.count)
    said.set(words, at)
  }
  return again
}

const keyOf = ({ instance, client }: { instance: string; client: string }) => `${instance} ${client}`
const add = (to: Map<string, number>, key: string, count: number) => to.set(key, (to.get(key) ?? 0) + count)

/**
 * What became of each refusal. `unheard` are requests without an answer; `excuses` beyond the marked gaps are the last
 * moments of instances that were killed.
 */
export function account(
  refusals: readonly Refusal[],
  { events, gaps }: Pick<Follower, 'events' | 'gaps'>,
  { excuses = [], unheard = [] }: { excuses?: readonly Excuse[]; unheard?: readonly Refusal[] } = {},
): Account {
  const told = new Map<string, number>()
  /** Told as a number, without a client. */
  let more = 0
  for (const event of events) {
    if (event.type === 'violation') add(told, keyOf(event), event.count)
    if (event.type === 'overflow') more += (event.dropped.violation ?? 0) + (event.dropped.event ?? 0)
  }
  const again = repeated(events)
  const asked = new Map<string, number>()
  for (const one of unheard) add(asked, keyOf(one), 1)
  const refused = new Map<string, Refusal[]>()
  for (const one of refusals) refused.set(keyOf(one), [...(refused.get(keyOf(one)) ?? []), one])
  const mayLack = ({ instance, at }: Refusal) =>
    [...gaps, ...excuses].some(
      (span: Excuse) => at >= span.from && at <= span.to && (!span.instance || span.instance === instance),
    )
  const sums = { lost: 0, excused: 0, twice: 0, unheard: 0, surplus: 0 }
  for (const key of new Set([...told.keys(), ...refused.keys()])) {
    const list = refused.get(key) ?? []
    const missing = Math.max(0, list.length - (told.get(key) ?? 0))
    const excused = Math.min(missing, list.filter(mayLack).length)
    const above = Math.max(0, (told.get(key) ?? 0) - list.length)
    const alone = Math.min(above, asked.get(key) ?? 0)
    const twice = Math.min(above - alone, again.get(key) ?? 0)
    sums.excused += excused
    sums.lost += missing - excused
    sums.unheard += alone
    sums.twice += twice
    sums.surplus += above - alone - twice
  }
  // What was told as a number alone is told.
  return { ...sums, lost: Math.max(0, sums.lost - more) }
}
