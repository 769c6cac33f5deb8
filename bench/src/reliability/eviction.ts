import { openRedisControl, type Policy } from '@api-bouncer/limiter'
import { Pool } from 'undici'
import { type Bench, fixed, type Goal, inFlight, inWorker, type Section, whole } from '../harness.ts'
import { BenchRedis } from '../redis.ts'
import type { Args, Calls } from './apis.ts'

/** What Redis does when it is full, by `maxmemory-policy`. */
const EVICTIONS = [
  'noeviction',
  'volatile-ttl',
  'volatile-lru',
  'volatile-lfu',
  'volatile-random',
  'allkeys-lru',
  'allkeys-lfu',
  'allkeys-random',
] as const

const BLOCKED = 100
const ROOM_BYTES = 3_000_000

interface Found {
  readonly policy: string
  readonly blocksLost: number
  readonly policiesKept: boolean
  readonly degraded: number
  readonly errors: number
  readonly doctor: string
}

async function fill(eviction: string, clients: number): Promise<Found> {
  const redis = await BenchRedis.start()
  const where = redis.where as { host: string; port: number }
  const [own] = redis.connections
  if (!own) throw new Error('a Redis without a connection')
  try {
    const args: Args = { api: 'ours, open', redis: { ...where, deadline: '1s' }, limit: 1000 }
    return await inWorker<Calls, Found>(
      'protected-api',
      args,
      async worker => {
        const control = await openRedisControl(where)
        const actor = { by: 'bench' }
        const office: Policy = { id: 'office', match: ['/office'], limits: [{ limit: 5, window: '1m' }] } as never
        await control.putPolicy(office, undefined, actor)
        for (let i = 0; i < BLOCKED; i++) await control.block({ client: `203.0.113.${i}`, for: '1h' }, actor)
        const used = Number(/used_memory:(\d+)/.exec(await own.info('memory'))?.[1])
        await own.config('SET', 'maxmemory-policy', eviction)
        await own.config('SET', 'maxmemory', String(used + ROOM_BYTES))

        const pool = new Pool(`http://127.0.0.1:${await worker.call('port')}`, { connections: 32 })
        let [degraded, errors] = [0, 0]
        const one = async (i: number) => {
          const headers = { 'x-forwarded-for': `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}` }
          const { statusCode, headers: told, body } = await pool.request({ method: 'GET', path: '/api/data', headers })
          await body.dump()
          if (statusCode >= 500) errors++
          if (String(told['x-outcome']).startsWith('degraded')) degraded++
        }
        await inFlight(one, 32, clients)
        await pool.destroy()

        const diagnosis = (await control.diagnose()).find(({ about }) => about === 'redis eviction')
        await own.config('SET', 'maxmemory', '0')
        let kept = 0
        for (let i = 0; i < BLOCKED; i++) if ((await control.client(`203.0.113.${i}`)).block) kept++
        const policiesKept = (await control.state()).policies.some(({ policy }) => policy.id === 'office')
        await control.close()
        return {
          policy: eviction,
          blocksLost: BLOCKED - kept,
          policiesKept,
          degraded: degraded / clients,
          errors,
          doctor: diagnosis?.verdict ?? 'nothing',
        }
      },
      { source: true },
    )
  } finally {
    await redis.stop()
  }
}

async function run({ quick, log }: Parameters<Bench['run']>[0]): Promise<Section> {
  const clients = quick ? 15_000 : 40_000
  const found: Found[] = []
  for (const eviction of quick ? EVICTIONS.slice(0, 2) : EVICTIONS) {
    const one = await fill(eviction, clients)
    found.push(one)
    log(`  ${eviction}: ${one.blocksLost} of ${BLOCKED} blocks lost, doctor: ${one.doctor}`)
  }
  const goals = found.flatMap(({ policy, errors, blocksLost, policiesKept, doctor }): Goal[] => [
    { what: `${policy}: 5xx`, goal: '0', measured: whole(errors), met: errors === 0 },
    { what: `${policy}: doctor warns`, goal: 'yes', measured: doctor, met: ['warning', 'problem'].includes(doctor) },
    ...(policy === 'noeviction'
      ? [
          { what: `${policy}: blocks lost`, goal: '0', measured: whole(blocksLost), met: blocksLost === 0 },
          { what: `${policy}: policies kept`, goal: 'yes', measured: policiesKept ? 'yes' : 'no', met: policiesKept },
        ]
      : []),
    ...(policy.startsWith('volatile')
      ? [{ what: `${policy}: policies kept`, goal: 'yes', measured: policiesKept ? 'yes' : 'no', met: policiesKept }]
      : []),
  ])
  return {
    tables: [
      {
        title: `${BLOCKED} blocks of an hour and a policy, then ${whole(clients)} new clients with room for about a quarter of them`,
        columns: ['maxmemory-policy', 'blocks lost', 'policies', 'decided without Redis', '5xx', '`bouncer doctor`'],
        rows: found.map(one => [
          `\`${one.policy}\``,
          whole(one.blocksLost),
          one.policiesKept ? 'kept' : 'lost',
          `${fixed(0)(one.degraded * 100)} %`,
          whole(one.errors),
          one.doctor,
        ]),
      },
    ],
    goals,
    notes: [
      'With every policy but `noeviction` Redis drops what it thinks best: counters, and with bad luck blocks, without telling anybody. `noeviction` forgets nothing; what cannot be counted any more is decided by the fail modes, and the state says so.',
    ],
  }
}

export const eviction: Bench = { name: 'eviction', title: 'Redis is full', run }
