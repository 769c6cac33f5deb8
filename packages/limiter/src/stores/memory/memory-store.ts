import process from 'node:process'
import type { Limit } from '../../algorithms/index.ts'
import type { Log } from '../../algorithms/sliding-window/log.ts'
import type { Block, LimitVerdict, UnblockOptions, UnblockResult } from '../../contracts/index.ts'
import { formatDuration, parseDuration } from '../../contracts/index.ts'
import { type CompiledPolicy, describeLimit, type Penalty } from '../../policies/table.ts'
import type {
  BlockList,
  BlockPlace,
  Check,
  ClientRecord,
  NewBlock,
  Receipt,
  Refusal,
  Store,
  StoreHealth,
  Verdict,
} from '../store.ts'
import { Client } from './client.ts'
import { ClientTable, TICK_US } from './client-table.ts'
import { fits, measure, takeAll, toMs } from './decide.ts'
import { type Misdeeds, NEVER, within } from './rare.ts'
import { BANNED, BLOCKED, COLD, HOT, type Tier, Tiers } from './tiers.ts'

const KEPT_REFUSALS = 10
/** In place of what placed a client. */
const UNPLACED = -1
/** So many clients a second are looked at for what has expired: all of a full default store in twenty seconds. */
const SWEPT = 5000

/** Of a client near a limit: forgetting it would give away something. */
const isHalfUsed = ({ remaining, limit }: LimitVerdict) => remaining * 2 <= limit

const blockOf = (client: Client, now: number): Block | undefined =>
  client.blockedUntil > now ? client.block : undefined

const tierOf = ({ by }: Block): Tier => (by === 'auto' ? BLOCKED : BANNED)

/** Something of them counts until then, µs. */
function keep(misdeeds: Misdeeds, until: number): void {
  misdeeds.keptUntil = Math.max(misdeeds.keptUntil, until)
}

const offencesOf = (misdeeds: Misdeeds | undefined, now: number) =>
  misdeeds && misdeeds.offencesUntil > now ? misdeeds.offences : 0

/** Soonest to end first; those of one millisecond by their names, as Redis orders its set. */
const inTurn = (a: BlockPlace, b: BlockPlace) =>
  a.until - b.until || (a.client < b.client ? -1 : Number(a.client > b.client))

const wordsOf = (log: Log) => ({ units: log.size, oldest: log.size > 0 ? log.at(0) : null })

/** A string of its own: a part of a request's line would keep the whole line, 16 kB of it, in memory. */
const copyOf = (text: string) => Buffer.from(text).toString()

const SystemDate = Date
/** Of Node's monotonic clocks the quickest to read. */
const systemHrtime = process.hrtime

/** Microseconds since the epoch that never run backwards, whatever is done to the machine's clock. */
export function monotonicMicros(): number {
  // `process` is slow to look into: done only where fake timers of a test are in place, which bring a Date of theirs.
  const hrtime = Date === SystemDate ? systemHrtime : process.hrtime
  const time = hrtime()
  // An integer over an integer: V8 multiplies instead.
  return epoch + time[0] * 1_000_000 + (((time[1] | 0) / 1000) | 0)
}

/** When that clock was 0, µs since the epoch. */
const epoch = Math.floor((performance.timeOrigin + performance.now()) * 1000 - Number(process.hrtime.bigint() / 1000n))

/** Somebody else's clock, held to what it has promised: never back, always a whole number. */
function heldTo(clock: () => number): () => number {
  let last = Math.floor(clock())
  return () => {
    const now = Math.floor(clock())
    if (now > last) last = now
    return last
  }
}

export interface MemoryStoreOptions {
  /** At most so many clients are remembered. Default 100,000. */
  maxClients?: number | undefined
  /** µs since the epoch; where it runs backwards, time stands still. */
  clock?: (() => number) | undefined
}

/**
 * The embedded store: the reference algorithms over bounded memory. When full it forgets idle clients first, then light ones,
 * then those near a limit or with violations, then automatic blocks, each the least recently used first; a block that an
 * operator has set goes last of all. A tenth of the places is for light clients whoever else is there: else each newcomer
 * would displace the one before, and no limit would hold for any of them.
 */
