import keySlot from 'cluster-key-slot'
import { Cluster, Redis } from 'ioredis'
import { evaluate, FENCE, isReply, unavailable, withTimeout } from './evaluate.ts'
import { type NodeState, RedisNode } from './node.ts'
import { quickenStrings } from './quick-strings.ts'
import { fenced, type Script } from './scripts.ts'
import { type RedisSettings, splitEndpoint } from './settings.ts'

quickenStrings()

export const NOT_YET = 'not connected yet'

/** What every connection has: nothing is queued while it is down, nothing is sent twice. */
function commonOptions({ username, password, db, tls }: RedisSettings) {
  return {
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password }),
    ...(tls !== undefined && tls !== false && { tls: tls === true ? {} : tls }),
    db,
    connectTimeout: 2000,
    // What is under way when the connection ends fails at once.
    maxRetriesPerRequest: 0,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    // We subscribe ourselves: where Redis refuses, ioredis would not catch it, and the process would end.
    autoResubscribe: false,
    retryStrategy: (times: number) => Math.min(50 * 2 ** Math.min(times, 4), 500),
    connectionName: 'api-bouncer',
    disableClientInfo: true,
  }
}

function connect(settings: RedisSettings, role: 'commands' | 'events', lazyConnect = false): Redis | Cluster {
  const options = commonOptions(settings)
  const events = role === 'events'
  if (settings.cluster) {
    // A Cluster decides itself when to connect to a node again.
    const { retryStrategy: _, enableOfflineQueue: __, ...nodeOptions } = options
    return new Cluster(
      settings.cluster.map(node => splitEndpoint(node, 6379)),
      {
        redisOptions: nodeOptions,
        enableOfflineQueue: events,
        lazyConnect,
        slotsRefreshTimeout: 1000,
        slotsRefreshInterval: 1000,
        // Sending again what may have been done counts twice.
        retryDelayOnFailover: 0,
        clusterRetryStrategy: times => Math.min(100 * times, 500),
      },
    )
  }
  const client = { ...options, enableOfflineQueue: events, lazyConnect }
  if (settings.sentinels) {
    return new Redis({
      ...client,
      sentinels: settings.sentinels.map(node => splitEndpoint(node, 26_379)),
      name: settings.sentinelName as string,
      ...(settings.sentinelPassword !== undefined && { sentinelPassword: settings.sentinelPassword }),
      sentinelRetryStrategy: () => 250,
      sentinelCommandTimeout: 1000,
      failoverDetector: !events,
    })
  }
  return new Redis({ ...client, host: settings.host ?? '127.0.0.1', port: settings.port ?? 6379 })
}

export interface ConnectionEvents {
  /** A node's state has changed. */
  onState(node: RedisNode, state: NodeState): void
  /** The connection for events is made by the first thing that is asked of it. */
  readonly lazyEvents?: boolean
}

/** An operator waits so long before hearing that Redis does not answer. */
export const OPERATOR_MS = 2000

const REVIVE_MS = 250

/** The way to Redis, alone, through Sentinel or to a Cluster: one socket for commands a node, one for events. */
export class Connection {
  readonly commands: Redis | Cluster
  readonly events: Redis | Cluster
  readonly isCluster: boolean
  private readonly byName = new Map<string, RedisNode>()
  private readonly settings: RedisSettings
  private readonly listener: ConnectionEvents
  private only: RedisNode | undefined
  private closed = false
  /** Why there is no node at all. */
  private trouble = NOT_YET

  constructor(settings: RedisSettings, listener: ConnectionEvents) {
    this.settings = settings
    this.listener = listener
    this.isCluster = settings.cluster !== undefined
    this.commands = connect(settings, 'commands')
    this.events = connect(settings, 'events', listener.lazyEvents)
    // Errors are told by the nodes' states, once a change; unheard ones would end the process.
    this.events.on('error', () => {})
    this.revive(this.commands)
    this.revive(this.events)
    if (this.commands instanceof Redis) {
      const name = settings.sentinelName ?? `${settings.host ?? '127.0.0.1'}:${settings.port ?? 6379}`
      this.only = this.adopt(this.commands, name)
    } else {
      const cluster = this.commands
      cluster.on('error', error => {
        this.trouble = error.message
      })
      for (const change of ['+node', '-node', 'refresh']) cluster.on(change, () => this.reconcile(cluster))
    }
  }

  get nodes(): RedisNode[] {
    return [...this.byName.values()]
  }

  /** The node that serves a client's keys (or those beside a key), when it is known. */
  nodeOf(key: string): RedisNode | undefined {
    if (this.only) return this.only
    const owner = (this.commands as Cluster).slots[keySlot(key)]?.[0]
    return owner === undefined ? undefined : this.byName.get(owner)
  }

  /** Redis' epoch µs now; ours as long as it never answered. */
  nowUs(): number {
    for (const node of this.byName.values()) if (node.hasClock) return node.toRedisUs(performance.now())
    return Date.now() * 1000
  }

