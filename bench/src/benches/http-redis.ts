import { setTimeout as sleep } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import { type Bench, type Context, fixed, type Goal, goalOf, type Section, type Table } from '../harness.ts'
import { BenchRedis } from '../redis.ts'
import { BARE, CONNECTIONS, close, compare, HIGH, PATH, serve } from './http-embedded.ts'

/** Commands a second. */
interface Commands {
  /** That came to Redis on a socket. */
  readonly sent: number
  /** What ran, by command: those that scripts call too. */
  readonly ran: Record<string, number>
}

async function commandsDuring(redis: BenchRedis, work: () => Promise<unknown>): Promise<Commands> {
  let sent = 0
  const monitor = await (redis.connections[0] as Redis).monitor()
  monitor.on('monitor', (_time: string, [command]: string[], source: string) => {
    if (source !== 'lua' && command?.toLowerCase() !== 'info') sent++
  })
  const before = await redis.calls()
  const started = performance.now()
  await work()
  const seconds = (performance.now() - started) / 1000
  const after = await redis.calls()
  monitor.disconnect()
  const ran = Object.entries(after)
    .filter(([command]) => command !== 'info')
    .map(([command, calls]) => [command, (calls - (before[command] ?? 0)) / seconds] as const)
    .filter(([, rate]) => rate > 0)
  return { sent: sent / seconds, ran: Object.fromEntries(ran) }
}

/** What one blocked client's flood costs Redis, above what the same idle instance does. */
async function flood(redis: BenchRedis, { quick, log }: Context): Promise<{ table: Table; goal: Goal }> {
  await redis.flush()
  const server = await serve({ contender: 'ours', limit: 1, redis: redis.where as { host: string; port: number } }, 1)
  try {
    await server.load.send(PATH, 100)
    // Its block, violations and refusals are told and written down.
    await sleep(3000)
    const ms = quick ? 3000 : 10_000
    const idle = await commandsDuring(redis, () => sleep(ms))
    let refused = 0
    const during = await commandsDuring(redis, async () => {
      const until = performance.now() + ms
      while (performance.now() < until) {
        const { statuses } = await server.load.send(PATH, 500)
        if (statuses[429] !== 500) throw new Error(`not refused: ${JSON.stringify(statuses)}`)
        refused += 500
      }
    })
    const more = during.sent - idle.sent
    const names = [...new Set([...Object.keys(during.ran), ...Object.keys(idle.ran)])].sort()
    const line = (name: string, still: number, busy: number) => [name, ...[still, busy, busy - still].map(fixed(2))]
    const rows = [
      line('sent to Redis', idle.sent, during.sent),
      ...names.map(name => line(`\`${name}\``, idle.ran[name] ?? 0, during.ran[name] ?? 0)),
    ]
    const perSecond = Math.round(refused / (ms / 1000)).toLocaleString('en')
    log(`  flood of one blocked client, ${perSecond} requests/s: ${rows.map(cells => cells.join(' ')).join('; ')}`)
    return {
      table: {
        title: `Redis commands a second of one instance, and with a blocked client sending ${perSecond} requests/s`,
        columns: ['', 'idle', 'flood', 'difference'],
        rows,
      },
      goal: goalOf('Redis commands for the flood of a blocked client', 'at most', 1, [more], ' a second'),
    }
  } finally {
    await close(server)
  }
}

async function run(context: Context): Promise<Section> {
  const redis = await BenchRedis.start()
  try {
    const allowed = await compare(
      'Allowed requests',
      [
        [BARE, 0, 200],
        ['ours', HIGH, 200],
        ['rate-limiter-flexible', HIGH, 200],
        ['express-rate-limit', HIGH, 200],
      ],
      context,
      redis,
    )
    const refused = await compare(
      'A flood that is refused (ours: from blocked clients), against bare Express answering it',
      [
        [BARE, 0, 200],
        ['ours', 1, 429],
        ['rate-limiter-flexible', 1, 429],
        ['express-rate-limit', 1, 429],
      ],
      context,
      redis,
    )
    const { table, goal } = await flood(redis, context)
    return {
      charts: [allowed.chart, refused.chart],
      tables: [allowed.table, refused.table, table],
      goals: [
        goalOf('Server CPU a request against bare Express', 'at most', 1.15, allowed.ratio('ours')),
        goalOf('A flood from blocked clients', 'at most', 1.1, refused.ratio('ours')),
        goal,
      ],
      notes: [
        `As behind Express with the embedded store, ${CONNECTIONS} connections; all count in the same redis-server of the bench's own, without persistence, which is flushed before the servers start. CPU is of the Node server's process alone, without Redis.`,
        "Ours: everything on, heartbeats and events too, with a deadline of 5 s, so that a busy machine cannot turn a check into one that the fail mode allows; the bench ends if there was one. express-rate-limit: with rate-limit-redis's RedisStore. rate-limiter-flexible: RateLimiterRedis. The peers each with a connection of ioredis's default settings.",
        'Commands a second: one client on all connections. "Sent" counts what comes on a socket (MONITOR); the lines below it are from INFO commandstats and contain what scripts call. Heartbeats, statistics and events of the idle instance are in both columns; the difference is what the flood costs.',
      ],
    }
  } finally {
    await redis.stop()
  }
}

export const httpRedis: Bench = { name: 'http-redis', title: 'Behind Express (Redis)', run }