export class MemoryStore implements Store {
  readonly kind = 'memory'
  private readonly clients = new ClientTable()
  private readonly tiers = new Tiers(this.clients)
  /** Who is checked: one for all checks, since none is under way while another is. */
  private readonly checked = new Client(this.clients, 0)
  /** Who is looked at for whether to be forgotten. */
  private readonly passing = new Client(this.clients, 0)
  readonly maxClients: number
  private readonly clock: () => number
  private readonly startedAt: number
  private readonly sweeper: NodeJS.Timeout
  private readonly lightPlaces: number
  /** Goes round all clients, a part each second. */
  private round: Iterator<number> | undefined
  /** Before this tick nobody is idle, as far as is known: then nobody is looked for when room is wanted. */
  private idleFrom = 0
  /** Clients of whom something still counted, and that had to go for others. */
  private forgotten = 0

  constructor({ maxClients = 100_000, clock }: MemoryStoreOptions = {}) {
    this.maxClients = maxClients
    this.lightPlaces = Math.max(1, Math.floor(maxClients / 10))
    this.clock = clock ? heldTo(clock) : monotonicMicros
    this.startedAt = this.clock()
    this.sweeper = setInterval(() => this.sweep(), 1000)
    this.sweeper.unref()
  }

  now(): number {
    return Math.floor(this.clock() / 1000)
  }

  health(): StoreHealth {
    const { forgotten, clients } = this
    return { state: 'ok', detail: 'embedded, in this process', clients: clients.size, forgotten }
  }

  check(check: Check): Verdict {
    const { client: id, policy, cost } = check
    const now = this.clock()
    const client = this.checked.goTo(this.clients.rows.get(id) ?? this.admit(id, now))
    if (client.blockedUntil > now && !policy.shadow) {
      return { outcome: 'blocked', now, limits: measure(policy, client, now, cost), block: client.block as Block }
    }
    const { algorithm, only } = policy
    if (only === undefined || cost !== 1) return this.checkAll(check, client, now)
    // One unit under one limit, nearly always. `touch` and `taken` are spelt out: as long as this V8 puts it into no caller, and
    // has room to put all that it calls in place (docs/profiling.md).
    const state = client.isLogOf(only) ? client : (client.get(only) ?? client.start(algorithm, only, now))
    const remaining = algorithm.take(state, only, now, 1)
    if (remaining < 0) return this.refuse(check, client, now)
    const placed = this.placing(remaining * 2 <= only.capacity, now)
    if (client.placed !== placed) this.place(client, placed, now)
    const { capacity, windowMs } = only
    const resetAfterMs = toMs(algorithm.next(state, only, now, remaining))
    const left = { limit: capacity, windowMs, remaining, resetAfterMs, retryAfterMs: 0 }
    return { outcome: 'allowed', now, limits: [left], taken: true }
  }

  peek({ client: id, policy, cost }: Check): Verdict {
    const now = this.clock()
    const client = this.clientOf(id)
    const block = client && !policy.shadow ? blockOf(client, now) : undefined
    const limits = measure(policy, client, now, cost)
    const outcome = block ? 'blocked' : fits(limits) ? 'allowed' : 'limited'
    return { outcome, now, limits, ...(block && { block }) }
  }

  refund({ client: id, policy, cost, takenAt }: Receipt): number {
    if (cost === 0) return 0
    const now = this.clock()
    const client = this.clientOf(id)
    let back = 0
    for (const limit of policy.limits) {
      const state = client?.get(limit)
      if (state !== undefined) back = Math.max(back, policy.algorithm.refund(state, limit, now, cost, takenAt))
    }
    return back
  }

  client(id: string): ClientRecord {
    const now = this.clock()
    const client = this.clientOf(id)
    const block = client && blockOf(client, now)
    const misdeeds = client?.misdeeds
    return {
      client: id,
      ...(block && { block }),
      violations: Object.fromEntries(
        [...(misdeeds?.violations ?? [])]
          .map(([scope, kept]) => [scope, within(kept, now).map(time => Math.floor(time / 1000))] as const)
          .filter(([, times]) => times.length > 0),
      ),
      refusals: [...(misdeeds?.refusals ?? [])].reverse(),
      offences: offencesOf(misdeeds, now),
      ...(misdeeds && misdeeds.graceUntil > now && { graceUntil: Math.floor(misdeeds.graceUntil / 1000) }),
    }
  }

