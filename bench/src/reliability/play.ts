import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { type Bench, type Goal, inWorker, whole } from '../harness.ts'
import { APIS, type Api, type Args, type Calls, isOurs } from './apis.ts'
import type { Fault, Scene } from './faults.ts'
import { longest, stalledWithin } from './lag.ts'
import { type Account, account, Follower } from './told.ts'
import { Clients, clientsOf, send } from './traffic.ts'

export interface Timing {
  readonly rps: number
  /** Before the fault, while it lasts (unless it says), and after it, s. */
  readonly before: number
  readonly during: number
  readonly after: number
}
export const FULL: Timing = { rps: 500, before: 3, during: 5, after: 7 }
export const QUICK: Timing = { rps: 200, before: 2, during: 2.5, after: 4 }

/** Ours: the deadline of a decision, and what a wait may be above it. */
const DEADLINE_MS = 50
const WAIT_MS = DEADLINE_MS + 50
const RECOVERED_MS = 2000
/** What a stall of the machine has piled up is worked off in this time. */
const CATCH_UP_MS = 500
/** What Redis was deciding when it struck, or had decided and not yet told, is counted though its answer never comes in time. */
const UNDER_WAY = 64
/** What an operator had made holds again, and the fleet's view is right. */
const OPERATED_MS = 5000
const LIMIT = 100
/** One instance alone, so all of the limit is its share when it counts for itself. */
const SHARE = LIMIT
/** What an operator makes before the fault: a block, and policies with limits that nobody here meets. */
const BLOCKED = '192.0.2.66'
const KEPT = { id: 'kept', match: '/kept', limits: [{ limit: 10_000, window: '1h' }] }
const changed = (limit: number) => ({ id: 'changed', match: '/changed', limits: [{ limit, window: '1h' }] })

/** What a fault did to those who asked, and to what was counted. */
export interface Figures {
  readonly sent: number
  /** 5xx, or no answer at all. */
  readonly errors: number
  readonly p999Ms: number
  /** The same without what this machine kept the API from its processor meanwhile, or the clients from theirs. */
  readonly p999OwnMs: number
  readonly longestMs: number
  /** The longest that this machine did so, ms. */
  readonly lagMs: number
  /** The longest that the API's event loop was late by its own doing, ms. */
  readonly ownLagMs: number
  /** Beyond the limit of a client that sent too much. */
  readonly wronglyAdmitted: number
  /** Of clients that sent what they may. */
  readonly wronglyRefused: number
  /** What Redis itself let pass beyond a limit, and the most that one client got without it; ours tells. */
  readonly byRedis?: number
  readonly withoutRedis?: number
  /** Answered without Redis; ours tells. */
  readonly degraded?: number
  /** Counted in Redis and not answered as counted; ours: one by one, from its own counters. */
  readonly countedUnasked?: number
  /** Refusals against the events that tell of them; ours. */
  readonly told?: Account
  readonly gaps?: number
  /** From the end of the fault until an operator's change was in force and the fleet's view right; ours. */
  readonly operatedMs?: number
  /** What an operator had made before, and is gone; ours. */
  readonly forgotten?: readonly string[]
  /** From the end of the fault to the first request that was counted in Redis again. */
  readonly recoveredMs: number
  readonly unhandled: number
  readonly log: readonly string[]
}

type Control = Follower['control']
const OPERATOR = { by: 'trial' }

/** When a change of an operator was made, decided by, and the fleet's view right; ms from now, Infinity: not within 20 s. */
async function operate(control: Control, clients: Clients, limit: number): Promise<number> {
  const policy = changed(limit)
  const started = performance.now()
  const isDone = async () => {
    const { policies } = await control.state()
    const isMade = policies.some(({ policy: { id, limits } }) => id === policy.id && limits[0]?.limit === limit)
    if (!isMade) await control.putPolicy(policy, undefined, OPERATOR)
    const { instances } = await control.status()
    const answered = await clients.get('192.0.2.1', performance.now(), policy.match)
    return answered.limit === limit && instances.length === 1 && instances[0]?.instance === 'api'
  }
  while (!(await isDone().catch(() => false))) {
    if (performance.now() - started > 20_000) return Number.POSITIVE_INFINITY
    await sleep(20)
  }
  return performance.now() - started
}

/** When a request of a newcomer was first counted in one of the masters, ms from now; Infinity: not within 20 s. */
async function counted(clients: Clients, scene: Scene): Promise<number> {
  const started = performance.now()
  const looks = scene.masters.map(({ port }) => new Redis({ host: '127.0.0.1', port }).on('error', () => {}))
  try {
    for (let i = 0; performance.now() - started < 20_000; i++) {
      const newcomer = `203.0.${113 + (i >> 8)}.${i & 255}`
      const answered = await clients.get(newcomer)
      const at = performance.now() - started
      const found = await Promise.all(looks.map(look => look.keys(`*${newcomer}*`).catch(() => [])))
      if (found.flat().length > 0 && answered.status === 200) return at
      await sleep(20)
    }
    return Number.POSITIVE_INFINITY
  } finally {
    for (const look of looks) look.disconnect()
  }
}

