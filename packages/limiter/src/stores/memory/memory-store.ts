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
import { Counters } from './counters.ts'
import { decide, fits, measure } from './decide.ts'
import { BANNED, BLOCKED, COLD, HOT, type Linked, type Tier, Tiers } from './tiers.ts'

/** A tick: about a second, and a power of two, so that it takes a multiplication to find and not a division. */
const TICK_US = 2 ** 20
/** A time before every other, whatever a clock says. */
const NEVER = Number.NEGATIVE_INFINITY
const KEPT_REFUSALS = 10
/** An old refusal explains nothing any more. */
const REFUSAL_MS = 3_600_000
/** So many clients a second are looked at for what has expired: all of a full default store in twenty seconds. */
const SWEPT = 5000

interface Violations {
  readonly windowUs: number
  /** Epoch µs, oldest first; some may have left the window. */
  readonly times: readonly number[]
}

const within = ({ windowUs, times }: Violations, now: number) => times.filter(time => time > now - windowUs)

/** What only few clients have: those that were refused, or forgiven. */
class Misdeeds {
  /** By Penalty.scope. */
  readonly violations = new Map<string, Violations>()
  refusals: Refusal[] = []
  offences = 0
  /** µs; offences count until then. */
  offencesUntil = NEVER
  /** µs */
  graceUntil = NEVER
  /** µs; nothing of it counts any more then. */
  keptUntil = NEVER

  /** Lets go of what has expired. */
  trim(now: number): void {
    for (const [scope, kept] of this.violations) if (within(kept, now).length === 0) this.violations.delete(scope)
    const oldest = now / 1000 - REFUSAL_MS
    if (this.refusals[0] && this.refusals[0].at < oldest) this.refusals = this.refusals.filter(({ at }) => at >= oldest)
  }
}

/**
 * What every check looks at stands together and its times are small integers: each further object, each further line of
 * memory is a cache miss a check.
 */
class Client extends Counters implements Linked {
  block: Block | undefined
  /** None of its counters counts any more from this tick on. */
  idleAt = 0
  /** The tick in which it took its place in its tier's order: relinking at every check would cost as much as deciding. */
  placedAt = 0
  tier: Tier = COLD
  readonly id: string
  misdeeds: Misdeeds | undefined
  older: Linked = this
  newer: Linked = this

  constructor(id: string) {
    super()
    this.id = id
  }
}

const isHalfUsed = ({ remaining, limit }: LimitVerdict) => remaining * 2 <= limit

/** Half of a limit used: forgetting it would give away something. */
const isNear = (limits: readonly LimitVerdict[]): boolean =>
  limits.length === 1 ? isHalfUsed(limits[0] as LimitVerdict) : limits.some(isHalfUsed)

const tierOf = ({ by }: Block): Tier => (by === 'auto' ? BLOCKED : BANNED)

/** Something of them counts until then, µs. */
function keep(misdeeds: Misdeeds, until: number): void {
  misdeeds.keptUntil = Math.max(misdeeds.keptUntil, until)
}

function misdeedsOf(client: Client): Misdeeds {
  client.misdeeds ??= new Misdeeds()
  return client.misdeeds
}

const offencesOf = (misdeeds: Misdeeds | undefined, now: number) =>
  misdeeds && misdeeds.offencesUntil > now ? misdeeds.offences : 0

/** Soonest to end first; those of one millisecond by their names, as Redis orders its set. */
const inTurn = (a: BlockPlace, b: BlockPlace) =>
  a.until - b.until || (a.client < b.client ? -1 : Number(a.client > b.client))

const wordsOf = (log: Log) => ({ units: log.size, oldest: log.size > 0 ? log.at(0) : null })

/** A string of its own: a part of a request's line would keep the whole line, 16 kB of it, in memory. */
const copyOf = (text: string) => Buffer.from(text).toString()

/** Microseconds since the epoch that never run backwards, whatever is done to the machine's clock. */
export const monotonicMicros = (): number => Math.floor((timeOrigin + stopwatch.now()) * 1000)

