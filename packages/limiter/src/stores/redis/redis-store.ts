import {
  type Block,
  blockSchema,
  parseDuration,
  policySchema,
  type UnblockOptions,
  type UnblockResult,
} from '../../contracts/index.ts'
import { type CompiledPolicy, compilePolicy, describeLimit } from '../../policies/table.ts'
import type {
  Answer,
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
import { Aftermath, type Gathered } from './aftermath.ts'
import { Batcher, type Clock, type Listener } from './batcher.ts'
import { type Connection, OPERATOR_MS } from './connection.ts'
import { refundArgs } from './encode.ts'
import { evaluate, unavailable, withTimeout } from './evaluate.ts'
import type { Keys } from './keys.ts'
import { KnownBlocks } from './known-blocks.ts'
import type { RedisNode } from './node.ts'
import { composeScript, loadScript, onShiftedClock, type Script } from './scripts.ts'

const blockScript = loadScript('block')
const unblockScript = loadScript('unblock')

/** A client's refusals are shown for a day. */
const REFUSALS_TTL_MS = 86_400_000

const PROBE = compilePolicy(policySchema.parse({ id: 'probe', limits: [{ limit: 1000, window: '1s' }] }), undefined, {
  algorithm: 'sliding_window',
  failMode: 'open',
})

/** The store shared by all instances: every check in one atomic round trip, in Redis' time. */
export class RedisStore implements Store, Listener {
  readonly kind: string
  readonly known: KnownBlocks
  private readonly connection: Connection
  private readonly keys: Keys
  private readonly deadlineMs: number
  private readonly clock: Clock
  private readonly batchers = new WeakMap<RedisNode, Batcher>()
  /** Who peeks is an operator, whom the deadline of a request would keep from the truth when Redis is slow. */
  private readonly peekers = new WeakMap<RedisNode, Batcher>()
  private readonly aftermath = new Aftermath(gathered => this.write(gathered))

  /** `clock`: the tests' way to turn the store's time. */
  constructor(connection: Connection, keys: Keys, deadlineMs: number, clock: Clock = { shiftUs: 0 }) {
    this.clock = clock
    this.known = new KnownBlocks(() => performance.now() + clock.shiftUs / 1000)
    this.connection = connection
    this.keys = keys
    this.deadlineMs = deadlineMs
    this.kind = connection.isCluster ? 'redis-cluster' : 'redis'
  }

  now(): number {
    return Math.floor((this.connection.nowUs() + this.clock.shiftUs) / 1000)
  }

  health(): StoreHealth {
    return this.connection.health
  }

  check(check: Check): Answer<Verdict> {
    const { client, policy } = check
    const node = this.askable(client)
    if (policy.shadow) return node ? this.batcher(node).add(check) : Promise.reject(this.down(client))
    const known = this.blocked(check, node !== undefined)
    if (known) return known
    if (!node) throw this.down(client)
    return this.batcher(node).add(check)
  }

  peek(check: Check): Promise<Verdict> {
    const node = this.askable(check.client)
    if (!node) return Promise.reject(this.down(check.client))
    return this.peeker(node).add({ ...check, peek: true } as Check)
  }

  async refund(receipt: Receipt): Promise<number> {
    const node = this.askable(receipt.client)
    if (!node) return 0
    const fence = node.toRedisUs(performance.now() + this.deadlineMs) + this.clock.shiftUs
    const { keys, args } = refundArgs(receipt, this.keys, fence)
    const refund = this.timed(composeScript('refund', [receipt.policy.algorithm.id]))
    const reply = await this.within(evaluate(node.redis, refund, keys, args, this.redirect))
    return reply[0] === -1 ? 0 : (reply[1] as number)
  }

  async client(client: string, policies: readonly CompiledPolicy[]): Promise<ClientRecord> {
    const scopes = scopesOf(policies)
    const { commands } = this.connection
    await this.flush()
    const [block, known, refusals, ...logs] = await this.within(
      Promise.all([
        commands.get(this.keys.block(client)),
        commands.hmget(this.keys.client(client), 'offences', 'offences_until', 'grace_until'),
        commands.lrange(this.keys.refusals(client), 0, 9),
        ...scopes.map(({ scope }) => commands.lrange(this.keys.violations(client, scope), 0, -1)),
      ]),
    )
    const nowMs = this.now()
    const [offences, offencesUntil, grace] = known
    const violations = scopes.map(({ scope, windowMs }, i): [string, number[]] => [
      scope,
      (logs[i] ?? []).map(us => Math.floor(Number(us) / 1000)).filter(ms => ms > nowMs - windowMs),
    ])
    return {
      client,
      ...(block !== null && { block: parseBlock(block) }),
      violations: Object.fromEntries(violations.filter(([, times]) => times.length > 0)),
      refusals: refusals.map(text => JSON.parse(text) as Refusal),
      offences: Number(offencesUntil ?? 0) / 1000 > nowMs ? Number(offences) : 0,
      ...(Number(grace ?? 0) / 1000 > nowMs && { graceUntil: Math.floor(Number(grace) / 1000) }),
    }
  }

  async block({ client, reason, by, durationMs }: NewBlock): Promise<Block> {
    const keys = [this.keys.block(client), this.keys.client(client)]
    const reply = await this.connection.run(this.timed(blockScript), keys, [client, reason, by, durationMs])
    const block = parseBlock(String(reply))
    await this.within(this.connection.commands.zadd(this.keys.blocks, block.until, client))
    this.known.forget(client)
    return block
  }

  async unblock(
    client: string,
    { keepCounters = false, grace }: UnblockOptions,
    policies: readonly CompiledPolicy[],
  ): Promise<UnblockResult> {
    const scopes = scopesOf(policies).map(({ scope }) => this.keys.violations(client, scope))
    const counters = keepCounters
      ? []
      : policies.flatMap(({ id, limits }) => limits.map(({ counter }) => ({ id, counter })))
    const keys = [
      this.keys.block(client),
      this.keys.client(client),
      ...scopes,
      ...counters.map(({ counter }) => this.keys.counter(client, counter)),
    ]
    const graceMs = grace === undefined ? 0 : (parseDuration(grace) as number)
    const unblock = this.timed(unblockScript)
    const [lifted, violations, ...cleared] = await this.connection.run(unblock, keys, [graceMs, scopes.length])
    await this.within(this.connection.commands.zrem(this.keys.blocks, client))
    this.known.forget(client)
    const block = typeof lifted === 'string' ? parseBlock(lifted) : undefined
    return {
      client,
      wasBlocked: block !== undefined,
      ...(block && { block }),
      violations: Number(violations),
      counters: [...new Set(counters.filter((_, i) => Number(cleared[i]) > 0).map(({ id }) => id))],
    }
  }

  /** Writes down none of the refusals that were not yet. */
  dropRefusals(client: string): void {
    this.aftermath.drop(client)
  }

  async blocks(limit: number, after?: BlockPlace): Promise<BlockList> {
    const { commands } = this.connection
    const index = this.keys.blocks
    for (let from = after; ; ) {
      const [total, listed] = await this.within(Promise.all([this.countBlocks(), this.places(limit + 1, from)]))
      const places = listed.slice(0, limit)
      const texts = await this.textsOf(places.map(({ client }) => this.keys.block(client)))
      // The index is a hint: what it names and is not blocked any more leaves it.
      const stale = places.filter((_, i) => texts[i] === null).map(({ client }) => client)
      if (stale.length > 0) await this.within(commands.zrem(index, ...stale)).catch(() => {})
      const blocks = texts.filter(text => text !== null).map(parseBlock)
      const next = listed.length > limit ? places.at(-1) : undefined
      if (blocks.length > 0 || !next) {
        return { blocks, total: after || next ? total - stale.length : blocks.length, ...(next && { next }) }
      }
      from = next
    }
  }

  /** By the index, cheaply: for who asks every second. */
  async countBlocks(): Promise<number> {
    const { commands } = this.connection
    const index = this.keys.blocks
    // The heartbeats take out what has ended; where no server runs, nobody does.
    const [all, ended] = await this.connection.read(
      index,
      Promise.all([commands.zcard(index), commands.zrangebyscore(index, '-inf', `(${this.now()}`)]),
    )
    return all - ended.length
  }

  /** The first entries of the index of blocks that come after one, by end and then by name as Redis orders them. */
  private async places(limit: number, after: BlockPlace | undefined): Promise<BlockPlace[]> {
    const { commands } = this.connection
    const index = this.keys.blocks
    const from = Math.max(this.now(), after?.until ?? 0)
    // Those that end in the same millisecond as the last one told come again.
    const same = after?.until === from ? await commands.zrangebyscore(index, from, from) : []
    const told = after ? same.filter(client => client <= after.client).length : 0
    const found = await commands.zrangebyscore(index, from, '+inf', 'WITHSCORES', 'LIMIT', told, limit)
    return Array.from({ length: found.length / 2 }, (_, i) => ({
      client: found[i * 2] as string,
      until: Number(found[i * 2 + 1]),
    }))
  }

  /** In slices, so that nobody waits long behind this. */
  private async textsOf(keys: readonly string[]): Promise<(string | null)[]> {
    const { commands, isCluster } = this.connection
    const texts: (string | null)[] = []
    for (let i = 0; i < keys.length; i += 500) {
      const some = keys.slice(i, i + 500)
      texts.push(
        ...(await this.within(isCluster ? Promise.all(some.map(key => commands.get(key))) : commands.mget(some))),
      )
    }
    return texts
  }

  /** Writes down now what is written after the answers. */
  flush(): Promise<void> {
    return this.aftermath.flush()
  }

  close(): Promise<void> {
    return this.flush()
  }

  /** Asks a node that failed about a client of our own, so that it is called ok again though nobody else comes to it. */
  prove(): void {
    for (const node of this.connection.nodes) {
      if (node.state !== 'failing') continue
      for (let i = 0; i < 1000; i++) {
        const client = `probe-${i}`
        if (this.connection.nodeOf(client) !== node) continue
        this.batcher(node)
          .add({ client, policy: PROBE, cost: 1, route: '', penalise: false })
          .catch(() => {})
        break
      }
    }
  }

  private blocked({ client, policy }: Check, canAsk: boolean): Verdict | undefined {
    const known = this.known.find(client, policy, canAsk)
    return known && { outcome: 'blocked', now: this.now() * 1000, ...known }
  }

  private timed(script: Script): Script {
    return this.clock.shiftUs === 0 ? script : onShiftedClock(script, this.clock.shiftUs)
  }

  private get redirect() {
    return this.connection.isCluster ? this.connection.commands : undefined
  }

  private askable(client: string): RedisNode | undefined {
    const node = this.connection.nodeOf(client)
    return node?.askable ? node : undefined
  }

  private down(client: string) {
    return unavailable(`Redis is not asked: ${this.connection.nodeOf(client)?.detail ?? 'no node serves this client'}`)
  }

  private batcher(node: RedisNode): Batcher {
    let batcher = this.batchers.get(node)
    if (!batcher) {
      batcher = new Batcher(node, this.keys, this.deadlineMs, this.redirect, this.clock, this)
      this.batchers.set(node, batcher)
    }
    return batcher
  }

  private peeker(node: RedisNode): Batcher {
    let peeker = this.peekers.get(node)
    if (!peeker) {
      peeker = new Batcher(node, this.keys, OPERATOR_MS, this.redirect, this.clock)
      this.peekers.set(node, peeker)
    }
    return peeker
  }

  get generation(): number {
    return this.known.generation
  }

  /** What an answer teaches this process, and what of it is written down for people. */
  heard({ client, policy, route }: Check, { block, outcome, limits, now }: Verdict, generation: number): void {
    if (policy.shadow) return
    const at = Math.floor(now / 1000)
    if (block) {
      if (this.known.learn(client, policy, { block, limits, at }, generation)) this.aftermath.blocked(block)
    } else this.known.unlearn(client)
    if (outcome === 'limited') {
      const refused = policy.limits[limits.findIndex(({ retryAfterMs }) => retryAfterMs !== 0)]
      this.aftermath.refused(client, { at, policy: policy.id, route, limit: refused ? describeLimit(refused) : '' })
    }
  }

  /** It asked whether the block that this process knows of still stands, and nobody said that it does not. */
  withoutAnswer(check: Check): Verdict | undefined {
    return check.policy.shadow ? undefined : this.blocked(check, false)
  }

  private async write({ refusals, blocks }: Gathered): Promise<void> {
    const { commands } = this.connection
    const writes: Promise<unknown>[] = []
    if (blocks.length > 0)
      writes.push(commands.zadd(this.keys.blocks, ...blocks.flatMap(({ until, client }) => [until, client])))
    for (const [client, list] of refusals) {
      const key = this.keys.refusals(client)
      const texts = list.map(refusal => JSON.stringify(refusal))
      writes.push(
        commands
          .multi()
          .lpush(key, ...texts)
          .ltrim(key, 0, 9)
          .pexpire(key, REFUSALS_TTL_MS)
          .exec(),
      )
    }
    await Promise.all(writes)
  }

  private within<T>(answer: Promise<T>): Promise<T> {
    return withTimeout(answer, OPERATOR_MS)
  }
}

const parseBlock = (text: string): Block => blockSchema.parse(JSON.parse(text))

/** The violation logs that the policies in force keep, the shared one first. */
function scopesOf(policies: readonly CompiledPolicy[]): { scope: string; windowMs: number }[] {
  const windows = new Map<string, number>([['', 7 * 86_400_000]])
  for (const { penalty } of policies) if (penalty) windows.set(penalty.scope, penalty.windowMs)
  return [...windows].map(([scope, windowMs]) => ({ scope, windowMs }))
}