const sum = (numbers: readonly number[]) => numbers.reduce((total, one) => total + one, 0)

function countBy<T>(list: readonly T[], of: (one: T) => string): Map<string, number> {
  const counts = new Map<string, number>()
  for (const one of list) counts.set(of(one), (counts.get(of(one)) ?? 0) + 1)
  return counts
}

/** One limiter under one fault, with people asking all the while. */
export async function play(fault: Fault, api: Api, timing: Timing, seed: number): Promise<Figures> {
  const during = (fault.seconds ?? 0) > FULL.during ? timing.during * 2 : timing.during
  const seconds = timing.before + during + timing.after
  // Somebody who comes when it has struck: without Redis it meets its limit then, or none.
  const rush = [timing.before + during * 0.3, timing.before + during * 0.9] as const
  const plan = { limit: LIMIT, rps: timing.rps, seconds, seed, rush }
  const { order, modest, greedy } = clientsOf(plan)
  const scene = await fault.open()
  try {
    const args: Args = { api, redis: scene.redis, limit: LIMIT, options: { instance: 'api' } }
    return await inWorker<Calls, Figures>(
      'protected-api',
      args,
      async worker => {
        const clients = new Clients(await worker.call('port'))
        try {
          await counted(clients, scene)
          const watcher = isOurs(api) ? await Follower.of(scene.direct ?? scene.redis) : undefined
          if (watcher) {
            await watcher.control.block({ client: BLOCKED, for: '1h', reason: 'trial' }, OPERATOR)
            await watcher.control.putPolicy(KEPT, undefined, OPERATOR)
            await operate(watcher.control, clients, 10_001)
          }
          await worker.call('lag')
          const traffic = send(clients, order)
          await sleep(timing.before * 1000)
          await scene.strike()
          await sleep(during * 1000)
          await scene.mend()
          const forgotten: string[] = []
          const [recoveredMs, operatedMs] = await Promise.all([
            counted(clients, scene),
            watcher && operate(watcher.control, clients, 10_002),
          ])
          const { sent, stalls } = await traffic
          const lag = await worker.call('lag')

          const waits = sent.map(({ waitMs }) => waitMs).sort((a, b) => a - b)
          const ownWaits = sent.map(({ due, waitMs }) => {
            const from = performance.timeOrigin + due
            // What piled up in a stall shortly before keeps it waiting, too. Both at once are one stall of the machine, not two.
            const stood = [stalls, lag.machine].map(one => stalledWithin(one, from - CATCH_UP_MS, from + waitMs))
            return waitMs - Math.max(...stood)
          })
          ownWaits.sort((a, b) => a - b)
          const admitted = countBy(
            sent.filter(({ status }) => status === 200),
            ({ client }) => client,
          )
          const refused = countBy(
            sent.filter(({ status }) => status === 429),
            ({ client }) => client,
          )
          const figures: Figures = {
            sent: sent.length,
            errors: sent.filter(({ status }) => status === 0 || status >= 500).length,
            p999Ms: waits[Math.floor(waits.length * 0.999)] as number,
            p999OwnMs: ownWaits[Math.floor(waits.length * 0.999)] as number,
            longestMs: waits.at(-1) as number,
            lagMs: longest([...stalls, ...lag.machine]),
            ownLagMs: longest(lag.own),
            wronglyAdmitted: sum(greedy.map(client => Math.max(0, (admitted.get(client) ?? 0) - LIMIT))),
            wronglyRefused: sum(modest.map(client => refused.get(client) ?? 0)),
            recoveredMs,
            unhandled: (await worker.call('unhandled')).length,
            log: [],
          }
          if (!watcher) return figures

          // What a client used, as an operator is told, against what it was answered.
          const answers = countBy(
            sent.filter(({ outcome }) => outcome === 'allowed'),
            ({ client }) => client,
          )
          let countedUnasked = 0
          for (const client of modest) {
            const { usage } = await watcher.control.client(client)
            const limit = usage[0]?.limits[0]
            const used = limit ? limit.limit - limit.remaining : 0
            countedUnasked += Math.max(0, used - (answers.get(client) ?? 0))
          }
          if (fault.loses !== 'all') {
            const { status } = await clients.get(BLOCKED)
            const blocks = await watcher.control.blocks()
            if (status !== 429 || !blocks.blocks.some(({ client }) => client === BLOCKED)) forgotten.push('a block')
          }
          const { policies } = await watcher.control.state()
          const answered = await clients.get('192.0.2.1', performance.now(), KEPT.match)
          if (!policies.some(({ policy }) => policy.id === KEPT.id) || answered.limit !== KEPT.limits[0]?.limit)
            forgotten.push('a policy')
          // An instance tells its events every second.
          await sleep(2500)
          await watcher.end()
          const refusals = sent
            .filter(({ outcome }) => outcome === 'limited')
            .map(({ client, due, waitMs }) => ({ instance: 'api', client, at: performance.timeOrigin + due + waitMs }))
          const given = countBy(
            sent.filter(({ outcome }) => outcome === 'degraded-allowed'),
            ({ client }) => client,
          )
          return {
            ...figures,
            degraded: sent.filter(({ outcome }) => outcome.startsWith('degraded')).length,
            byRedis: sum(greedy.map(client => Math.max(0, (answers.get(client) ?? 0) - LIMIT))),
            withoutRedis: Math.max(0, ...given.values()),
            countedUnasked,
            told: account(refusals, watcher),
            gaps: watcher.gaps.length,
            operatedMs: operatedMs as number,
            forgotten,
            log: await worker.call('log'),
          }
        } finally {
          await clients.close()
        }
      },
      { source: true, quiet: !isOurs(api) },
    )
  } finally {
    await scene.close()
  }
}