  block({ client: id, reason, by, durationMs }: NewBlock): Block {
    const now = this.clock()
    const client = this.clientOf(id) ?? this.admitted(id, now)
    return this.setBlock(client, now, durationMs, { reason, by, offence: offencesOf(client.misdeeds, now) })
  }

  forgetRefusals(id: string): void {
    const misdeeds = this.clientOf(id)?.misdeeds
    if (misdeeds) misdeeds.refusals = []
  }

  unblock(id: string, { keepCounters = false, grace }: UnblockOptions): UnblockResult {
    const now = this.clock()
    const client = this.clientOf(id)
    const block = client && blockOf(client, now)
    const violations = [...(client?.misdeeds?.violations.values() ?? [])].flatMap(kept => within(kept, now)).length
    const counters = keepCounters
      ? []
      : [...(client?.all() ?? [])].map(({ limit }) => limit.counter.split(':')[1] as string)
    const graceMs = grace === undefined ? 0 : (parseDuration(grace) as number)
    if (client || graceMs > 0) {
      const forgiven = client ?? this.admitted(id, now)
      forgiven.block = undefined
      const { misdeeds } = forgiven
      if (misdeeds) {
        misdeeds.violations.clear()
        misdeeds.offences = 0
        misdeeds.graceUntil = NEVER
        misdeeds.keptUntil = NEVER
      }
      if (graceMs > 0) {
        const misdeeds = forgiven.ensureMisdeeds()
        misdeeds.graceUntil = now + graceMs * 1000
        keep(misdeeds, misdeeds.graceUntil)
      }
      if (!keepCounters) {
        forgiven.clear()
        forgiven.idleAt = this.tick(now)
      }
      this.idleFrom = 0
      this.tiers.move(forgiven.row, graceMs > 0 || keepCounters ? HOT : COLD)
    }
    return {
      client: id,
      wasBlocked: block !== undefined,
      ...(block && { block }),
      violations,
      counters: [...new Set(counters)],
    }
  }

  blocks(limit: number, after?: BlockPlace): BlockList {
    const all = [...this.blocked(this.clock())]
    const total = all.length
    const rest = after ? all.filter(block => inTurn(block, after) > 0) : all
    if (rest.length <= limit) return { blocks: rest.sort(inTurn), total }
    // Numbers sort many times as fast as blocks: only those that end in time are put in order.
    const until = Float64Array.from(rest, block => block.until).sort()[limit - 1] as number
    const soon = rest.filter(block => block.until <= until).sort(inTurn)
    return { blocks: soon.slice(0, limit), total, next: soon[limit - 1] as Block }
  }

  countBlocks(): number {
    let count = 0
    for (const _ of this.blocked(this.clock())) count++
    return count
  }

  /** What is remembered, under the names that Redis would use. */
  *entries(): Generator<{ key: string; words: string; value: unknown }> {
    const now = this.clock()
    for (const client of this.all()) {
      const block = blockOf(client, now)
      if (block) yield { key: `block:{${client.id}}`, words: `block of ${client.id}: ${block.reason}`, value: block }
      for (const { limit, state } of client.all()) {
        const [algorithm, policy, window] = limit.counter.split(':')
        const key = `${algorithm}:{${client.id}}:${policy}:${window}`
        const value = algorithm === 'sliding_window' ? wordsOf(state as Log) : state
        yield { key, words: `${algorithm} of ${client.id} under ${policy} (${window})`, value }
      }
    }
  }

  /** Forgets one of `entries`; whether there was one. */
  deleteEntry(key: string): boolean {
    const [, kind = '', id = '', rest = ''] = /^([a-z_]+):\{(.*)\}(.*)$/.exec(key) ?? []
    const client = this.clientOf(id)
    if (!client) return false
    this.idleFrom = 0
    if (kind !== 'block') return client.delete(`${kind}${rest}`)
    const was = blockOf(client, this.clock()) !== undefined
    this.lift(client)
    return was
  }

  close(): void {
    clearInterval(this.sweeper)
  }

  private *blocked(now: number): Generator<Block> {
    for (const tier of [BLOCKED, BANNED] as const) {
      for (const row of this.tiers.of(tier)) {
        const block = blockOf(new Client(this.clients, row), now)
        if (block) yield block
      }
    }
  }

