import { setTimeout as sleep } from 'node:timers/promises'
import type { BouncerOptions } from '@api-bouncer/limiter'
import { RedisServer } from '@api-bouncer/limiter/testing/redis-server'
import { Redis } from 'ioredis'
import { type Bench, type Context, fixed, goal, median, random, type Section, Worker, whole } from '../harness.ts'
import type { Args, Calls } from './apis.ts'
import { LagWatch, stalledWithin } from './lag.ts'
import { Network } from './proxy.ts'
import { account, type Excuse, Follower, GATHERED_MS, type Refusal } from './told.ts'
import { Clients } from './traffic.ts'

const WINDOW_MS = 5000
const LIMIT = 20
const RPS = 200
/** A fault is over; so long after, everything is as it was. */
const WELL_MS = 3000
/** What a process knows of a block is asked anew after a second; a heartbeat brings what pub/sub lost. */
const HEARD_MS = 2500

/** The heap is looked at so often. */
const LOOK_MS = 3000
/** 2 kB that each request leaves behind are 1.5× in two minutes. */
const GROWN = 1.2
const mb = (bytes: number) => `${fixed(1)(bytes / 1e6)} MB`

/** Units that any span of a window's length may have, by the algorithm's rule. */
const MOST = { sliding_window: LIMIT, fixed_window: 2 * LIMIT, token_bucket: 30 + LIMIT, gcra: 10 + LIMIT } as const
type Busy = keyof typeof MOST
const BUSY = Object.keys(MOST) as Busy[]

const options: BouncerOptions = {
  policies: [
    ...BUSY.map(algorithm => ({
      id: algorithm,
      match: `/${algorithm}`,
      algorithm,
      limits: [
        {
          limit: LIMIT,
          window: `${WINDOW_MS}ms`,
          ...(algorithm === 'token_bucket' && { burst: 30 }),
          ...(algorithm === 'gcra' && { burst: 10 }),
        },
      ],
    })),
    { id: 'quiet', match: '/quiet', algorithm: 'gcra', limits: [{ limit: 1_000_000, window: '1h' }] },
  ],
  penalty: { threshold: 25, window: '1m', block: '10s' },
}

interface Instance {
  readonly name: string
  readonly worker: Worker<Calls>
  readonly clients: Clients
  /** performance.now() at which it was killed. */
  killed?: number
}

/** An answer that its limiter counted: between when it was sent and when it was answered. */
interface Counted {
  readonly sent: number
  readonly answered: number
}

/** Everything that must hold, all the time; what does not is noted with its moment. */
class Invariants {
  readonly broken: string[] = []
  checked = 0
  private readonly started = performance.now()
  private readonly log: Context['log']

  constructor(log: Context['log']) {
    this.log = log
  }

  holds(what: string, is: boolean): void {
    this.checked++
    if (is || this.broken.length >= 20) return
    this.broken.push(`${fixed(1)((performance.now() - this.started) / 1000)} s: ${what}`)
    this.log(`  broken: ${what}`)
  }
}

/** The most that were counted within any span of a window's length: only those that surely were, whole, inside it. */
function mostWithin(counted: readonly Counted[]): number {
  let most = 0
  for (const { sent } of counted) {
    const inside = counted.filter(one => one.sent >= sent && one.answered <= sent + WINDOW_MS).length
    most = Math.max(most, inside)
  }
  return most
}

