import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { LiveEvents } from '@api-bouncer/limiter/contracts'
import { freePort } from '@api-bouncer/limiter/testing/redis-server'
import { io } from 'socket.io-client'
import { startControlPlane, TOKEN } from '../control-plane.ts'
import {
  type Bench,
  type Context,
  fixed,
  type Goal,
  inWorker,
  median,
  random,
  type Section,
  spread,
  whole,
} from '../harness.ts'
import { BenchRedis } from '../redis.ts'
import type { Args, Calls } from '../workers/ops.ts'

const MAIN = fileURLToPath(new URL('../../../packages/server/src/main.ts', import.meta.url))
const INSTANCES = 4
const LOAD = 4000

const at = (values: readonly number[], share: number) =>
  [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * share))] as number

/** From the start of the process that `npm start` becomes to its first answer, ms. */
async function coldStart(redis?: { host: string; port: number }): Promise<number> {
  const [port, admin] = [await freePort(), await freePort()]
  const started = performance.now()
  const tsx = createRequire(import.meta.url).resolve('tsx')
  const child = spawn(process.execPath, ['--import', tsx, '--conditions=@api-bouncer/source', MAIN], {
    env: {
      PATH: process.env.PATH,
      HOME: process.env.HOME,
      PORT: String(port),
      ADMIN_PORT: String(admin),
      ADMIN_TOKEN: TOKEN,
      ...(redis && { REDIS_HOST: redis.host, REDIS_PORT: String(redis.port) }),
    },
    stdio: 'ignore',
  })
  const served = () =>
    fetch(`http://127.0.0.1:${port}/api/data`).then(
      res => res.status === 200,
      () => false,
    )
  while (!(await served())) await sleep(5)
  const took = performance.now() - started
  const gone = once(child, 'exit')
  child.kill()
  await gone
  return took
}

async function run({ quick, seed, log }: Context): Promise<Section> {
  const redis = await BenchRedis.start()
  const where = redis.where as { host: string; port: number }
  const chance = random(seed)
  const rows: string[][] = []
  const goals: Goal[] = []
  const tell = (what: string, values: readonly number[], most?: number) => {
    rows.push([
      what,
      whole(values.length),
      fixed(1)(median(values)),
      fixed(1)(at(values, 0.99)),
      fixed(1)(Math.max(...values)),
    ])
    log(`  ${rows.at(-1)?.join(' · ')}`)
    if (most === undefined) return
    const p99 = at(values, 0.99)
    goals.push({
      what: `${what}: p99`,
      goal: `at most ${whole(most)} ms`,
      measured: `${fixed(1)(p99)} ms`,
      met: p99 <= most,
    })
  }
  try {
    const starts: number[] = []
    const onRedis: number[] = []
    for (let i = 0; i < (quick ? 2 : 5); i++) {
      starts.push(await coldStart())
      onRedis.push(await coldStart(where))
    }
    const server = await startControlPlane(where)
    try {
      const args: Args = { redis: where, instances: INSTANCES, load: LOAD }
      await inWorker<Calls, void>('ops', args, async fleet => {
        await sleep(3000)
        const rounds = quick ? 30 : 300
        tell('a policy is changed, until every instance decides by it', await fleet.call('policyChanges', rounds), 250)
        tell('a client is unblocked, until every instance serves it', await fleet.call('unblocks', rounds), 250)

        const socket = io(server.url, {
          path: '/dashboard/live',
          transports: ['websocket'],
          extraHeaders: { authorization: `Bearer ${TOKEN}` },
        })
        const shown = new Map<string, number>()
        socket.on('events', ({ events }: LiveEvents) => {
          const now = performance.timeOrigin + performance.now()
          for (const event of events)
            if (event.type === 'violation') shown.set(event.client, shown.get(event.client) ?? now)
        })
        await once(socket as never, 'connect')
        socket.emit('subscribe', 'events')
        await sleep(1500)
        const made = new Map<string, number>()
        for (let i = 0; i < (quick ? 20 : 120); i++) {
          const client = `10.5.${i >> 8}.${i & 255}`
          made.set(client, await fleet.call('violate', client))
          await sleep(50 + chance() * 150)
        }
        await sleep(3000)
        socket.close()
        const waits = [...made].map(([client, at]) => (shown.get(client) ?? Number.POSITIVE_INFINITY) - at)
        tell('a client breaks its limit, until the browser is told', waits, 1500)
      })
    } finally {
      await server.stop()
    }
    rows.push([
      'the server starts, until its first answer, embedded',
      whole(starts.length),
      spread(starts, whole),
      '',
      '',
    ])
    rows.push(['… on Redis', whole(onRedis.length), spread(onRedis, whole), '', ''])
  } finally {
    await redis.stop()
  }
  return {
    tables: [
      {
        title: `${INSTANCES} instances at ${whole(LOAD)} decisions a second`,
        columns: ['', 'times', 'median ms', 'p99 ms', 'longest ms'],
        rows,
      },
    ],
    goals,
    notes: [
      `The fleet's instances are real ones on one Redis, in one process; the operator acts on the first of them. A change counts when the last instance has decided a request by it; an unblock when the last one, which had refused the client itself, has served it. The browser's part is a socket.io client on the control plane, which tells events once a second.`,
      'The server starts from source, as `npm start` does once it has built the page.',
    ],
  }
}

export const ops: Bench = { name: 'ops', title: 'From an operator’s hand to its effect', run }
