import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { RedisOptions } from '@api-bouncer/limiter'
import { freePort, RedisServer, until } from '@api-bouncer/limiter/testing/redis-server'
import { Redis } from 'ioredis'
import { Network } from './proxy.ts'

/** Redis as one fault finds it, and what happens to it. */
export interface Scene {
  /** Where the applications are told that it is. */
  readonly redis: RedisOptions
  /** Where it can be looked at past a network that fails; absent: the same. */
  readonly direct?: RedisOptions
  /** Who may hold counts: looked at directly, once the fault is over. */
  readonly masters: readonly RedisServer[]
  /** The fault begins. */
  strike(): unknown
  /** It ends: resolves when Redis could serve again. */
  mend(): unknown
  close(): Promise<unknown>
}

export interface Fault {
  readonly name: string
  readonly title: string
  /** Counts that Redis itself loses by it: none, what was not replicated yet, or all. */
  readonly loses: 'nothing' | 'tail' | 'all'
  /** It strikes so often a second while it lasts; absent: once. */
  readonly strikesPerSecond?: number
  /** It lasts at least so long, s; twice as long as in a short look. */
  readonly seconds?: number
  open(): Promise<Scene>
}

const look = (port: number, options = {}) => new Redis({ host: '127.0.0.1', port, ...options }).on('error', () => {})

/** One redis-server, and a connection of the fault's own to it. */
async function single(
  args: readonly string[],
  faults: (server: RedisServer, own: Redis) => Pick<Scene, 'strike' | 'mend'> & Partial<Scene>,
): Promise<Scene> {
  const server = await RedisServer.start(...args)
  const own = look(server.port)
  const { close, ...scene } = faults(server, own)
  return {
    redis: { host: '127.0.0.1', port: server.port },
    masters: [server],
    ...scene,
    async close() {
      own.disconnect()
      await close?.()
      await server.stop()
    },
  }
}

/** One redis-server behind a network that can fail. */
async function behindNetwork(faults: (network: Network) => Pick<Scene, 'strike' | 'mend'>): Promise<Scene> {
  const server = await RedisServer.start()
  const network = await Network.to(server.port)
  return {
    redis: { host: '127.0.0.1', port: network.port },
    direct: { host: '127.0.0.1', port: server.port },
    masters: [server],
    ...faults(network),
    async close() {
      await network.close()
      await server.stop()
    },
  }
}

/** Everything that is answered with one error while it lasts. */
const answering = (
  name: string,
  title: string,
  strike: (own: Redis, server: RedisServer) => Promise<unknown>,
  mend: (own: Redis, server: RedisServer) => Promise<unknown>,
  args: readonly string[] = [],
): Fault => ({
  name,
  title,
  loses: 'nothing',
  open: () => single(args, (server, own) => ({ strike: () => strike(own, server), mend: () => mend(own, server) })),
})

const INFO_ROLE = async (own: Redis) => (await own.info('replication')).includes('role:master')
const isMaster = (own: Redis) => INFO_ROLE(own).catch(() => false)

async function sentinelScene(): Promise<Scene> {
  const master = await RedisServer.start()
  const replica = await RedisServer.start('--replicaof', '127.0.0.1', String(master.port))
  const own = look(replica.port)
  await until('the replica', async () => (await own.info('replication')).includes('master_link_status:up'))
  const sentinels: RedisServer[] = []
  for (let i = 0; i < 3; i++) {
    const config = [
      `sentinel monitor mymaster 127.0.0.1 ${master.port} 2`,
      'sentinel down-after-milliseconds mymaster 1000',
      'sentinel failover-timeout mymaster 5000',
    ]
    sentinels.push(await RedisServer.sentinel(config.join('\n')))
  }
  for (const { port } of sentinels) {
    const asked = look(port)
    await until('sentinels that know each other', async () => {
      const [known] = (await asked.call('SENTINEL', 'MASTERS')) as string[][]
      const of = (name: string) => Number(known?.[known.indexOf(name) + 1])
      return of('num-other-sentinels') === 2 && of('num-slaves') === 1
    })
    asked.disconnect()
  }
  return {
    redis: { sentinels: sentinels.map(({ port }) => `127.0.0.1:${port}`), sentinelName: 'mymaster' },
    masters: [replica],
    strike: () => master.kill(),
    mend: () => until('the promotion', () => isMaster(own), 60_000),
    async close() {
      own.disconnect()
      for (const server of [...sentinels, replica, master]) await server.stop()
    },
  }
}

