import keySlot from 'cluster-key-slot'
import { Cluster, Redis } from 'ioredis'
import { type NodeState, RedisNode } from './node.ts'
import { type RedisSettings, splitEndpoint } from './settings.ts'

/** What every connection has: nothing is queued while it is down, nothing is sent twice. */
function commonOptions({ username, password, db, tls }: RedisSettings) {
  return {
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password }),
    ...(tls !== undefined && tls !== false && { tls: tls === true ? {} : tls }),
    db,
    connectTimeout: 2000,
    maxRetriesPerRequest: null,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    retryStrategy: (times: number) => Math.min(50 * 2 ** Math.min(times, 4), 500),
    // A master that has become a replica: connect again, to the new one.
    reconnectOnError: (error: Error) => error.message.startsWith('READONLY'),
    connectionName: 'api-bouncer',
  }
}

function connect(settings: RedisSettings, role: 'commands' | 'events'): Redis | Cluster {
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
        slotsRefreshTimeout: 1000,
        slotsRefreshInterval: 2000,
        clusterRetryStrategy: times => Math.min(100 * times, 500),
      },
    )
  }
  const client = { ...options, enableOfflineQueue: events }
  if (settings.sentinels) {
    return new Redis({
      ...client,
      sentinels: settings.sentinels.map(node => splitEndpoint(node, 26_379)),
      name: settings.sentinelName as string,
      ...(settings.sentinelPassword !== undefined && { sentinelPassword: settings.sentinelPassword }),
      sentinelRetryStrategy: () => 250,
      failoverDetector: !events,
    })
  }
  return new Redis({ ...client, host: settings.host ?? '127.0.0.1', port: settings.port ?? 6379 })
}

export interface ConnectionEvents {
  /** A node's state has changed. */
  onState(node: RedisNode, state: NodeState): void
}

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
  private trouble = 'not connected yet'

  constructor(settings: RedisSettings, listener: ConnectionEvents) {
    this.settings = settings
    this.listener = listener
    this.isCluster = settings.cluster !== undefined
    this.commands = connect(settings, 'commands')
    this.events = connect(settings, 'events')
    // Errors are told by the nodes' states, once a change; unheard ones would end the process.
    this.events.on('error', () => {})
    if (this.commands instanceof Redis) {
      this.only = this.adopt(
        this.commands,
        `${settings.host ?? settings.sentinelName ?? '127.0.0.1'}:${settings.port ?? 6379}`,
      )
    } else {
      this.commands.on('error', error => {
        this.trouble = error.message
      })
      this.commands.on('+node', (redis: Redis) => this.adopt(redis, `${redis.options.host}:${redis.options.port}`))
      this.commands.on('-node', (redis: Redis) => this.drop(redis))
    }
  }

  get nodes(): RedisNode[] {
    return [...this.byName.values()]
  }

  /** The node that serves a client's keys, when there is one. */
  nodeOf(client: string): RedisNode | undefined {
    if (this.only) return this.only
    const owner = (this.commands as Cluster).slots[keySlot(client)]?.[0]
    return owner === undefined ? undefined : this.byName.get(owner)
  }

  /** ok only when every node is, and why not. */
  get health(): { state: 'ok' | 'degraded'; detail: string; latencyMs?: number } {
    const masters = this.isCluster ? this.nodes.filter(node => !node.redis.options.readOnly) : this.nodes
    const ill = masters.find(node => node.state !== 'ok')
    if (ill) return { state: 'degraded', detail: `Redis at ${ill.name}: ${ill.detail}` }
    if (masters.length === 0) return { state: 'degraded', detail: `Redis Cluster: ${this.trouble}` }
    const latencyMs = Math.max(...masters.map(node => node.latencyMs))
    const what = this.isCluster ? `Redis Cluster of ${masters.length} masters` : `Redis at ${masters[0]?.name}`
    return { state: 'ok', detail: what, latencyMs: Math.round(latencyMs * 1000) / 1000 }
  }

  async close(): Promise<void> {
    this.closed = true
    for (const node of this.nodes) node.close()
    this.commands.disconnect()
    this.events.disconnect()
  }

  private adopt(redis: Redis, name: string): RedisNode {
    const node = new RedisNode(redis, name, {
      deadlineMs: this.settings.deadlineMs,
      onState: state => {
        this.listener.onState(node, state)
        if (state === 'down' && this.commands instanceof Cluster && !this.closed) this.commands.refreshSlotsCache()
      },
    })
    this.byName.get(name)?.close()
    this.byName.set(name, node)
    return node
  }

  private drop(redis: Redis): void {
    const name = `${redis.options.host}:${redis.options.port}`
    if (this.byName.get(name)?.redis !== redis) return
    this.byName.get(name)?.close()
    this.byName.delete(name)
  }
}