  /** Several limits, or several units: all of them or none. */
  private checkAll(check: Check, client: Client, now: number): Verdict {
    const limits = takeAll(check.policy, client, now, check.cost)
    if (!limits) return this.refuse(check, client, now)
    this.touch(client, limits.some(isHalfUsed), now)
    return { outcome: 'allowed', now, limits, taken: true }
  }

  /** A check that does not fit. What only this needs stands apart: V8 puts into the way of all only what is small. */
  private refuse(check: Check, client: Client, now: number): Verdict {
    const { policy, cost, route, penalise } = check
    const limits = measure(policy, client, now, cost)
    this.touch(client, true, now)
    if (policy.shadow) return { outcome: 'limited', now, limits }
    const refused = policy.limits.find((_, i) => limits[i]?.retryAfterMs !== 0) as Limit
    const at = Math.floor(now / 1000)
    this.remember(client, { at, policy: policy.id, route: copyOf(route), limit: describeLimit(refused) })
    if (!policy.penalty || !penalise || cost > policy.maxCost || (client.misdeeds?.graceUntil ?? NEVER) > now)
      return { outcome: 'limited', now, limits }
    return { outcome: 'limited', now, limits, ...this.violate(client, policy, policy.penalty, now) }
  }

  private violate(client: Client, policy: CompiledPolicy, penalty: Penalty, now: number) {
    const misdeeds = client.ensureMisdeeds()
    const windowUs = penalty.windowMs * 1000
    const times = within({ windowUs, times: misdeeds.violations.get(penalty.scope)?.times ?? [] }, now)
    times.push(now)
    misdeeds.violations.set(penalty.scope, { windowUs, times })
    keep(misdeeds, now + windowUs)
    const violations = times.length
    if (violations < penalty.threshold) return { violations }

    misdeeds.violations.delete(penalty.scope)
    const offence = offencesOf(misdeeds, now) + 1
    const durationMs = penalty.blockMs[Math.min(offence, penalty.blockMs.length) - 1] as number
    const reason = `${violations} violations within ${formatDuration(penalty.windowMs)}`
    const block = this.setBlock(client, now, durationMs, { reason, by: 'auto', offence, policy: policy.id })
    misdeeds.offences = offence
    misdeeds.offencesUntil = now + (durationMs + penalty.memoryMs) * 1000
    keep(misdeeds, misdeeds.offencesUntil)
    return { violations, block }
  }

  private setBlock(
    client: Client,
    now: number,
    durationMs: number,
    why: Pick<Block, 'reason' | 'by' | 'offence' | 'policy'>,
  ): Block {
    const since = Math.floor(now / 1000)
    client.block = { client: client.id, ...why, since, until: since + durationMs }
    this.idleFrom = Math.min(this.idleFrom, this.idleFromOf(client))
    this.tiers.move(client.row, tierOf(client.block))
    return client.block
  }

  /** Takes a block away that has ended, or is to: the client is no longer among the blocked. */
  private lift(client: Client): void {
    client.block = undefined
    if (client.tier >= BLOCKED) this.tiers.move(client.row, HOT)
  }

  /** Whole ticks since the start: small integers need no memory of their own. */
  private tick(us: number): number {
    return ((us - this.startedAt) * (1 / TICK_US)) | 0
  }

  private remember(client: Client, refusal: Refusal): void {
    const { refusals } = client.ensureMisdeeds()
    refusals.push(refusal)
    if (refusals.length > KEPT_REFUSALS) refusals.shift()
  }

  /** A client that was asked for just now: near a limit, or not. */
  private touch(client: Client, near: boolean, now: number): void {
    const placed = this.placing(near, now)
    if (client.placed !== placed) this.place(client, placed, now)
  }

  /** What places a client: when it was asked for, and whether it is near a limit. */
  private placing(near: boolean, now: number): number {
    return (this.tick(now) << 1) | Number(near)
  }

  /** Moves a client up at once, and to the end of its tier's order; it comes down in another tick, or when it is found idle or unblocked. */
  private place(client: Client, placed: number, now: number): void {
    const { misdeeds } = client
    const block = blockOf(client, now)
    const counts = misdeeds !== undefined && (misdeeds.violations.size > 0 || misdeeds.graceUntil !== NEVER)
    const tier = placed & 1 || client.placed === (placed | 1) ? HOT : COLD
    const held = block ? tierOf(block) : counts ? HOT : tier
    client.placed = placed
    client.idleAt = this.tick(now) + client.kept
    this.idleFrom = Math.min(this.idleFrom, client.idleAt)
    this.tiers.move(client.row, held)
  }

