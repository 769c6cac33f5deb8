import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { openRedisControl } from '@api-bouncer/limiter'
import { Pool } from 'undici'
import { startControlPlane, TOKEN } from '../control-plane.ts'
import {
  type Bench,
  type Context,
  fixed,
  type Goal,
  inFlight,
  inWorker,
  type Section,
  type Worker,
  whole,
} from '../harness.ts'
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
  /** The longest that the control plane took to answer an operator meanwhile, ms; on the embedded store there is none beside. */
  readonly controlMs?: number
}

const OTHERS = 50

/**
 * Fifty clients, each a request a second, as long as something else goes on. They were there before it, each on a connection that
 * is kept: Node accepts one connection a turn of its event loop, and who connects behind a flood waits for as many turns.
 */
async function legitimate(port: number) {
  const others = Array.from({ length: OTHERS }, () => new Clients(port))
  const asked: Promise<boolean>[] = []
  const timer = setInterval(() => {
    const i = asked.length % OTHERS
    const answer = (others[i] as Clients).get(`198.51.100.${i + 1}`)
    asked.push(answer.then(({ status, waitMs }) => status === 200 && waitMs < 1000))
  }, 1000 / OTHERS)
  while (asked.length < OTHERS) await sleep(100)
  const before = asked.length
  return async () => {
    clearInterval(timer)
    const served = (await Promise.all(asked)).slice(before)
    await Promise.all(others.map(one => one.close()))
    return served.filter(Boolean).length / served.length
  }
}

const network = (i: number) => `2001:db8:${(i >>> 16).toString(16)}:${(i & 65_535).toString(16)}::${(i % 7) + 1}`

/** An operator who looks at the fleet and its busiest clients all the time; answers the longest wait, ms. */
function operator(url: string) {
  let [longest, over] = [0, false]
  const looking = (async () => {
    for (let i = 0; !over; i++) {
      const started = performance.now()
      const path = i % 2 ? '/admin/clients' : '/admin/status'
      const { status } = await fetch(url + path, { headers: { authorization: `Bearer ${TOKEN}` } })
      longest = Math.max(longest, status === 200 ? performance.now() - started : Number.POSITIVE_INFINITY)
      await sleep(250)
    }
  })()
  return async () => {
    over = true
    await looking
    return longest
  }
}

const headersOf = (i: number, path: string) =>
  `POST ${path} HTTP/1.1\r\nHost: api\r\nX-Forwarded-For: 203.0.${i >> 8}.${i & 255}\r\n`
const BODY = 'Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n'

/** Connections that send what they have to say a byte at a time; answers how many are still open after that. */
async function dribble(
  { port, connections, ms }: { port: number; connections: number; ms: number },
  begin: (i: number) => string,
  byte: string,
): Promise<number> {
  const sockets = Array.from({ length: connections }, (_, i) => {
    const socket = connect(port, '127.0.0.1').on('error', () => {})
    socket.resume()
    socket.write(begin(i))
    return socket
  })
  const timer = setInterval(() => {
    for (const socket of sockets) if (!socket.destroyed) socket.write(byte)
  }, 500)
  await sleep(ms)
  clearInterval(timer)
  const open = sockets.filter(({ destroyed, readyState }) => !destroyed && readyState === 'open').length
  for (const socket of sockets) socket.destroy()
  return open
}
/** Requests until a server's code is compiled. */
const WARM = 4000

/** Who is refused and does not end its body is let go by then, ms. */
const PATIENCE_MS = 15_000

/** As many as the embedded store remembers, twice over: each spends its limit and is refused until it is blocked. */
const OFFENDERS = 200_000
const OFFENDERS_LIMIT = 100
/** The worst that a client can cost: all of a limit of 100, refusals, a block. */
const OFFENDER_BYTES = 4500

