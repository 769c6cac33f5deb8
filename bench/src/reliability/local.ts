import { setTimeout as sleep } from 'node:timers/promises'
import type { RedisOptions } from '@api-bouncer/limiter'
import { RedisServer } from '@api-bouncer/limiter/testing/redis-server'
import { type Bench, type Context, goal, type Section, Worker, whole } from '../harness.ts'
import type { Args, Calls } from './apis.ts'
import { Clients } from './traffic.ts'

const LIMIT = 90
const EXPECTED = 3
/** Of one instance that counts for itself (docs/operations.md). */
const SHARE = Math.max(1, Math.floor(LIMIT / EXPECTED))
const CLIENTS = 10

interface Instance {
  readonly worker: Worker<Calls>
  readonly clients: Clients
}

/** Redis goes away, and instances come and go: what one client gets from all of them together. */
async function run({ quick, log }: Context): Promise<Section> {
  const replaced = quick ? 2 : 6
  const server = await RedisServer.start()
  // How long a busy machine takes is not what is tried here.
  const redis: RedisOptions = { host: '127.0.0.1', port: server.port, expectedInstances: EXPECTED, deadline: '1s' }
  const start = async (): Promise<Instance> => {
    const args: Args = { api: 'ours, local', redis, limit: LIMIT }
    const worker = await Worker.start<Calls>('protected-api', args, { source: true })
    return { worker, clients: new Clients(await worker.call('port')) }
  }
  const names = Array.from({ length: CLIENTS }, (_, i) => `198.51.100.${i + 1}`)
  const spent = new Map(names.map(name => [name, 0]))
  const alone = new Map(names.map(name => [name, 0]))
  const fleet = await Promise.all(Array.from({ length: EXPECTED }, start))
  let [asked, errors, born] = [0, 0, fleet.length]
  const ask = async (name: string, to: Instance) => {
    const { status, outcome } = await to.clients.get(name)
    asked++
    if (status === 0 || status >= 500) errors++
    const counts = outcome === 'allowed' ? spent : outcome === 'degraded-allowed' ? alone : undefined
    counts?.set(name, (counts.get(name) ?? 0) + 1)
  }
  /** Each client asks each instance so often. */
  const round = async (times: number) => {
    for (let i = 0; i < times; i++) await Promise.all(names.flatMap(name => fleet.map(one => ask(name, one))))
  }
  try {
    // They hear of each other with a heartbeat. Then everybody spends a part of their limit in Redis.
    await sleep(2000)
    await Promise.all(
      names.flatMap((name, i) => Array.from({ length: i * 10 }, (_, n) => ask(name, fleet[n % 3] as Instance))),
    )
    await server.kill()
    await round(SHARE + 10)
    for (let i = 0; i < replaced; i++) {
      const old = fleet[i % EXPECTED] as Instance
      if (i % 2 === 0) old.worker.kill()
      else await old.worker.stop()
      await old.clients.close()
      fleet[i % EXPECTED] = await start()
      born++
      await round(SHARE + 10)
    }
  } finally {
    for (const { worker, clients } of fleet) {
      await clients.close()
      await worker.stop()
    }
    await server.stop()
  }
  const bound = born * SHARE
  const most = Math.max(...alone.values())
  const least = Math.min(...alone.values())
  const beyond = Math.max(...names.map(name => (spent.get(name) ?? 0) - LIMIT))
  log(`  ${born} instances: ${least} to ${most} admitted without Redis, of at most ${bound}`)
  return {
    tables: [
      {
        title: `A limit of ${LIMIT}; ${EXPECTED} instances at a time, ${born} in all while Redis is away`,
        columns: ['client', 'spent in Redis', 'admitted without it', 'at most'],
        rows: names.map(name => [name, ...[spent.get(name), alone.get(name), bound].map(value => whole(value ?? 0))]),
      },
    ],
    goals: [
      goal('5xx and requests without an answer', '0', whole(errors), errors === 0),
      goal(
        'admitted without Redis, to any one client',
        `at most ${born} instances × ${SHARE}`,
        whole(most),
        most <= bound,
      ),
      goal(
        'admitted without Redis, to every client (it does not close)',
        `at least ${EXPECTED} × ${SHARE}`,
        whole(least),
        least >= EXPECTED * SHARE,
      ),
      goal('admitted by Redis beyond the limit', '0', whole(Math.max(0, beyond)), beyond <= 0),
    ],
    notes: [
      `${whole(asked)} requests: each client asks each instance ${SHARE + 10} times before the next instance goes (killed or stopped, in turn) and another comes, which knows no more than \`expectedInstances\`.`,
    ],
  }
}

export const local: Bench = { name: 'local', title: 'Fail mode `local`, while instances come and go', run }