  /** ok only when every node that owns keys is, and why not. */
  get health(): { state: 'ok' | 'degraded'; detail: string; latencyMs?: number; since?: number } {
    const owners = this.only ? [this.only.name] : ownersOf((this.commands as Cluster).slots)
    // Its nodes may answer before the Cluster takes commands.
    if (owners.length === 0 || (!this.only && this.commands.status !== 'ready')) {
      const since = Math.min(...this.nodes.map(({ troubledAt }) => troubledAt))
      return { state: 'degraded', detail: `Redis Cluster: ${this.trouble}`, ...this.sinceOf(since) }
    }
    let latencyMs = 0
    for (const owner of owners) {
      const node = this.byName.get(owner)
      if (node?.state !== 'ok') {
        const detail = `Redis at ${owner}: ${node?.detail ?? NOT_YET}`
        return { state: 'degraded', detail, ...this.sinceOf(node?.troubledAt) }
      }
      latencyMs = Math.max(latencyMs, node.latencyMs)
    }
    const detail = this.only ? `Redis at ${owners[0]}` : `Redis Cluster of ${owners.length} masters`
    return { state: 'ok', detail, latencyMs: Math.round(latencyMs * 1000) / 1000 }
  }

  /**
   * Runs a script that writes, where its keys live, within `ms`. What Redis would come to only later, when the caller has
   * been told that it failed, it does not do at all.
   */
  async run(written: Script, keys: readonly string[], args: readonly (string | number)[], ms = OPERATOR_MS) {
    const node = this.nodeOf(keys[0] as string)
    if (!node?.hasClock) throw unavailable(this.health.detail)
    const until = performance.now() + ms * FENCE
    const attempt = async (again: boolean): Promise<(number | string)[]> => {
      const sent = performance.now()
      try {
        return await evaluate(this.commands, fenced(written), keys, [node.toRedisUs(until), ...args])
      } catch (error) {
        const now = /^EXPIRED (\d+)/.exec((error as Error).message)?.[1]
        if (now === undefined) {
          if (isReply(error)) node.failed(error)
          throw error
        }
        // Nothing was done: the clock we knew may be old, so ask once more while there is time.
        node.answered(sent, Number(now))
        if (again || performance.now() > until) throw unavailable('Redis came to it too late')
        return attempt(true)
      }
    }
    return withTimeout(attempt(false), ms, () => node.missed())
  }

  /**
   * What an operator reads beside `key`, or ERR_UNAVAILABLE when it fails or takes longer. Who gets no answer tells the node
   * so, as a request does: it is no longer called ok.
   */
  async read<T>(key: string, answer: Promise<T>, ms = OPERATOR_MS): Promise<T> {
    const read = await withTimeout(answer, ms, () => this.nodeOf(key)?.missed())
    this.nodeOf(key)?.lives()
    return read
  }

  /** A moment of ours (performance.now()) in Redis' epoch ms. */
  private sinceOf(localMs = Number.POSITIVE_INFINITY): { since?: number } {
    if (!Number.isFinite(localMs)) return {}
    return { since: Math.floor(this.nowUs() / 1000 - (performance.now() - localMs)) }
  }

  async close(): Promise<void> {
    this.closed = true
    for (const node of this.nodes) node.close()
    this.commands.disconnect()
    this.events.disconnect()
  }

  /** ioredis gives up for good when a failover comes while it is connecting. We do not. */
  private revive(client: Redis | Cluster): void {
    client.on('end', () => {
      setTimeout(() => {
        if (!this.closed) client.connect().catch(() => {})
      }, REVIVE_MS).unref()
    })
  }

  private adopt(redis: Redis, name: string, detail = NOT_YET): RedisNode {
    const node: RedisNode = new RedisNode(redis, name, {
      deadlineMs: this.settings.deadlineMs,
      detail,
      onState: state => {
        if (this.closed) return
        this.listener.onState(node, state)
        if (state === 'down' && this.commands instanceof Cluster) this.commands.refreshSlotsCache()
      },
    })
    this.byName.set(name, node)
    return node
  }

  /**
   * A Cluster's connections come and go. One that has ended stays, down, while its server owns slots: only the clients of
   * these slots are without Redis.
   */
  private reconcile(cluster: Cluster): void {
    if (this.closed) return
    const owners = new Set(ownersOf(cluster.slots))
    const present = new Map(cluster.nodes().map(redis => [`${redis.options.host}:${redis.options.port}`, redis]))
    for (const [name, node] of this.byName) {
      if (present.get(name) !== node.redis) node.close()
      if (!present.has(name) && !owners.has(name)) this.byName.delete(name)
    }
    for (const [name, redis] of present) {
      const known = this.byName.get(name)
      if (known?.redis !== redis) this.adopt(redis, name, known?.detail)
    }
  }
}

/** Who owns slots: `host:port`, each once. */
function ownersOf(slots: readonly string[][]): string[] {
  const owners = new Set<string>()
  let last: string | undefined
  for (const slot of slots) {
    const owner = slot?.[0]
    if (owner !== undefined && owner !== last) owners.add(owner)
    last = owner
  }
  return [...owners]
}