const redisCli = (...args: string[]) => execFileSync('redis-cli', args, { encoding: 'utf8', stdio: 'pipe' })
const cliAt = (port: number, ...args: string[]) => redisCli('-p', String(port), ...args)

/** A Redis Cluster of three masters, each with so many replicas; one of them holds all control state. */
async function cluster(replicas: 0 | 1, whole: 'yes' | 'no' = 'no') {
  const nodes: RedisServer[] = []
  for (let i = 0; i < 3 * (1 + replicas); i++) {
    const busPort = String(await freePort())
    nodes.push(
      await RedisServer.start(
        ...['--cluster-enabled', 'yes', '--cluster-port', busPort, '--cluster-node-timeout', '1500'],
        // `no` is what a cluster needs to go on with the shards it has.
        ...['--cluster-require-full-coverage', whole],
      ),
    )
  }
  const endpoints = nodes.map(({ port }) => `127.0.0.1:${port}`)
  redisCli('--cluster', 'create', ...endpoints, '--cluster-replicas', String(replicas), '--cluster-yes')
  for (const { port } of nodes) {
    await until(`the cluster at ${port}`, () => cliAt(port, 'cluster', 'info').includes('cluster_state:ok'), 30_000)
  }
  const masters = nodes.filter(({ port }) => cliAt(port, 'role').startsWith('master'))
  if (replicas > 0) {
    for (const { port } of nodes) {
      await until('replicas', () => /^master|^slave[\s\S]*\bconnected\b/.test(cliAt(port, 'role')), 30_000)
    }
  }
  const [control, ...others] = [...masters].sort((a, b) => Number(holds(b, CONTROL)) - Number(holds(a, CONTROL)))
  return {
    nodes,
    masters,
    control: control as RedisServer,
    others: others as [RedisServer, RedisServer],
    redis: { cluster: endpoints } satisfies RedisOptions,
    close: async () => {
      for (const node of nodes) await node.stop()
    },
  }
}

/** Where policies, blocks' index, events and heartbeats lie. */
const CONTROL = 12069

/** Whether a master serves this slot. */
function holds({ port }: RedisServer, slot: number): boolean {
  const myself =
    cliAt(port, 'cluster', 'nodes')
      .split('\n')
      .find(line => line.includes('myself')) ?? ''
  return myself
    .split(' ')
    .slice(8)
    .some(range => {
      const [from, to = from] = range.split('-').map(Number) as [number, number?]
      return from <= slot && slot <= (to as number)
    })
}

/** All of a cluster serves again, and each of its masters knows. */
async function whole(masters: readonly RedisServer[]): Promise<void> {
  for (const { port } of masters) {
    await until(
      'the cluster',
      () => {
        const info = cliAt(port, 'cluster', 'info')
        return info.includes('cluster_state:ok') && info.includes('cluster_slots_ok:16384')
      },
      30_000,
    )
  }
}

const idOf = ({ port }: RedisServer) => cliAt(port, 'cluster', 'myid').trim()

/** Moves so many slots from one master to another, with their keys, as redis-cli's reshard does. */
function reshard(from: RedisServer, to: RedisServer, slots: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const args = [
      '--cluster',
      'reshard',
      `127.0.0.1:${from.port}`,
      '--cluster-from',
      idOf(from),
      '--cluster-to',
      idOf(to),
    ]
    import('node:child_process').then(({ execFile }) =>
      execFile('redis-cli', [...args, '--cluster-slots', String(slots), '--cluster-yes'], (error, stdout) =>
        error ? reject(new Error(`${error.message}\n${stdout.slice(-500)}`)) : resolve(),
      ),
    )
  })
}

