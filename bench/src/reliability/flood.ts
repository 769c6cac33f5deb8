import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { openRedisControl } from '@api-bouncer/limiter'
import { Pool } from 'undici'
import { type Bench, type Context, fixed, type Goal, inFlight, inWorker, type Section, whole } from '../harness.ts'
import { BenchRedis } from '../redis.ts'
import type { Args, Calls } from './apis.ts'
import { Clients } from './traffic.ts'

interface Asked {
  readonly path?: string
  readonly headers: Record<string, string>
}

/** What one kind of flood did. */
interface Flood {
  readonly name: string
  readonly requests: number
  readonly perSecond: number
  readonly errors: number
  /** Of the requests of clients who do what they may, meanwhile. */
  readonly legitimate: number
  readonly redisBytes: number
  readonly heapBytes: number
  readonly eventsPerSecond: number
}

/** Fifty clients, each a request a second, as long as something else goes on. */
function legitimate(port: number) {
  const clients = new Clients(port)
  const asked: Promise<boolean>[] = []
  const timer = setInterval(() => {
    const client = `198.51.100.${(asked.length % 50) + 1}`
    asked.push(clients.get(client).then(({ status, waitMs }) => status === 200 && waitMs < 1000))
  }, 20)
  return async () => {
    clearInterval(timer)
    const served = await Promise.all(asked)
    await clients.close()
    return served.filter(Boolean).length / served.length
  }
}

const network = (i: number) => `2001:db8:${(i >>> 16).toString(16)}:${(i & 65_535).toString(16)}::${(i % 7) + 1}`

/** Connections that send a body a byte at a time. */
async function dribble(port: number, connections: number, ms: number): Promise<void> {
  const sockets = Array.from({ length: connections }, (_, i) => {
    const socket = connect(port, '127.0.0.1').on('error', () => {})
    socket.write(
      `POST /slow HTTP/1.1\r\nHost: api\r\nX-Forwarded-For: 203.0.${i >> 8}.${i & 255}\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n`,
    )
    return socket
  })
  const timer = setInterval(() => {
    for (const socket of sockets) if (!socket.destroyed) socket.write('{')
  }, 500)
  await sleep(ms)
  clearInterval(timer)
  for (const socket of sockets) socket.destroy()
}