async function run({ quick, log }: Context): Promise<Section> {
  const scale = quick ? 0.02 : 1
  const redis = await BenchRedis.start()
  // A command's first call takes tens of kB for its histogram of latencies: Redis's own, once, whoever asks.
  await redis.connections[0]?.config('SET', 'latency-tracking', 'no')
  const where = redis.where as { host: string; port: number }
  const controlPlane = await startControlPlane(where)
  const floods: Flood[] = []
  const used = async () => Number(/used_memory:(\d+)/.exec((await redis.connections[0]?.info('memory')) as string)?.[1])

  async function play(
    args: Args,
    name: string,
    of: (port: number, worker: Worker<Calls>) => Promise<{ requests: number; errors: number }>,
  ) {
    await inWorker<Calls, void>(
      'protected-api',
      args,
      async worker => {
        const port = await worker.call('port')
        // A process that has just started answers slowly for a second: that is not what is tried here.
        await blast(WARM, i => ({ headers: { 'x-forwarded-for': `198.51.101.${i % 100}` } }))(port)
        const [heapBefore, redisBefore] = [await worker.call('heap'), await used()]
        const control = await openRedisControl(where)
        const after = (await control.events({ limit: 1 })).events.at(-1)?.id ?? '0-0'
        const stop = await legitimate(port)
        const looked = args.api === 'ours, embedded' ? undefined : operator(controlPlane.url)
        const started = performance.now()
        const { requests, errors } = await of(port, worker)
        const seconds = (performance.now() - started) / 1000
        const served = await stop()
        const controlMs = await looked?.()
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
          ...(controlMs !== undefined && { controlMs }),
        })
        log(`  ${name}: ${whole(requests / seconds)}/s, ${fixed(1)(served * 100)} % of the others served`)
      },
      { source: true },
    )
    await redis.forgetClients()
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
  /** What newcomers got from a store that is full of offenders. */
  const spent = new Map<string, number>()
  /** Connections of refused clients that are still there. */
  let held = 0
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
    const maxClients = OFFENDERS * scale * 0.5
    const offended = { ...onRedis, api: 'ours, embedded', limit: OFFENDERS_LIMIT, options: { maxClients } } as const
    await play(offended, 'offenders on the embedded store', async (port, worker) => {
      await worker.call('offend', OFFENDERS * scale, OFFENDERS_LIMIT + 5)
      const clients = new Clients(port)
      // All of them at once, in turns: each makes room by having one of the others forgotten.
      const newcomers = Array.from({ length: 20 }, (_, i) => `203.0.113.${i + 1}`)
      for (let i = 0; i < OFFENDERS_LIMIT + 5; i++) {
        const answers = await Promise.all(newcomers.map(client => clients.get(client)))
        for (const { status, client } of answers) if (status === 200) spent.set(client, (spent.get(client) ?? 0) + 1)
      }
      await clients.close()
      return { requests: OFFENDERS * scale * (OFFENDERS_LIMIT + 5), errors: 0 }
    })
    const [connections, ms] = quick ? [100, 2000] : [500, 15_000]
    await play(onRedis, 'headers that come a byte at a time', async port => {
      await dribble({ port, connections, ms }, i => headersOf(i, '/slow'), 'X')
      return { requests: connections, errors: 0 }
    })
    await play(onRedis, 'bodies that come a byte at a time', async port => {
      await dribble({ port, connections, ms }, i => headersOf(i, '/slow') + BODY, '{')
      return { requests: connections, errors: 0 }
    })
    await play(onRedis, 'such bodies of a client that is refused', async port => {
      held = await dribble({ port, connections, ms: PATIENCE_MS }, () => headersOf(0, '/strict') + BODY, '{')
      return { requests: connections, errors: 0 }
    })
  } finally {
    await controlPlane.stop()
    await redis.stop()
  }

  const of = (name: string) => floods.find(flood => flood.name === name) as Flood
  const distinct = of('distinct IPv6 networks')
  const embedded = of('the same on the embedded store')
  const offenders = of('offenders on the embedded store')
  const perOffender = offenders.heapBytes / (OFFENDERS * scale * 0.5)
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
    atMost(
      `heap a client that the embedded store remembers, when each of them spent a limit of ${OFFENDERS_LIMIT} and is blocked`,
      OFFENDER_BYTES,
      perOffender,
      ' B',
    ),
    atMost('admitted to any newcomer while it is full of them', OFFENDERS_LIMIT, Math.max(...spent.values())),
    atMost(`connections of refused clients still open after ${PATIENCE_MS / 1000} s`, 1, held),
    ...floods.flatMap(({ name, controlMs }) =>
      controlMs === undefined ? [] : [atMost(`${name}: longest wait for the control plane, ms`, 1000, controlMs)],
    ),
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
          'control plane, longest ms',
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
          flood.controlMs === undefined ? '–' : whole(flood.controlMs),
        ]),
      },
    ],
    goals,
    notes: [
      `The others are ${OTHERS} clients, each with a request a second since before the flood, on a connection that it keeps, who are served when they get 200 within a second. (Node accepts one connection a turn of its event loop: who connects behind a flood’s 64 connections waits for as many turns.) Heap means heap and buffers, after forced collections. Client, server and Redis share this machine, and so does the control plane of another process, which an operator looks at all the time.`,
      `Offenders ask in the server’s own process, past HTTP: ${whole(OFFENDERS)} of them, twice what the store remembers; newcomers then come by HTTP.`,
    ],
  }
}

export const flood: Bench = { name: 'flood', title: 'Floods', run }