// The global is a getter of Node's and timeOrigin one of its own: read once, they are a tenth of a check less.
const stopwatch = performance
const { timeOrigin } = stopwatch

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
  private readonly clients = new Map<string, Client>()
  private readonly tiers = new Tiers<Client>()
  readonly maxClients: number
  private readonly clock: () => number
  private readonly startedAt: number
  private readonly sweeper: NodeJS.Timeout
  private readonly lightPlaces: number
  /** Goes round all clients, a part each second. */
  private round: Iterator<Client> | undefined
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
    const client = this.clients.get(id) ?? this.admit(id, now)
    if (client.block !== undefined && !policy.shadow) {
      const block = this.blockOf(client, now)
      if (block) return { outcome: 'blocked', now, limits: measure(policy, client, now, cost), block }
    }
    const limits = decide(policy, client, now, cost)
    const idleAt = this.tick(now + policy.forgetAfterUs) + 1
    if (client.idleAt < idleAt) this.countsUntil(client, idleAt)
    if (!fits(limits)) return this.refuse(check, client, limits, now)
    this.touch(client, isNear(limits) ? HOT : COLD, this.tick(now))
    return { outcome: 'allowed', now, limits, taken: true }
  }

  peek({ client: id, policy, cost }: Check): Verdict {
    const now = this.clock()
    const client = this.clients.get(id)
    const block = client && !policy.shadow ? this.blockOf(client, now) : undefined
    const limits = measure(policy, client ?? new Counters(), now, cost)
    const outcome = block ? 'blocked' : fits(limits) ? 'allowed' : 'limited'
    return { outcome, now, limits, ...(block && { block }) }
  }

  refund({ client: id, policy, cost, takenAt }: Receipt): number {
    if (cost === 0) return 0
    const now = this.clock()
    const client = this.clients.get(id)
    let back = 0
    for (const limit of policy.limits) {
      const state = client?.get(limit)
      if (state !== undefined) back = Math.max(back, policy.algorithm.refund(state, limit, now, cost, takenAt))
    }
    return back
  }

  client(id: string): ClientRecord {
    const now = this.clock()
    const client = this.clients.get(id)
    const block = client && this.blockOf(client, now)
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
    const client = this.clients.get(id) ?? this.admit(id, now)
    return this.setBlock(client, now, durationMs, { reason, by, offence: offencesOf(client.misdeeds, now) })
  }

  forgetRefusals(id: string): void {
    const misdeeds = this.clients.get(id)?.misdeeds
    if (misdeeds) misdeeds.refusals = []
  }

  unblock(id: string, { keepCounters = false, grace }: UnblockOptions): UnblockResult {
    const now = this.clock()
    const client = this.clients.get(id)
    const block = client && this.blockOf(client, now)
    const violations = [...(client?.misdeeds?.violations.values() ?? [])].flatMap(kept => within(kept, now)).length
    const counters = keepCounters
      ? []
      : [...(client?.all() ?? [])].map(({ limit }) => limit.counter.split(':')[1] as string)
    const graceMs = grace === undefined ? 0 : (parseDuration(grace) as number)
    if (client || graceMs > 0) {
      const forgiven = client ?? this.admit(id, now)
      forgiven.block = undefined
      const { misdeeds } = forgiven
      if (misdeeds) {
        misdeeds.violations.clear()
        misdeeds.offences = 0
        misdeeds.graceUntil = NEVER
      }
      if (graceMs > 0) {
        const misdeeds = misdeedsOf(forgiven)
        misdeeds.graceUntil = now + graceMs * 1000
        keep(misdeeds, misdeeds.graceUntil)
      }
      if (!keepCounters) {
        forgiven.clear()
        forgiven.idleAt = 0
      }
      this.idleFrom = 0
      this.tiers.place(forgiven, graceMs > 0 || keepCounters ? HOT : COLD)
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
    for (const client of this.clients.values()) {
      const block = this.blockOf(client, now)
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
    const client = this.clients.get(id)
    if (!client) return false
    this.idleFrom = 0
    if (kind !== 'block') return client.delete(`${kind}${rest}`)
    const was = client.block !== undefined
    client.block = undefined
    return was
  }

  close(): void {
    clearInterval(this.sweeper)
  }

  private *blocked(now: number): Generator<Block> {
    for (const tier of [BLOCKED, BANNED] as const) {
      for (const client of this.tiers.of(tier)) {
        const block = this.blockOf(client, now)
        if (block) yield block
      }
    }
  }

  private blockOf(client: Client, now: number): Block | undefined {
    if (client.block && client.block.until * 1000 <= now) client.block = undefined
    return client.block
  }

  /** A check that does not fit. What only this needs stands apart: V8 puts into the way of all only what is small. */
  private refuse(check: Check, client: Client, limits: LimitVerdict[], now: number): Verdict {
    const { policy, cost, route, penalise } = check
    this.touch(client, HOT, this.tick(now))
    if (policy.shadow) return { outcome: 'limited', now, limits }
    const refused = policy.limits.find((_, i) => limits[i]?.retryAfterMs !== 0) as Limit
    const at = Math.floor(now / 1000)
    this.remember(client, { at, policy: policy.id, route: copyOf(route), limit: describeLimit(refused) })
    if (!policy.penalty || !penalise || cost > policy.maxCost || (client.misdeeds?.graceUntil ?? NEVER) > now)
      return { outcome: 'limited', now, limits }
    return { outcome: 'limited', now, limits, ...this.violate(client, policy, policy.penalty, now) }
  }

  private violate(client: Client, policy: CompiledPolicy, penalty: Penalty, now: number) {
    const misdeeds = misdeedsOf(client)
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
    this.tiers.place(client, tierOf(client.block))
    return client.block
  }

  /** Whole ticks since the start: small integers need no memory of their own. */
  private tick(us: number): number {
    return ((us - this.startedAt) * (1 / TICK_US)) | 0
  }

  private remember(client: Client, refusal: Refusal): void {
    const { refusals } = misdeedsOf(client)
    refusals.push(refusal)
    if (refusals.length > KEPT_REFUSALS) refusals.shift()
  }

  /** Some counter of its counts until this tick. */
  private countsUntil(client: Client, idleAt: number): void {
    client.idleAt = idleAt
    if (idleAt < this.idleFrom) this.idleFrom = idleAt
  }

  /** Moves a client up at once, and to the end of its tier's order; it comes down when it is found idle or unblocked. */
  private touch(client: Client, tier: Tier, tick: number): void {
    if (tier > client.tier || client.placedAt !== tick) this.place(client, tier, tick)
  }

  private place(client: Client, tier: Tier, tick: number): void {
    const { misdeeds } = client
    const counts = misdeeds !== undefined && (misdeeds.violations.size > 0 || misdeeds.graceUntil !== NEVER)
    const held = client.block ? tierOf(client.block) : counts ? HOT : tier
    client.placedAt = tick
    this.tiers.place(client, held)
  }

  private admit(id: string, now: number): Client {
    if (this.clients.size >= this.maxClients) this.evict(now)
    const client = new Client(id)
    this.clients.set(id, client)
    client.placedAt = this.tick(now)
    this.tiers.place(client, COLD)
    return client
  }

  private forget(client: Client): void {
    this.clients.delete(client.id)
    this.tiers.remove(client)
    client.clear()
  }

  /** Makes room for a light client. */
  private evict(now: number): void {
    const { tiers } = this
    const [light, near, blocked, banned] = [
      tiers.first(COLD),
      tiers.first(HOT),
      tiers.first(BLOCKED),
      tiers.first(BANNED),
    ]
    const idle = [light, near, blocked, banned].find(client => client && this.isIdle(client, now))
    if (idle) return this.forget(idle)
    // Who was used first need not be idle first: windows differ.
    if (this.idleFrom <= this.tick(now) && this.forgetIdle(now)) return
    const beyondTheirs = tiers.sizes[COLD] >= this.lightPlaces ? light : undefined
    const victim = beyondTheirs ?? near ?? blocked ?? light ?? banned
    if (!victim) return
    this.forgotten++
    this.forget(victim)
  }

  private isIdle(client: Client, now: number): boolean {
    return (
      client.idleAt <= this.tick(now) &&
      this.blockOf(client, now) === undefined &&
      (client.misdeeds === undefined || client.misdeeds.keptUntil <= now)
    )
  }

  /** The tick from which on a client is idle if nothing happens, or one before that. */
  private idleFromOf({ idleAt, block, misdeeds }: Client): number {
    return Math.max(idleAt, block ? this.tick(block.until * 1000) : 0, misdeeds ? this.tick(misdeeds.keptUntil) : 0)
  }

  /** Forgets all who are idle; whether there were any. */
  private forgetIdle(now: number): boolean {
    const before = this.clients.size
    let next = Number.MAX_SAFE_INTEGER
    for (const client of this.clients.values()) {
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
    const tick = this.tick(now)
    for (let seen = 0; seen < SWEPT; seen++) {
      this.round ??= this.clients.values()
      const { done, value: client } = this.round.next()
      if (done) {
        this.round = undefined
        return
      }
      if (this.isIdle(client, now)) {
        this.forget(client)
        continue
      }
      if (client.idleAt <= tick) client.clear()
      else client.trim(now)
      client.misdeeds?.trim(now)
      if (client.tier >= BLOCKED && client.block === undefined) this.tiers.place(client, HOT)
    }
  }
}
