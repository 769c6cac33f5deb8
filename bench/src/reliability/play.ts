import { setTimeout as sleep } from 'node:timers/promises'
import { type BouncerEvent, openRedisControl } from '@api-bouncer/limiter'
import { Redis } from 'ioredis'
import { type Bench, type Goal, inWorker, whole } from '../harness.ts'
import { APIS, type Api, type Args, type Calls, isOurs } from './apis.ts'
import type { Fault, Scene } from './faults.ts'
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
/** What Redis was deciding when it struck, or had decided and not yet told, is counted though its answer never comes in time. */
const UNDER_WAY = 64
/** Counts that a failover or a crash may take with it: a second of all. */
const TAIL = 500
const LIMIT = 100

/** What a fault did to those who asked, and to what was counted. */
export interface Figures {
  readonly sent: number
  /** 5xx, or no answer at all. */
  readonly errors: number
  readonly p999Ms: number
  readonly longestMs: number
  /** The longest that this machine kept the API's or the clients' event loop waiting, ms. */
  readonly lagMs: number
  /** Beyond the limit of a client that sent too much. */
  readonly wronglyAdmitted: number
  /** Of clients that sent what they may. */
  readonly wronglyRefused: number
  /** Answered without Redis; ours tells. */
  readonly degraded?: number
  /** Counted in Redis and not answered as counted; ours: one by one, from its own counters. */
  readonly countedUnasked?: number
  /** Refusals that no event tells of, and no gap mark either; ours. */
  readonly eventsLost?: number
  readonly gaps?: number
  /** From the end of the fault to the first request that was counted in Redis again. */
  readonly recoveredMs: number
  readonly unhandled: number
  readonly log: readonly string[]
}

/** Follows the events as another process does, from Redis itself. */
async function follow(scene: Scene) {
  const control = await openRedisControl(scene.direct ?? scene.redis)
  const events: BouncerEvent[] = []
  let [after, gaps, over] = ['0-0', 0, false]
  const read = async () => {
    const page = await control.events({ after, limit: 1000 })
    if (page.gap) gaps++
    events.push(...page.events)
    after = page.events.at(-1)?.id ?? after
  }
  const reading = (async () => {
    while (!over) {
      await read().catch(() => {})
      await sleep(100)
    }
  })()
  return {
    control,
    async end() {
      over = true
      await reading
      await read()
      await control.close()
      return { events, gaps }
    },
  }
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
  const plan = { limit: LIMIT, rps: timing.rps, seconds, seed }
  const { order, modest, greedy } = clientsOf(plan)
  const scene = await fault.open()
  try {
    const args: Args = { api, redis: scene.redis, limit: LIMIT }
    return await inWorker<Calls, Figures>(
      'protected-api',
      args,
      async worker => {
        const clients = new Clients(await worker.call('port'))
        try {
          await counted(clients, scene)
          const watcher = isOurs(api) ? await follow(scene) : undefined
          await worker.call('lag')
          const traffic = send(clients, order, timing.rps)
          await sleep(timing.before * 1000)
          await scene.strike()
          await sleep(during * 1000)
          await scene.mend()
          const recoveredMs = await counted(clients, scene)
          const { sent, lagMs } = await traffic
          const lag = await worker.call('lag')

          const waits = sent.map(({ waitMs }) => waitMs).sort((a, b) => a - b)
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
            longestMs: waits.at(-1) as number,
            lagMs: Math.max(lagMs, lag.max),
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
          // An instance tells its events every second.
          await sleep(2500)
          const { events, gaps } = await watcher.end()
          const told = sum(
            events.map(event =>
              event.type === 'violation' ? event.count : event.type === 'overflow' ? (event.dropped.violation ?? 0) : 0,
            ),
          )
          const limited = sent.filter(({ outcome }) => outcome === 'limited').length
          return {
            ...figures,
            degraded: sent.filter(({ outcome }) => outcome.startsWith('degraded')).length,
            countedUnasked,
            eventsLost: Math.max(0, limited - told),
            gaps,
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
export function promises(fault: Fault, api: Api, figures: Figures, { during }: Timing): Goal[] {
  const { errors, p999Ms, lagMs, wronglyAdmitted, wronglyRefused, degraded = 0, countedUnasked = 0 } = figures
  const { eventsLost = 0, gaps = 0, recoveredMs, unhandled, log } = figures
  const atMost = (what: string, most: number, measured: number, wanted = `at most ${whole(most)}`): Goal => ({
    what: `${api}: ${what}`,
    goal: wanted,
    measured: whole(measured),
    met: measured <= most,
  })
  const strikes = Math.ceil((fault.strikesPerSecond ?? 0) * during) || 1
  const underWay = `at most ${UNDER_WAY} that were under way${strikes > 1 ? `, each of ${strikes} times` : ' when it struck'}`
  const states = log.filter(line => /^degraded|answers/.test(line)).length
  return [
    atMost('5xx and requests without an answer', 0, errors),
    atMost(
      'p99.9 of the wait, ms',
      WAIT_MS + lagMs,
      p999Ms,
      `${WAIT_MS}, and ${whole(lagMs)} that this machine stood still`,
    ),
    atMost('refused that might have passed', 0, wronglyRefused),
    ...(fault.loses === 'all'
      ? []
      : [
          atMost(
            'admitted beyond a limit',
            degraded + (fault.loses === 'tail' ? TAIL : 0),
            wronglyAdmitted,
            `those answered without Redis, ${whole(degraded)}${fault.loses === 'tail' ? `, and ${TAIL} that were not replicated or saved` : ''}`,
          ),
        ]),
    atMost('counted in Redis though answered without it', strikes * UNDER_WAY, countedUnasked, underWay),
    atMost('refusals that neither an event nor a gap mark tells of', 0, gaps > 0 ? 0 : eventsLost),
    atMost('ms from its end until counting again', RECOVERED_MS, recoveredMs),
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
      const { sent, errors, p999Ms, longestMs, lagMs, wronglyAdmitted, wronglyRefused, degraded } = figures
      const events = figures.gaps ? `${shown(figures.eventsLost)}, marked` : shown(figures.eventsLost)
      const recovered = Number.isFinite(figures.recoveredMs) ? whole(figures.recoveredMs) : '> 20,000'
      rows.push([
        api,
        ...[sent, errors, p999Ms, longestMs, lagMs, wronglyAdmitted, wronglyRefused].map(shown),
        shown(degraded),
        events,
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
      'longest ms',
      'machine’s lag ms',
      'wrongly admitted',
      'wrongly refused',
      'answered without Redis',
      'events lost',
      'counting again after ms',
    ]
    return { tables: [{ title: `${timing.rps} requests a second`, columns, rows }], goals, notes: [] }
  },
})