async function run({ quick, log }: Context): Promise<Section> {
  const scale = quick ? 0.02 : 1
  const redis = await BenchRedis.start()
  const where = redis.where as { host: string; port: number }
  const floods: Flood[] = []
  const used = async () => Number(/used_memory:(\d+)/.exec((await redis.connections[0]?.info('memory')) as string)?.[1])

  async function play(args: Args, name: string, of: (port: number) => Promise<{ requests: number; errors: number }>) {
    await inWorker<Calls, void>(
      'protected-api',
      args,
      async worker => {
        const port = await worker.call('port')
        const [heapBefore, redisBefore] = [await worker.call('heap'), await used()]
        const control = await openRedisControl(where)
        const after = (await control.events({ limit: 1 })).events.at(-1)?.id ?? '0-0'
        const stop = legitimate(port)
        const started = performance.now()
        const { requests, errors } = await of(port)
        const seconds = (performance.now() - started) / 1000
        const served = await stop()
        await sleep(1500)
        let events = 0
        for (let last = after; ; ) {
          const page = await control.events({ after: last, limit: 1000 })
          events += page.events.length
          last = page.events.at(-1)?.id ?? last
          if (page.events.length < 1000) break
        }
        await control.close()
        floods.push({
          name,
          requests,
          perSecond: requests / seconds,
          errors,
          legitimate: served,
          redisBytes: (await used()) - redisBefore,
          heapBytes: (await worker.call('heap')) - heapBefore,
          eventsPerSecond: events / (seconds + 1.5),
        })
        log(`  ${name}: ${whole(requests / seconds)}/s, ${fixed(1)(served * 100)} % of the others served`)
      },
      { source: true },
    )
    await redis.flush()
  }

  const blast = (requests: number, of: (i: number) => Asked) => async (port: number) => {
    const pool = new Pool(`http://127.0.0.1:${port}`, { connections: 64 })
    let errors = 0
    const one = async (i: number) => {
      const { path = '/api/data', headers } = of(i)
      try {
        const { statusCode, body } = await pool.request({ method: 'GET', path, headers })
        await body.dump()
        if (statusCode >= 500) errors++
      } catch {
        errors++
      }
    }
    await inFlight(one, 64, requests)
    await pool.destroy()
    return { requests, errors }
  }

  const onRedis: Args = { api: 'ours, open', redis: { ...where, deadline: '1s' }, limit: 1000 }
  const million = 1_000_000 * scale
  try {
    const distinct = (i: number): Asked => ({ headers: { 'x-forwarded-for': network(i) } })
    await play(onRedis, 'distinct IPv6 networks', blast(million, distinct))
    await play({ ...onRedis, api: 'ours, embedded' }, 'the same on the embedded store', blast(million, distinct))
    await play(
      onRedis,
      'one IPv6 network, another address each time',
      blast(50_000 * scale, i => ({ headers: { 'x-forwarded-for': `2001:db8::${(i & 65_535).toString(16)}` } })),
    )
    await play(
      onRedis,
      'one client, another path each time',
      blast(100_000 * scale, i => ({
        path: `/${i}/${'x'.repeat(i % 200)}?n=${i}`,
        headers: { 'x-forwarded-for': '203.0.113.1' },
      })),
    )
    await play(
      onRedis,
      'forwarding headers of 8 kB, and such that hide others',
      blast(50_000 * scale, i => ({
        headers: {
          'x-forwarded-for':
            i % 2 ? `${'9'.repeat(8000)}, 203.0.113.${i & 255}` : `a${'%0d%0aX-Real-IP: 1.1.1.1'.repeat(9)}`,
          'x-real-ip': `{control}:${i}`,
          'user-agent': `${'\u00e9'.repeat(100)}${i}`,
        },
      })),
    )
    await play(
      onRedis,
      'violations, every time of another client',
      blast(100_000 * scale, i => ({ path: '/strict', headers: { 'x-forwarded-for': network(i >> 1) } })),
    )
    await play(onRedis, '500 bodies that come a byte at a time', async port => {
      const ms = quick ? 2000 : 15_000
      await dribble(port, 500, ms)
      return { requests: 500, errors: 0 }
    })
  } finally {
    await redis.stop()
  }

  const of = (name: string) => floods.find(flood => flood.name === name) as Flood
  const distinct = of('distinct IPv6 networks')
  const embedded = of('the same on the embedded store')
  const small = ['one IPv6 network, another address each time', 'one client, another path each time']
  const atMost = (what: string, most: number, measured: number, unit = ''): Goal => ({
    what,
    goal: `at most ${whole(most)}${unit}`,
    measured: `${whole(measured)}${unit}`,
    met: measured <= most,
  })
  const goals: Goal[] = [
    ...floods.map(
      ({ name, legitimate }): Goal => ({
        what: `${name}: of the others’ requests served within a second`,
        goal: 'at least 95 %',
        measured: `${fixed(1)(legitimate * 100)} %`,
        met: legitimate >= 0.95,
      }),
    ),
    ...floods.map(({ name, errors }) => atMost(`${name}: 5xx and requests without an answer`, 0, errors)),
    ...floods.map(({ name, eventsPerSecond }) => atMost(`${name}: events a second`, 210, Math.ceil(eventsPerSecond))),
    atMost('Redis, bytes a distinct source, for as long as its window', 400, distinct.redisBytes / million),
    atMost('Redis, bytes for all that one client asks', 100_000, Math.max(...small.map(name => of(name).redisBytes))),
    atMost('heap of the server above before, on Redis', 30, distinct.heapBytes / 1e6, ' MB'),
    atMost('heap of the server above before, embedded store of 100,000 clients', 80, embedded.heapBytes / 1e6, ' MB'),
  ]
  return {
    tables: [
      {
        title: 'One instance, asked as fast as it answers',
        columns: [
          'flood',
          'requests',
          'a second',
          'errors',
          'others served',
          'Redis above before',
          'heap above before',
          'events a second',
        ],
        rows: floods.map(flood => [
          flood.name,
          whole(flood.requests),
          whole(flood.perSecond),
          whole(flood.errors),
          `${fixed(1)(flood.legitimate * 100)} %`,
          `${fixed(2)(flood.redisBytes / 1e6)} MB`,
          `${fixed(1)(flood.heapBytes / 1e6)} MB`,
          fixed(1)(flood.eventsPerSecond),
        ]),
      },
    ],
    goals,
    notes: [
      'The others are 50 clients, each with a request a second, who are served when they get 200 within a second. The heap is read after a forced collection. Client, server and Redis share this machine.',
    ],
  }
}

export const flood: Bench = { name: 'flood', title: 'Floods', run }
