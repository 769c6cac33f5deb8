import { randomUUID } from 'node:crypto'
import { Cluster, type Redis } from 'ioredis'
import type { Diagnosis } from '../../contracts/index.ts'
import type { StoreAbout } from '../backend.ts'
import type { Connection } from './connection.ts'
import { evaluate, withTimeout } from './evaluate.ts'
import type { Keys } from './keys.ts'
import { script } from './scripts.ts'

/** A question to Redis waits so long; a doctor asks several. */
const ASK_MS = 1000
const OLDEST = [6, 2] as const

type Info = Readonly<Record<string, string>>

/** Looks at every master's settings, at scripts and at pub/sub; changes nothing. Never rejects: what it cannot see is unknown. */
export async function diagnoseRedis({ commands, events }: Connection, keys: Keys): Promise<Diagnosis[]> {
  const servers = mastersOf(commands)
  const found = await Promise.all([
    ...servers.map((server, i) => diagnoseServer(server, servers.length > 1 ? ` of ${nameOf(server, i)}` : '')),
    commands instanceof Cluster ? look('redis cluster', () => slots(commands)) : [],
    look('redis scripts', () => scripts(commands)),
    look('redis pub/sub', () => roundTrip(commands, events, `${keys.channels.events}:doctor:${randomUUID()}`)),
    look('block index', () => blockIndex(commands, keys)),
  ])
  return found.flat()
}

const mastersOf = (commands: Redis | Cluster): Redis[] =>
  commands instanceof Cluster ? commands.nodes('master') : [commands]

const infoOf = async (server: Redis): Promise<Info> => parseInfo(await withTimeout(server.info(), ASK_MS))

/** The versions of the masters and the memory of all. Says nothing when one of them does not answer. */
export async function aboutRedis({ commands }: Connection): Promise<StoreAbout> {
  const infos = await Promise.all(mastersOf(commands).map(infoOf)).catch((): Info[] => [])
  if (infos.length === 0) return {}
  const versions = new Set(infos.map(info => versionOf(info)).filter(version => version !== undefined))
  const memoryBytes = infos.reduce((sum, { used_memory }) => sum + Number(used_memory), 0)
  const replica = infos.map(judgeRole).find(({ verdict }) => verdict === 'problem')
  return {
    ...(versions.size > 0 && { version: [...versions].sort().join(', ') }),
    ...(Number.isSafeInteger(memoryBytes) && { memoryBytes }),
    ...(replica && { ill: `READONLY ${replica.says}` }),
    ...(!(commands instanceof Cluster) && infos[0]?.cluster_enabled === '1' && { clusterNode: true as const }),
  }
}

const nameOf = ({ options }: Redis, i: number) => (options.host ? `${options.host}:${options.port}` : `master ${i + 1}`)

/** One look; what stands in its way is what it says. */
async function look(about: string, see: () => Promise<Omit<Diagnosis, 'about'>>): Promise<Diagnosis[]> {
  try {
    return [{ about, ...(await see()) }]
  } catch (error) {
    return [{ about, verdict: 'unknown', says: (error as Error).message }]
  }
}

async function diagnoseServer(server: Redis, of: string): Promise<Diagnosis[]> {
  let info: Info
  try {
    info = await infoOf(server)
  } catch (error) {
    return [{ about: `redis${of}`, verdict: 'unknown', says: `INFO: ${(error as Error).message}` }]
  }
  return [
    { about: `redis version${of}`, ...judgeVersion(info) },
    { about: `redis role${of}`, ...judgeRole(info) },
    { about: `redis eviction${of}`, ...judgeEviction(info) },
    { about: `redis persistence${of}`, ...judgePersistence(info) },
    ...(await look(`redis latency${of}`, () => latency(server))),
  ]
}

/** `name:value` lines of INFO. */
export const parseInfo = (text: string): Info =>
  Object.fromEntries(
    text
      .split('\r\n')
      .filter(line => line.includes(':') && !line.startsWith('#'))
      .map(line => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1)]),
  )

type Judgement = Omit<Diagnosis, 'about'>

function versionOf({ redis_version, valkey_version }: Info): string | undefined {
  if (valkey_version) return `Valkey ${valkey_version}`
  return redis_version ? `Redis ${redis_version}` : undefined
}

export function judgeVersion(info: Info): Judgement {
  const says = versionOf(info)
  if (says === undefined) return { verdict: 'unknown', says: 'the server does not say its version' }
  const [major = 0, minor = 0] = (info.redis_version ?? '').split('.').map(Number)
  if (info.valkey_version || major > OLDEST[0] || (major === OLDEST[0] && minor >= OLDEST[1])) {
    return { verdict: 'ok', says }
  }
  return {
    verdict: 'problem',
    says: `${says} is too old: scripts need ${OLDEST.join('.')}`,
    mend: `Upgrade to Redis ${OLDEST.join('.')} or later, or Valkey`,
  }
}

export function judgeRole({ role, master_host }: Info): Judgement {
  if (role !== 'slave') return { verdict: 'ok', says: role ?? 'master' }
  return {
    verdict: 'problem',
    says: `this is a replica${master_host ? ` of ${master_host}` : ''}: it refuses every write`,
    mend: 'Point REDIS_URL at the master, or name it through REDIS_SENTINELS',
  }
}

