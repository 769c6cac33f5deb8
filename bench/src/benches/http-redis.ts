import { setTimeout as sleep } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import { type Bench, type Context, fixed, type Goal, goalOf, type Section, type Table, whole } from '../harness.ts'
import { BenchRedis } from '../redis.ts'
import { CONNECTIONS, close, compare, FLOOD, goalsOf, HIGH, PATH, serve } from './http-embedded.ts'

/** Where the load comes from, when from one address. */
const CLIENT = '127.0.1.1'

interface Sent {
  /** performance.now() at which it came. */
  readonly at: number
  /** `evalsha block`: the command, and what the first key that names the client is for. */
  readonly what: string
}

/** Every command that comes to Redis on a socket meanwhile with a key of this client. */
async function commandsFor(redis: BenchRedis, client: string, work: () => Promise<unknown>): Promise<Sent[]> {
  const sent: Sent[] = []
  const monitor = await (redis.connections[0] as Redis).monitor()
  monitor.on('monitor', (_time: string, args: string[], source: string) => {
    const named = source === 'lua' ? undefined : args.find(arg => arg.includes(`{${client}}`))
    if (named === undefined) return
    const [, kind] = named.split(':')
    sent.push({ at: performance.now(), what: `\`${args[0]?.toLowerCase()}\`: ${kind}` })
  })
  await work()
  // What has been sent is told before this is answered.
  await (redis.connections[0] as Redis).ping()
  await sleep(100)
  monitor.disconnect()
  return sent
}

/** What one blocked client's flood costs Redis. */
async function flood(redis: BenchRedis, { quick, log }: Context): Promise<{ table: Table; goal: Goal }> {
  await redis.flush()
  const server = await serve({ contender: 'ours', limit: 1, redis: redis.where as { host: string; port: number } }, 1)
  try {
    await server.load.send(PATH, 100)
    // Its block, violations and refusals are told and written down, its history for the first time too, which takes Redis the script.
    await sleep(7000)
    const seconds = quick ? 5 : 10
    let refused = 0
    const sent = await commandsFor(redis, CLIENT, async () => {
      const until = performance.now() + seconds * 1000
      while (performance.now() < until) {
        const { statuses } = await server.load.send(PATH, 250)
        if (statuses[429] !== 250) throw new Error(`not refused: ${JSON.stringify(statuses)}`)
        refused += 250
      }
    })
    // From the first to the last: the edges of the window say nothing about the rate.
    const [first, last] = [sent[0], sent.at(-1)]
    const rate =
      first && last && last !== first ? ((sent.length - 1) * 1000) / (last.at - first.at) : sent.length / seconds
    const rows = [
      ['requests, all refused', whole(refused), whole(refused / seconds)],
      ['commands with a key of the client', whole(sent.length), fixed(2)(rate)],
      ...[...new Set(sent.map(({ what }) => what))].map(what => {
        const count = sent.filter(one => one.what === what).length
        return [`… ${what}`, whole(count), fixed(2)(count / seconds)]
      }),
    ]
    log(`  flood of one blocked client: ${rows.map(cells => cells.join(' ')).join('; ')}`)
    return {
      table: {
        title: `The flood of one blocked client, ${seconds} s: what Redis hears of it`,
        columns: ['', 'in all', 'a second'],
        rows,
      },
      goal: goalOf('Redis commands for the flood of a blocked client', 'at most', 1, [rate], ' a second'),
    }
  } finally {
    await close(server)
  }
}

async function run(context: Context): Promise<Section> {
  const redis = await BenchRedis.start()
  try {
    const allowed = await compare('Allowed requests', HIGH, context, redis)
    const refused = await compare(FLOOD, 1, context, redis)
    const { table, goal } = await flood(redis, context)
    return {
      charts: [allowed.chart, refused.chart],
      tables: [allowed.table, refused.table, table],
      goals: [
        ...goalsOf(
          [
            ['Server CPU a request against bare Express', 1.15],
            ['The same, later goal', 1.08],
          ],
          allowed.ratio,
        ),
        ...goalsOf(
          [
            ['A flood from blocked clients', 1.1],
            ['The same, later goal', 1.05],
          ],
          refused.ratio,
        ),
        goal,
      ],
      notes: [
        `As with Express and the embedded store, as middleware and in front; ${CONNECTIONS} connections; all count in the same redis-server of the bench's own, without persistence, which is flushed before the servers start. CPU is of the Node server's process alone, without Redis.`,
        "Ours: everything on, heartbeats and events too, with a deadline of 5 s, so that a busy machine cannot turn a check into one that the fail mode allows; the bench ends if there was one. express-rate-limit: with rate-limit-redis's RedisStore. rate-limiter-flexible: RateLimiterRedis. @fastify/rate-limit: its Redis store, against bare Fastify. The peers each with a connection of ioredis's default settings.",
        'The flood: one client on all connections. MONITOR tells every command that comes to Redis on a socket; those with a key of this client are counted, whichever they are: the look whether its block still stands (`block`), and what it was answered, for its page (`history`). The instance’s own heartbeat and statistics are not among them. The rate is that between the first and the last of them.',
      ],
    }
  } finally {
    await redis.stop()
  }
}

export const httpRedis: Bench = { name: 'http-redis', title: 'Behind Express (Redis)', run }