  private clientOf(id: string): Client | undefined {
    const row = this.clients.rows.get(id)
    return row === undefined ? undefined : new Client(this.clients, row)
  }

  private *all(): Generator<Client> {
    for (const row of this.clients.rows.values()) yield new Client(this.clients, row)
  }

  private admitted(id: string, now: number): Client {
    return new Client(this.clients, this.admit(id, now))
  }

  /** Who is new; the client's row. */
  private admit(id: string, now: number): number {
    if (this.clients.size >= this.maxClients) this.evict(now)
    const row = this.clients.add(id)
    this.checked.follow()
    this.passing.follow()
    const client = this.checked.goTo(row)
    client.placed = UNPLACED
    client.block = undefined
    client.idleAt = this.tick(now)
    this.tiers.add(row, COLD)
    return row
  }

  private forget(client: Client): void {
    client.clear()
    this.tiers.remove(client.row)
    this.clients.remove(client.row)
  }

  /** Makes room for a light client. */
  private evict(now: number): void {
    const { tiers } = this
    const light = tiers.oldest(COLD)
    const near = tiers.oldest(HOT)
    const blocked = tiers.oldest(BLOCKED)
    const banned = tiers.oldest(BANNED)
    if (this.forgetIfIdle(light, now) || this.forgetIfIdle(near, now)) return
    if (this.forgetIfIdle(blocked, now) || this.forgetIfIdle(banned, now)) return
    // Who was used first need not be idle first: windows differ.
    if (this.idleFrom <= this.tick(now) && this.forgetIdle(now)) return
    const beyondTheirs = tiers.sizes[COLD] >= this.lightPlaces ? light : undefined
    const row = beyondTheirs ?? near ?? blocked ?? light ?? banned
    if (row === undefined) return
    const victim = this.passing.goTo(row)
    victim.trim(now)
    if (this.isHeld(victim, now) || victim.kept > 0) this.forgotten++
    this.forget(victim)
  }

  private forgetIfIdle(row: number | undefined, now: number): boolean {
    if (row === undefined || !this.isIdle(this.passing.goTo(row), now)) return false
    this.forget(this.passing)
    return true
  }

  private isIdle(client: Client, now: number): boolean {
    return client.idleAt <= this.tick(now) && !this.isHeld(client, now)
  }

  /** By a block, or by what is remembered of violations. */
  private isHeld(client: Client, now: number): boolean {
    return blockOf(client, now) !== undefined || (client.misdeeds?.keptUntil ?? NEVER) > now
  }

  /** The tick from which on a client is idle if nothing happens, or one before that. */
  private idleFromOf({ idleAt, block, misdeeds }: Client): number {
    return Math.max(idleAt, block ? this.tick(block.until * 1000) : 0, misdeeds ? this.tick(misdeeds.keptUntil) : 0)
  }

  /** Forgets all who are idle; whether there were any. */
  private forgetIdle(now: number): boolean {
    const before = this.clients.size
    let next = Number.MAX_SAFE_INTEGER
    for (const row of this.clients.rows.values()) {
      const client = this.passing.goTo(row)
      if (this.isIdle(client, now)) this.forget(client)
      else next = Math.min(next, this.idleFromOf(client))
    }
    // Looking at all takes milliseconds: not twice in a tick.
    this.idleFrom = Math.max(next, this.tick(now) + 1)
    return this.clients.size < before
  }

  /** Lets go of what has expired: at once of who is idle, of the rest of it in one that is remembered for longer. */
  private sweep(): void {
    const now = this.clock()
    for (let seen = 0; seen < SWEPT; seen++) {
      this.round ??= this.clients.rows.values()
      const { done, value: row } = this.round.next()
      if (done) {
        this.round = undefined
        return
      }
      const client = this.passing.goTo(row)
      const { misdeeds } = client
      misdeeds?.trim(now)
      // Refusals count nothing, but whoever was refused is asked about.
      if (this.isIdle(client, now) && !misdeeds?.refusals.length) {
        this.forget(client)
        continue
      }
      client.trim(now)
      if (client.tier >= BLOCKED && client.blockedUntil <= now) this.lift(client)
    }
  }
}