export const faults: readonly Fault[] = [
  {
    name: 'stall',
    title: 'Redis frozen (SIGSTOP)',
    loses: 'nothing',
    seconds: 10,
    open: () => single([], server => ({ strike: () => server.freeze(), mend: () => server.thaw() })),
  },
  {
    name: 'restart-empty',
    title: 'killed, restarted empty',
    loses: 'all',
    open: () => single([], server => ({ strike: () => server.kill(), mend: () => server.start() })),
  },
  {
    name: 'restart-aof',
    title: 'killed, restarted with its append-only file',
    loses: 'tail',
    open: () =>
      single(['--appendonly', 'yes', '--appendfsync', 'everysec'], server => ({
        strike: () => server.kill(),
        mend: () => server.start(),
      })),
  },
  {
    name: 'spikes',
    title: 'every other 100 ms, answers are 200 ms late',
    loses: 'nothing',
    strikesPerSecond: 5,
    open: () =>
      behindNetwork(network => {
        let timer: NodeJS.Timeout
        return {
          strike() {
            timer = setInterval(() => {
              network.delayMs = 200 - network.delayMs
            }, 100)
          },
          mend() {
            clearInterval(timer)
            network.delayMs = 0
          },
        }
      }),
  },
  {
    name: 'drops',
    title: 'connections reset five times a second',
    loses: 'nothing',
    strikesPerSecond: 5,
    open: () =>
      behindNetwork(network => {
        let timer: NodeJS.Timeout
        return {
          strike() {
            timer = setInterval(() => network.cut(), 200)
          },
          mend: () => clearInterval(timer),
        }
      }),
  },
  {
    name: 'half-open',
    title: 'connections stay open, nothing gets through',
    loses: 'nothing',
    open: () =>
      behindNetwork(network => ({
        strike() {
          network.silent = true
        },
        // Whoever is heard of again knows nothing of the old connections.
        mend() {
          network.silent = false
          network.cut()
        },
      })),
  },
  {
    name: 'loading',
    title: 'restarted, LOADING its data for seconds',
    loses: 'tail',
    open: async () => {
      // So slow to load that it answers LOADING for some seconds: a wait after each kilobyte.
      const server = await RedisServer.start('--appendonly', 'yes', '--enable-debug-command', 'yes')
      const own = look(server.port)
      await own.eval("for i = 1, 3000 do redis.call('set', 'ballast:' .. i, string.rep('x', 1000)) end", 0)
      await own.call('BGREWRITEAOF')
      await until('the rewrite', async () => (await own.info('persistence')).includes('aof_rewrite_in_progress:0'))
      return {
        redis: { host: '127.0.0.1', port: server.port },
        masters: [server],
        async strike() {
          await own.call('CONFIG', 'SET', 'key-load-delay', '1200', 'loading-process-events-interval-bytes', '1024')
          // Loads what it has just saved, and says LOADING meanwhile.
          own.call('DEBUG', 'LOADAOF').catch(() => {})
          await sleep(50)
        },
        async mend() {
          await until(
            'its data',
            async () => {
              const info = await own.info('persistence').catch(() => '')
              return info.includes('loading:0')
            },
            30_000,
          )
        },
        async close() {
          own.disconnect()
          await server.stop()
        },
      }
    },
  },
  {
    name: 'busy',
    title: 'BUSY: somebody’s script does not end',
    loses: 'nothing',
    open: () =>
      single(['--busy-reply-threshold', '100'], (server, own) => {
        const endless = look(server.port)
        return {
          strike() {
            endless.eval('while true do end', 0).catch(() => {})
          },
          mend: () => own.script('KILL'),
          close: async () => endless.disconnect(),
        }
      }),
  },
  answering(
    'readonly',
    'READONLY: it became a replica',
    async own => own.replicaof('127.0.0.1', await freePort()),
    own => own.replicaof('NO', 'ONE'),
  ),
  answering(
    'oom',
    'OOM: no memory left, noeviction',
    own => own.config('SET', 'maxmemory', '1'),
    own => own.config('SET', 'maxmemory', '0'),
  ),
  {
    name: 'misconf',
    title: 'MISCONF: it cannot save, and takes no writes',
    loses: 'nothing',
    open: () =>
      single(['--enable-protected-configs', 'yes'], (_, own) => {
        const folder = mkdtempSync(join(tmpdir(), 'bouncer-misconf-'))
        const gone = join(folder, 'gone')
        mkdirSync(gone)
        return {
          async strike() {
            await own.config('SET', 'dir', gone)
            rmSync(gone, { recursive: true })
            await own.config('SET', 'save', '3600 1')
            await own.call('BGSAVE')
            await until('a save that failed', async () =>
              (await own.info('persistence')).includes('rdb_last_bgsave_status:err'),
            )
          },
          mend: () => own.config('SET', 'stop-writes-on-bgsave-error', 'no'),
          close: async () => rmSync(folder, { recursive: true, force: true }),
        }
      }),
  },
  answering(
    'password',
    'connections ended, and a new password asked for',
    async own => {
      await own.config('SET', 'requirepass', 'changed')
      await own.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
      await own.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
    },
    own => own.config('SET', 'requirepass', ''),
  ),
  answering(
    'max-clients',
    'no room for another connection, and ours were ended',
    async own => {
      await own.config('SET', 'maxclients', '1')
      await own.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
      await own.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
    },
    own => own.config('SET', 'maxclients', '1000'),
  ),
  {
    name: 'sentinel',
    title: 'Sentinel: the master killed, a replica promoted',
    loses: 'tail',
    seconds: 10,
    open: sentinelScene,
  },
  {
    name: 'cluster-failover',
    title: 'Cluster of 3 + 3: the master of the control state killed, its replica promoted',
    loses: 'tail',
    seconds: 10,
    open: async () => {
      const { nodes, masters, control, others, ...rest } = await cluster(1)
      const replicas = nodes.filter(node => !masters.includes(node))
      return {
        ...rest,
        masters: [...others, ...replicas],
        strike: () => control.kill(),
        mend: () => until('the promotion', () => replicas.some(node => holds(node, CONTROL)), 60_000),
      }
    },
  },
  {
    name: 'cluster-migration',
    title: 'Cluster of 3: 1,200 slots moved while they are used, the control state among them',
    loses: 'nothing',
    seconds: 10,
    open: async () => {
      const { nodes: _, control, others, ...rest } = await cluster(0)
      const [to] = others
      let moving: Promise<void> | undefined
      return {
        ...rest,
        strike() {
          moving = reshard(control, to, 1200)
        },
        async mend() {
          await moving
          if (!holds(to, CONTROL)) throw new Error(`slot ${CONTROL} was not moved`)
        },
      }
    },
  },
  {
    name: 'cluster-shard-lost',
    title: 'Cluster of 3: one shard lost, its server restarted empty',
    loses: 'all',
    seconds: 10,
    open: async () => {
      const { nodes: _, control: __, others, ...rest } = await cluster(0)
      const [lost] = others
      return {
        ...rest,
        strike: () => lost.kill(),
        async mend() {
          await lost.start()
          await whole(rest.masters)
        },
      }
    },
  },
  {
    name: 'cluster-down',
    title: 'CLUSTERDOWN: the shard of the control state lost, and all of the Cluster refuses; restarted empty',
    loses: 'all',
    seconds: 10,
    open: async () => {
      const { nodes: _, control, others: __, ...rest } = await cluster(0, 'yes')
      return {
        ...rest,
        strike: () => control.kill(),
        async mend() {
          await control.start()
          await whole(rest.masters)
        },
      }
    },
  },
]
