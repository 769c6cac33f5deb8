import {
  OUTCOMES,
  type OutcomeCounts,
  outcomeCounts,
  own,
  type StatsBucket,
  type StatsFrame,
  type StatsRange,
} from '../../contracts/index.ts'
import {
  addCounts,
  CLIENT_BUCKETS,
  CLIENT_STEP_MS,
  type ClientBucket,
  emptyBucket,
  type History,
  secondOf,
  stepOf,
  TIERS,
} from '../../stats/history.ts'
import { type Connection, OPERATOR_MS } from './connection.ts'
import { withTimeout } from './evaluate.ts'
import type { Keys } from './keys.ts'
import { loadScript } from './scripts.ts'

const addScript = loadScript('history')
const addClientsScript = loadScript('client-history')

/** What could not be told while Redis was away is told later, up to ten minutes of it. */
const KEPT_FRAMES = 600
/** Of these so many at once, so that a return is no rush. */
const FRAMES_AT_ONCE = 20
/** What clients did is gathered for so long. */
const CLIENTS_MS = 5000
/** A process gathers at most so many, in all minutes that wait. */
const GATHERED_CLIENTS = 2000
/** The fleet writes about so many clients each time: a spray of addresses must not fill Redis. */
const CLIENTS_AT_ONCE = 500
/** So many keys a script. */
const KEYS_AT_ONCE = 32

interface Waiting {
  readonly frame: Counted
  /** When it was told, by the process's own clock: Redis' time is known when it is written. */
  readonly taken: number
}

/** Of a frame, what all histories add up. */
type Counted = Pick<StatsFrame, 'spanMs' | 'policies' | 'latency' | 'blocks'>

interface Gathered {
  readonly client: string
  readonly minute: number
  readonly outcomes: OutcomeCounts
}

/** The fleet's history in Redis: written once a second behind the heartbeat, never in a decision's way. */
export class RedisHistory implements History {
  private readonly connection: Connection
  private readonly keys: Keys
  private waiting: Waiting[] = []
  private gathered = new Map<string, Gathered>()
  /** The frame of the second under way has them still. */
  private readonly forgotten = new Set<string>()
  private clientsDue = performance.now() + CLIENTS_MS
  /** The last second that was written, and the step of each tier that this instance has told of. */
  private second: number | undefined
  private told: number[] = []
  private flushing: Promise<void> | undefined
  /** Something more is to be written than what is being written now. */
  private asked = false

  constructor(connection: Connection, keys: Keys) {
    this.connection = connection
    this.keys = keys
  }

  /** Takes a frame down; `flush` writes it. `at` is Redis' time, epoch ms. */
  add(frame: StatsFrame, at: number): void {
    const { spanMs, policies, latency, blocks } = frame
    this.waiting.push({ frame: { spanMs, policies, latency, blocks }, taken: performance.now() })
    if (this.waiting.length > KEPT_FRAMES) this.waiting.shift()
    const minute = Math.floor((at - spanMs / 2) / CLIENT_STEP_MS)
    for (const { client, outcomes } of frame.top) {
      if (!outcomes || this.forgotten.has(client)) continue
      const key = `${minute} ${client}`
      const known = this.gathered.get(key)
      if (known) addCounts(known.outcomes, outcomes)
      else if (this.gathered.size < GATHERED_CLIENTS) {
        this.gathered.set(key, { client, minute, outcomes: { ...outcomes } })
      }
    }
    this.forgotten.clear()
  }

  /** Writes down nothing of what a client did until now. */
  forget(client: string): void {
    for (const [key, gathered] of this.gathered) if (gathered.client === client) this.gathered.delete(key)
    this.forgotten.add(client)
  }

  /** Writes what waits; what does not get through waits for the next time. `instances`: how many do the same. */
  flush(instances: number): Promise<void> {
    this.asked = true
    this.flushing ??= this.writeWhileAsked(instances)
      .catch(() => {})
      .finally(() => {
        this.flushing = undefined
      })
    return this.flushing
  }

  /** Writes all there is, at the end. */
  async close(instances: number): Promise<void> {
    await this.flushing
    await this.write(instances, true).catch(() => {})
  }

  async stats(range: StatsRange): Promise<StatsBucket[]> {
    const { rangeMs, stepMs } = TIERS.find(tier => tier.range === range) as (typeof TIERS)[number]
    const last = stepOf(this.now(), stepMs)
    const starts = Array.from({ length: rangeMs / stepMs + 1 }, (_, i) => last - rangeMs + i * stepMs)
    const { commands } = this.connection
    const found = await withTimeout(
      Promise.all(starts.map(at => commands.hgetall(this.keys.stats(stepMs, at)))),
      OPERATOR_MS,
    )
    return found.flatMap((fields, i) => (Object.keys(fields).length > 0 ? [bucketOf(starts[i] as number, fields)] : []))
  }