export function judgeEviction({ maxmemory = '0', maxmemory_policy = '', used_memory = '0' }: Info): Judgement {
  const [limit, used] = [Number(maxmemory), Number(used_memory)]
  if (limit === 0) return { verdict: 'ok', says: `no memory limit; ${megabytes(used)} used` }
  const share = Math.round((used / limit) * 100)
  const says = `${megabytes(used)} of ${megabytes(limit)} used (${share}%), maxmemory-policy ${maxmemory_policy}`
  if (maxmemory_policy !== 'noeviction') {
    return {
      verdict: share >= 90 ? 'problem' : 'warning',
      says: `${says}: when memory is full Redis drops blocks and counters, and their clients are let in`,
      mend: 'CONFIG SET maxmemory-policy noeviction, with enough maxmemory, or give the limiter a Redis of its own',
    }
  }
  if (share < 90) return { verdict: 'ok', says }
  return {
    verdict: 'warning',
    says: `${says}: when it is full Redis refuses to count, and the fail modes decide`,
    mend: 'Raise maxmemory',
  }
}

export function judgePersistence(info: Info): Judgement {
  const { aof_enabled, rdb_last_bgsave_status, aof_last_write_status } = info
  if (rdb_last_bgsave_status === 'err' || aof_last_write_status === 'err') {
    return {
      verdict: 'problem',
      says: 'the last write to disk failed; Redis may refuse every write until one succeeds',
      mend: 'Look at the disk and the log of Redis; then BGSAVE',
    }
  }
  if (aof_enabled === '1') return { verdict: 'ok', says: 'append-only file' }
  const saved = Number(info.rdb_last_save_time ?? 0) * 1000
  if (Number(info.rdb_saves ?? 0) > 0) {
    return { verdict: 'ok', says: `snapshots, the last at ${new Date(saved).toISOString()}; no append-only file` }
  }
  return {
    verdict: 'warning',
    says: 'no append-only file, and no snapshot since it started: a restart forgets blocks and counters; instances put policies back',
    mend: 'CONFIG SET appendonly yes, and appendonly yes in its configuration; then at most the last second is lost',
  }
}

async function latency(server: Redis): Promise<Judgement> {
  const times: number[] = []
  for (let i = 0; i < 5; i++) {
    const started = performance.now()
    await withTimeout(server.ping(), ASK_MS)
    times.push(performance.now() - started)
  }
  const median = times.sort((a, b) => a - b)[2] as number
  const says = `a round trip takes ${median.toFixed(median < 10 ? 2 : 0)} ms (median of 5)`
  if (median < 10) return { verdict: 'ok', says }
  return {
    verdict: 'warning',
    says,
    mend: 'Run the instances near Redis; look at SLOWLOG GET and at what else it serves',
  }
}

async function slots(cluster: Cluster): Promise<Judgement> {
  const any = cluster.nodes('master')[0]
  if (!any) return { verdict: 'problem', says: 'no master is known', mend: 'Look at REDIS_CLUSTER_NODES' }
  const info = parseInfo(await withTimeout(any.cluster('INFO') as Promise<string>, ASK_MS))
  const says = `state ${info.cluster_state}, ${info.cluster_slots_ok} of 16384 slots served, ${info.cluster_size} masters`
  if (info.cluster_state === 'ok' && info.cluster_slots_ok === '16384') return { verdict: 'ok', says }
  return {
    verdict: 'problem',
    says: `${says}: the clients of the other slots are without Redis`,
    mend: 'Start the masters that are down; redis-cli --cluster check HOST:PORT names their slots. Only where one is gone for good: --cluster fix',
  }
}

async function scripts(commands: Redis | Cluster): Promise<Judgement> {
  const [answer] = await withTimeout(evaluate(commands, script("return { 'pong' } -- doctor"), [], []), ASK_MS)
  return answer === 'pong'
    ? { verdict: 'ok', says: 'scripts load and run' }
    : { verdict: 'problem', says: `a script answered ${JSON.stringify(answer)}`, mend: 'Allow EVAL and EVALSHA (ACL)' }
}

/** Whether what is published comes back: a hint for the fleet, which also asks once a second. */
async function roundTrip(commands: Redis | Cluster, events: Redis | Cluster, channel: string): Promise<Judgement> {
  let heard: (name: string) => void = () => {}
  const back = new Promise<void>(resolve => {
    heard = name => name === channel && resolve()
  })
  events.on('message', heard)
  try {
    await withTimeout(events.subscribe(channel), ASK_MS)
    const started = performance.now()
    await withTimeout(commands.publish(channel, ''), ASK_MS)
    const came = await withTimeout(
      back.then(() => true),
      ASK_MS,
    ).catch(() => false)
    if (came) return { verdict: 'ok', says: `came back after ${(performance.now() - started).toFixed(1)} ms` }
    return {
      verdict: 'warning',
      says: `what is published did not come back within ${ASK_MS} ms: changes reach the fleet by its question once a second only`,
      mend: 'Allow SUBSCRIBE and PUBLISH on the channels of the prefix (ACL), and look for a proxy that drops them',
    }
  } finally {
    events.off('message', heard)
    events.unsubscribe(channel).catch(() => {})
  }
}

async function blockIndex(commands: Redis | Cluster, { blocks }: Keys): Promise<Judgement> {
  const size = await withTimeout(commands.zcard(blocks), ASK_MS)
  const says = `${size} blocks indexed`
  if (size <= 100_000) return { verdict: 'ok', says }
  return {
    verdict: 'warning',
    says: `${says}: listing them gets slow`,
    mend: 'So many clients in penalty are an attack: put their ranges on the denylist (bouncer deny add CIDR)',
  }
}

const megabytes = (bytes: number) => `${(bytes / 1_048_576).toFixed(bytes < 10_485_760 ? 1 : 0)} MB`