async function run({ quick, seed, log }: Context): Promise<Section> {
  const minutes = quick ? 2 : 30
  const chance = random(seed)
  const between = (low: number, high: number) => low + chance() * (high - low)
  const server = await RedisServer.start('--appendonly', 'yes')
  const network = await Network.to(server.port)
  const direct = { host: '127.0.0.1', port: server.port }
  const own = new Redis({ ...direct, maxRetriesPerRequest: null }).on('error', () => {})
  const invariants = new Invariants(log)
  let born = 0
  const start = async (): Promise<Instance> => {
    const redis = { host: '127.0.0.1', port: network.port }
    const name = `api-${++born}`
    const args: Args = { api: 'ours, open', redis, limit: 0, options: { ...options, instance: name } }
    const worker = await Worker.start<Calls>('protected-api', args, { source: true })
    return { name, worker, clients: new Clients(await worker.call('port')) }
  }
  // One lives from the first to the last, and is looked at for what it keeps; the others take the trouble.
  const steady = await start()
  const fleet = [steady, await start(), await start()]
  const follower = await Follower.of(direct)
  const { control } = follower

  const totals = { sent: 0, allowed: 0, limited: 0, blocked: 0, degraded: 0, failed: 0 }
  const counted = new Map<string, Counted[]>()
  const refusals: Refusal[] = []
  /** What nobody was answered: its instance was killed. */
  const unheard: Refusal[] = []
  /** The last moments of instances that were killed. */
  const excuses: Excuse[] = []
  /** Faults: from when to when; the last one may go on. */
  const ills: { from: number; to: number; what: string }[] = []
  const illSince = (since: number) => ills.some(({ to }) => to > since)
  const during = () => (illSince(performance.now()) ? `while ${ills.at(-1)?.what}` : 'without trouble')
  /** Clients that the operator keeps out: since when that is known, and since when it is over. */
  const sentences = new Map<string, { from: number; lifted: number }>()
  let over = false

  /** Of this process, that asks: nothing that an instance did. */
  const lag = new LagWatch()
  async function ask(): Promise<void> {
    const instance = chance() < 0.5 ? steady : (fleet[Math.floor(chance() * fleet.length)] as Instance)
    const kind = chance()
    const path = kind < 0.8 ? `/${BUSY[Math.floor(chance() * BUSY.length)]}` : '/quiet'
    const i = Math.floor(chance() * 10)
    const client = kind < 0.8 ? `198.51.100.${i}` : kind < 0.9 ? `203.0.113.${i}` : `192.0.2.${i}`
    const sent = performance.now()
    const { status, outcome, waitMs } = await instance.clients.get(client, sent, path)
    const answered = performance.now()
    totals.sent++
    if (status === 0) {
      totals.failed++
      unheard.push({ instance: instance.name, client, at: performance.timeOrigin + answered })
      invariants.holds(`no answer from an instance that lives (${client} ${path})`, instance.killed !== undefined)
      return
    }
    invariants.holds(`${status} for ${client} ${path}`, status === 200 || status === 429)
    if (status === 200) {
      const stood = stalledWithin(
        [...lag.machine, ...lag.own],
        performance.timeOrigin + sent,
        performance.timeOrigin + answered,
      )
      invariants.holds(
        `waited ${waitMs.toFixed(0)} ms for ${instance.name}, ${outcome}, ${during()}`,
        waitMs - stood < 1000,
      )
      if (outcome === 'allowed') {
        totals.allowed++
        if (path !== '/quiet') {
          const key = `${client} ${path}`
          const list = counted.get(key)
          if (list) list.push({ sent, answered })
          else counted.set(key, [{ sent, answered }])
        }
        const sentence = sentences.get(client)
        invariants.holds(
          `${client} passed though it is blocked`,
          !sentence || sent < sentence.from || answered > sentence.lifted,
        )
      } else totals.degraded++
      return
    }
    if (outcome === 'limited') {
      totals.limited++
      refusals.push({ instance: instance.name, client, at: performance.timeOrigin + answered })
    } else totals.blocked++
    invariants.holds(`${client}, who does what it may, was refused`, !client.startsWith('203.'))
    if (client.startsWith('192.')) {
      const sentence = sentences.get(client)
      // While Redis cannot be asked, what is known of a block holds until its end: an unblock may not have been heard.
      const free = !sentence || (sent > sentence.lifted + HEARD_MS && !illSince(sentence.lifted - HEARD_MS))
      invariants.holds(`${client} is refused though it was unblocked`, !free)
    }
  }

  const traffic = (async () => {
    const under = new Set<Promise<void>>()
    const began = performance.now()
    for (let i = 0; !over; ) {
      for (; began + (i * 1000) / RPS <= performance.now(); i++) {
        const asked = ask().finally(() => under.delete(asked))
        under.add(asked)
      }
      await sleep(2)
    }
    await Promise.all(under)
  })()

  const heaps: number[] = []
  const files: number[] = []
  const unhandled: string[] = []
  const watching = (async () => {
    while (!over) {
      heaps.push(await steady.worker.call('heap'))
      files.push(await steady.worker.call('files'))
      await sleep(LOOK_MS)
    }
    unhandled.push(...(await steady.worker.call('unhandled')))
  })()

  const operating = (async () => {
    const actor = { by: 'soak' }
    while (!over) {
      const client = `192.0.2.${Math.floor(chance() * 10)}`
      try {
        if (sentences.get(client)?.lifted !== Number.POSITIVE_INFINITY) {
          await control.block({ client, for: '1h', reason: 'soak' }, actor)
          // Every instance asks Redis for a client that it knows nothing of: it holds at once.
          sentences.set(client, { from: performance.now(), lifted: Number.POSITIVE_INFINITY })
        } else {
          const { from } = sentences.get(client) as { from: number }
          const asked = performance.now()
          sentences.set(client, { from, lifted: asked })
          await control.unblock(client, {}, actor)
          sentences.set(client, { from: Number.POSITIVE_INFINITY, lifted: performance.now() })
        }
      } catch {
        // Redis is away: it may or may not have been done. Done again, until it is known.
        const known = sentences.get(client)
        sentences.set(client, { from: Number.POSITIVE_INFINITY, lifted: performance.now() })
        for (let done = false; !done && !over; ) {
          await sleep(200)
          done = await control.unblock(client, {}, actor).then(
            () => true,
            () => false,
          )
        }
        if (known) sentences.set(client, { from: Number.POSITIVE_INFINITY, lifted: performance.now() })
        else sentences.delete(client)
      }
      await sleep(700)
    }
  })()

  const replace = async (i: number, how: 'crash' | 'restart') => {
    const old = fleet[i] as Instance
    fleet[i] = steady
    if (how === 'crash') {
      old.killed = performance.now()
      old.worker.kill()
      // What it had gathered and not told yet is lost with it.
      const now = performance.timeOrigin + old.killed
      excuses.push({ instance: old.name, from: now - GATHERED_MS, to: now + 1000 })
    } else {
      await sleep(1000)
      unhandled.push(...(await old.worker.call('unhandled')))
      await old.worker.call('close')
      await old.worker.stop()
    }
    fleet[i] = await start()
    await old.clients.close()
  }
  const trouble: readonly [string, () => Promise<unknown>][] = [
    [
      'frozen',
      async () => {
        server.freeze()
        await sleep(between(200, 3000))
        server.thaw()
      },
    ],
    [
      'killed and restarted',
      async () => {
        await server.kill()
        await sleep(between(0, 2000))
        await server.start()
      },
    ],
    [
      'late answers',
      async () => {
        network.delayMs = between(20, 200)
        await sleep(3000)
        network.delayMs = 0
      },
    ],
    ['connections cut', async () => network.cut()],
    [
      'silence',
      async () => {
        network.silent = true
        await sleep(between(500, 3000))
        network.silent = false
        network.cut()
      },
    ],
    ['scripts forgotten', () => own.script('FLUSH')],
    ['an instance restarted', () => replace(1 + Math.floor(chance() * 2), 'restart')],
    ['an instance killed', () => replace(1 + Math.floor(chance() * 2), 'crash')],
    [
      'a policy changed and back',
      async () => {
        const policy = (limit: number) => ({ id: 'other', match: '/other', limits: [{ limit, window: '1m' }] })
        await control.putPolicy(policy(Math.ceil(between(1, 100))), undefined, { by: 'soak' })
      },
    ],
  ]

  const played = new Map<string, number>()
  const ends = performance.now() + minutes * 60_000
  let nextLook = performance.now()
  try {
    while (performance.now() < ends) {
      await sleep(between(5000, 15_000))
      const [what, make] = trouble[Math.floor(chance() * trouble.length)] as (typeof trouble)[number]
      const ill = { from: performance.now(), to: Number.POSITIVE_INFINITY, what }
      ills.push(ill)
      await make()
      played.set(what, (played.get(what) ?? 0) + 1)
      await sleep(WELL_MS)
      ill.to = performance.now()
      // All is as before: each instance counts in Redis.
      for (const { clients } of new Set(fleet)) {
        const probe = () => clients.get('203.0.113.200', performance.now(), '/quiet')
        const first = await probe()
        // One that misses its 50 ms on a busy machine says nothing yet.
        const { status, outcome } = first.outcome === 'allowed' ? first : await probe()
        invariants.holds(`${what}: ${status} ${outcome} ${WELL_MS} ms after`, outcome === 'allowed')
      }
      const old = performance.now() - 2 * WINDOW_MS
      for (const [key, list] of counted) {
        const algorithm = key.split('/')[1] as Busy
        const most = mostWithin(list)
        invariants.holds(`${key}: ${most} within ${WINDOW_MS} ms, ${what}`, most <= MOST[algorithm])
        counted.set(
          key,
          list.filter(({ sent }) => sent > old),
        )
      }
      while (ills.length > 50) ills.shift()
      lag.take()
      if (performance.now() < nextLook) continue
      nextLook = performance.now() + 30_000
      for (const { worker } of new Set(fleet.slice(1))) unhandled.push(...(await worker.call('unhandled')))
      const { sent, allowed, limited, blocked, degraded } = totals
      log(
        `  ${fixed(1)(minutes - (ends - performance.now()) / 60_000)} min: ${whole(sent)} sent, ${whole(allowed)} allowed, ${whole(limited)} limited, ${whole(blocked)} blocked, ${whole(degraded)} without Redis; heap ${mb(heaps.at(-1) as number)}, ${files.at(-1)} files; ${invariants.broken.length} broken`,
      )
    }
    over = true
    await Promise.all([traffic, operating, watching])
    await sleep(3000)
  } finally {
    over = true
    await Promise.allSettled([traffic, operating, watching])
    await follower.end()
    lag.close()
    own.disconnect()
    for (const { worker, clients } of new Set(fleet)) {
      await clients.close()
      await worker.stop()
    }
    await network.close()
    await server.stop()
  }

  const told = account(refusals, follower, { excuses, unheard })
  // The first quarter warms up; what a quarter has in common is no garbage of a moment.
  const quarter = Math.floor(heaps.length / 4)
  const early = median(heaps.slice(quarter, 2 * quarter))
  const late = median(heaps.slice(-quarter))
  return {
    tables: [
      {
        title: `${minutes} minutes, ${RPS} requests a second to three instances`,
        columns: ['', ''],
        rows: [
          ['requests', whole(totals.sent)],
          ['allowed, limited, blocked', [totals.allowed, totals.limited, totals.blocked].map(whole).join(', ')],
          ['answered without Redis', whole(totals.degraded)],
          ['lost with an instance that was killed', whole(totals.failed)],
          ['refusals that only a gap mark or the death of their instance tells of', whole(told.excused)],
          ['refusals told twice, the connection broke before their instance heard', whole(told.twice)],
          ['refusals told whose answer was lost with their instance', whole(told.unheard)],
          ...[...played].sort().map(([what, times]) => [`trouble: ${what}`, `${times} times`]),
          ['invariants checked', `${whole(invariants.checked)} times`],
        ],
      },
    ],
    goals: [
      goal(
        'limits kept, blocks honoured, unblocks stick, no 5xx, well again in 3 s',
        'always',
        invariants.broken.length === 0 ? 'always' : invariants.broken.join('; '),
        invariants.broken.length === 0,
      ),
      goal(
        'refusals that no event tells of, outside of marked gaps and the last moments of who was killed',
        '0',
        whole(told.lost),
        told.lost === 0,
      ),
      goal('refusals told of that were none', '0', whole(told.surplus), told.surplus === 0),
      goal('unhandled rejections', '0', unhandled.length === 0 ? '0' : unhandled.join('; '), unhandled.length === 0),
      goal(
        'heap of the instance that lives all along, in the last quarter against the second',
        `at most ${GROWN}×`,
        `${fixed(2)(late / early)}×, ${mb(early)} to ${mb(late)} (medians of ${quarter}, each after a forced collection)`,
        quarter >= 5 && late / early <= GROWN,
      ),
      goal(
        'open files, most',
        'at most 250',
        `${Math.max(...files)} (${files.slice(0, 3).join(', ')} … ${files.slice(-3).join(', ')})`,
        Math.max(...files) <= 250,
      ),
    ],
    notes: [
      `Everything of chance comes from the seed. The limits are ${LIMIT} per ${WINDOW_MS / 1000} s by four algorithms, and every window of all that was counted is checked; ten clients do what they may, ten are blocked and unblocked by an operator all the time.`,
    ],
  }
}

export const soak: Bench = { name: 'soak', title: 'A long run', long: true, run }