  async client(client: string): Promise<ClientBucket[]> {
    const fields = await withTimeout(this.connection.commands.hgetall(this.keys.clientHistory(client)), OPERATOR_MS)
    const from = this.now() - (CLIENT_BUCKETS + 1) * CLIENT_STEP_MS
    return Object.entries(fields)
      .map(([minute, counts]) => ({ at: Number(minute) * CLIENT_STEP_MS, outcomes: parseCounts(counts) }))
      .filter(({ at }) => at > from)
      .sort((a, b) => a.at - b.at)
  }

  private async writeWhileAsked(instances: number): Promise<void> {
    while (this.asked) {
      this.asked = false
      await this.write(instances, false)
    }
  }

  private now(): number {
    return this.connection.nowUs() / 1000
  }

  private async write(instances: number, all: boolean): Promise<void> {
    for (let written = 0; this.waiting.length > 0 && (all || written < FRAMES_AT_ONCE); written++) {
      const first = this.waiting[0] as Waiting
      await this.writeFrame(first)
      // It may have been pushed out meanwhile.
      if (this.waiting[0] === first) this.waiting.shift()
    }
    if (all || performance.now() >= this.clientsDue) {
      this.clientsDue = performance.now() + CLIENTS_MS
      await this.writeClients(instances)
    }
  }

  private async writeFrame({ frame, taken }: Waiting): Promise<void> {
    const second = secondOf(this.now() - (performance.now() - taken), frame.spanMs, this.second)
    const starts = TIERS.map(({ stepMs }) => stepOf(second, stepMs))
    await this.connection.run(
      addScript,
      TIERS.map(({ stepMs }, i) => this.keys.stats(stepMs, starts[i] as number)),
      [
        ...TIERS.flatMap(({ rangeMs, stepMs }, i) => [rangeMs + 2 * stepMs, starts[i] === this.told[i] ? 0 : 1]),
        ...fieldsOf(frame),
      ],
    )
    this.second = second
    this.told = starts
  }

  private async writeClients(instances: number): Promise<void> {
    const size = Math.min(200, Math.max(10, Math.floor(CLIENTS_AT_ONCE / Math.max(1, instances))))
    const busiest = [...this.gathered.values()].sort((a, b) => sumOf(b.outcomes) - sumOf(a.outcomes)).slice(0, size)
    this.gathered = new Map()
    const { isCluster } = this.connection
    // A Cluster's clients live in many slots: one script each.
    const step = isCluster ? 1 : KEYS_AT_ONCE
    const batches = Array.from({ length: Math.ceil(busiest.length / step) }, (_, i) =>
      busiest.slice(i * step, (i + 1) * step),
    )
    const ttlMs = (CLIENT_BUCKETS + 2) * CLIENT_STEP_MS
    // For people only: what Redis does not take just now is not worth keeping.
    await Promise.all(
      batches.map(batch =>
        this.connection
          .run(
            addClientsScript,
            batch.map(({ client }) => this.keys.clientHistory(client)),
            [CLIENT_BUCKETS + 1, ttlMs, ...batch.flatMap(({ minute, outcomes }) => [minute, formatCounts(outcomes)])],
          )
          .catch(() => {}),
      ),
    )
  }
}

const sumOf = (outcomes: OutcomeCounts) => Object.values(outcomes).reduce((sum, count) => sum + count, 0)

/** Only what is not zero: a quiet second costs next to nothing. */
function fieldsOf({ policies, latency, blocks }: Counted): (string | number)[] {
  return [
    ...Object.entries(policies).flatMap(([policy, counts]) =>
      Object.entries(counts).flatMap(([outcome, count]) => (count > 0 ? [`${policy} ${outcome}`, count] : [])),
    ),
    ...latency.flatMap((count, i) => (count > 0 ? [`latency ${i}`, count] : [])),
    ...(blocks > 0 ? ['blocks', blocks] : []),
  ]
}

/** The field of a policy ends in an outcome, which is never a number. */
const LATENCY = /^latency (\d+)$/

function bucketOf(at: number, fields: Readonly<Record<string, string>>): StatsBucket {
  const bucket = emptyBucket(at)
  for (const [field, text] of Object.entries(fields)) {
    const count = Number(text)
    const place = LATENCY.exec(field)?.[1]
    if (place !== undefined) {
      if (Number(place) < bucket.latency.length) bucket.latency[Number(place)] = count
    } else if (field === 'blocks' || field === 'instances') bucket[field] = count
    else {
      const [policy = '', outcome = ''] = field.split(' ')
      const counts = outcomeCounts.safeParse({ [outcome]: count })
      // Unreadable: of a newer version.
      if (counts.success) bucket.policies[policy] = addCounts(own(bucket.policies, policy) ?? {}, counts.data)
    }
  }
  return bucket
}

const formatCounts = (outcomes: OutcomeCounts) =>
  Object.entries(outcomes)
    .map(([outcome, count]) => `${outcome}=${count}`)
    .join(' ')

function parseCounts(text: string): OutcomeCounts {
  const counts: OutcomeCounts = {}
  for (const [, outcome, count] of text.matchAll(/([a-z-]+)=(\d+)/g)) {
    if ((OUTCOMES as readonly string[]).includes(outcome as string))
      counts[outcome as keyof OutcomeCounts] = Number(count)
  }
  return counts
}