/** What we promise of a fault (docs/operations.md), and what came of it. */
export function promises(fault: Fault, api: Api, figures: Figures, { during, rps }: Timing): Goal[] {
  const { errors, p999OwnMs, wronglyRefused, byRedis = 0, withoutRedis = 0, countedUnasked = 0 } = figures
  const { told, operatedMs = 0, forgotten = [], recoveredMs, unhandled, log } = figures
  const atMost = (what: string, most: number, measured: number, wanted = `at most ${whole(most)}`): Goal => ({
    what: `${api}: ${what}`,
    goal: wanted,
    measured: whole(measured),
    met: measured <= most,
  })
  const strikes = Math.ceil((fault.strikesPerSecond ?? 0) * during) || 1
  const underWay = `at most ${UNDER_WAY} that were under way${strikes > 1 ? `, each of ${strikes} times` : ' when it struck'}`
  const states = log.filter(line => /^degraded|answers/.test(line)).length
  // Counts that a failover or a crash may take with it: a second of all.
  const tail = fault.loses === 'tail' ? rps : 0
  return [
    atMost('5xx and requests without an answer', 0, errors),
    atMost('p99.9 of the wait without what this machine stood still, ms', WAIT_MS, p999OwnMs),
    atMost('refused that might have passed', 0, wronglyRefused),
    ...(fault.loses === 'all'
      ? []
      : [
          atMost(
            'admitted by Redis beyond a limit',
            tail,
            byRedis,
            tail === 0 ? '0' : `at most ${whole(tail)} that were not replicated or saved, a second of all`,
          ),
        ]),
    ...(api === 'ours, local'
      ? [atMost('admitted without Redis, to any one client', SHARE, withoutRedis, `at most its share, ${SHARE}`)]
      : []),
    atMost('counted in Redis though answered without it', strikes * UNDER_WAY, countedUnasked, underWay),
    atMost('refusals that no event tells of, outside of marked gaps', 0, told?.lost ?? 0),
    atMost('refusals told of that were none', 0, told?.surplus ?? 0),
    atMost('ms from its end until counting again', RECOVERED_MS, recoveredMs),
    atMost('ms from its end until an operator’s change is in force and the fleet shown', OPERATED_MS, operatedMs),
    {
      what: `${api}: policies${fault.loses === 'all' ? '' : ' and blocks'} made before`,
      goal: 'kept',
      measured: forgotten.length === 0 ? 'kept' : `${forgotten.join(', ')} lost`,
      met: forgotten.length === 0,
    },
    atMost('log lines about the state: start, degraded, well again', 3, states),
    atMost('unhandled rejections', 0, unhandled),
  ]
}

const shown = (value: number | undefined) => (value === undefined ? '–' : whole(value))

/** A fault as a section of the report: every limiter under it, one after the other. */
export const benchOf = (fault: Fault): Bench => ({
  name: fault.name,
  title: fault.title,
  async run({ quick, oursOnly, seed, log }) {
    const timing = quick ? QUICK : FULL
    const rows: string[][] = []
    const goals: Goal[] = []
    for (const api of APIS.filter(api => isOurs(api) || !oursOnly)) {
      const figures = await play(fault, api, timing, seed)
      const { sent, errors, p999Ms, p999OwnMs, longestMs, lagMs, ownLagMs, wronglyAdmitted, wronglyRefused } = figures
      const { told, gaps = 0, degraded } = figures
      const events = told && (gaps > 0 ? `${told.lost}, and ${told.excused} in a marked gap` : whole(told.lost))
      const recovered = Number.isFinite(figures.recoveredMs) ? whole(figures.recoveredMs) : '> 20,000'
      rows.push([
        api,
        ...[sent, errors, p999Ms, p999OwnMs, longestMs, lagMs, ownLagMs, wronglyAdmitted, wronglyRefused].map(shown),
        shown(degraded),
        events ?? '–',
        recovered,
      ])
      log(`  ${rows.at(-1)?.join(' · ')}`)
      if (isOurs(api)) goals.push(...promises(fault, api, figures, timing))
    }
    const columns = [
      'limiter',
      'sent',
      'errors',
      'p99.9 ms',
      'without machine’s lag',
      'longest ms',
      'machine’s lag ms',
      'own lag ms',
      'wrongly admitted',
      'wrongly refused',
      'answered without Redis',
      'events lost',
      'counting again after ms',
    ]
    return { tables: [{ title: `${timing.rps} requests a second`, columns, rows }], goals, notes: [] }
  },
})
