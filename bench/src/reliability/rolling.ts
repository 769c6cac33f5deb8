import { setTimeout as sleep } from 'node:timers/promises'
import { openRedisControl } from '@api-bouncer/limiter'
import { type Bench, fixed, type Goal, type Section, Worker, whole } from '../harness.ts'
import { BenchRedis } from '../redis.ts'
import type { Args, Calls } from './apis.ts'
import { Clients, clientsOf, type Sent } from './traffic.ts'

const INSTANCES = 3
const LIMIT = 100

interface Instance {
  worker: Worker<Calls>
  clients: Clients
  /** Requests that it has not answered yet. */
  under: number
  /** Behind the balancer. */
  serving: boolean
}

/** How long until the fleet shows so many instances, ms. */
async function until(count: number, alive: () => Promise<number>): Promise<number> {
  const started = performance.now()
  while ((await alive()) !== count) {
    if (performance.now() - started > 20_000) return Number.POSITIVE_INFINITY
    await sleep(50)
  }
  return performance.now() - started
}

async function run({ quick, seed, log }: Parameters<Bench['run']>[0]): Promise<Section> {
  const rps = quick ? 150 : 500
  const rounds = quick ? 1 : 3
  const redis = await BenchRedis.start()
  const args: Args = { api: 'ours, open', redis: redis.where as { host: string; port: number }, limit: LIMIT }
  const start = async (): Promise<Instance> => {
    const worker = await Worker.start<Calls>('protected-api', args, { source: true })
    return { worker, clients: new Clients(await worker.call('port')), under: 0, serving: true }
  }
  const fleet = await Promise.all(Array.from({ length: INSTANCES }, start))
  const control = await openRedisControl(args.redis)
  const alive = async () => (await control.status()).instances.length
  const seen: number[] = []
  try {
    await until(INSTANCES, alive)
    // A load balancer: to those behind it, in turn.
    const sent: Promise<Sent>[] = []
    const seconds = rounds * INSTANCES * 3 + 8
    const { order, modest, greedy } = clientsOf({ limit: LIMIT, rps, seconds, seed })
    const began = performance.now()
    const timer = setInterval(() => {
      while (sent.length < order.length) {
        const due = began + (sent.length * 1000) / rps
        if (due > performance.now()) return
        const serving = fleet.filter(one => one.serving)
        const to = serving[sent.length % serving.length] as Instance
        to.under++
        sent.push(
          to.clients.get(order[sent.length] as string, due).finally(() => {
            to.under--
          }),
        )
      }
    }, 2)
    // Each in turn leaves the balancer, ends what it has begun, stops, and another takes its place.
    for (let i = 0; i < rounds * INSTANCES; i++) {
      const old = fleet[i % INSTANCES] as Instance
      old.serving = false
      while (old.under > 0) await sleep(5)
      await old.worker.call('close')
      await old.worker.stop()
      const gone = await until(INSTANCES - 1, alive)
      fleet[i % INSTANCES] = await start()
      const back = await until(INSTANCES, alive)
      seen.push(gone, back)
    }
    // One dies without a word; what it was asked is lost with it.
    const victim = fleet[0] as Instance
    victim.serving = false
    while (victim.under > 0) await sleep(5)
    victim.worker.kill()
    const died = await until(INSTANCES - 1, alive)
    fleet[0] = await start()
    seen.push(await until(INSTANCES, alive))
    while (sent.length < order.length) await sleep(50)
    clearInterval(timer)
    const answers = await Promise.all(sent)
    await sleep(2500)

    const count = (clients: readonly string[], status: number) => {
      const of = new Set(clients)
      return answers.filter(one => one.status === status && of.has(one.client)).length
    }
    const told = new Map<string, number>()
    let blocked = 0
    for (let after = '0-0'; ; ) {
      const { events } = await control.events({ after, limit: 1000 })
      for (const event of events) {
        if (event.type === 'violation') told.set(event.client, (told.get(event.client) ?? 0) + event.count)
        if (event.type === 'blocked') blocked++
      }
      after = events.at(-1)?.id ?? after
      if (events.length < 1000) break
    }
    const limited = answers.filter(({ outcome }) => outcome === 'limited').length
    const events = [...told.values()].reduce((sum, one) => sum + one, 0)
    const errors = answers.filter(({ status }) => status === 0 || status >= 500).length
    const slowest = Math.max(...seen)
    const wronglyAdmitted = count(greedy, 200) - greedy.length * LIMIT
    log(
      `  ${seen.length >> 1} restarts: fleet right after at most ${whole(slowest)} ms; a dead one gone after ${whole(died)} ms`,
    )
    const goal = (what: string, wanted: string, measured: string, met: boolean): Goal => ({
      what,
      goal: wanted,
      measured,
      met,
    })
    return {
      tables: [
        {
          title: `${INSTANCES} instances, ${rps} requests a second, ${rounds * INSTANCES} restarts and a crash`,
          columns: ['', ''],
          rows: [
            ['requests', whole(answers.length)],
            ['refusals, and blocks set', `${whole(limited)}, ${whole(blocked)}`],
            ['the fleet shows a start or a stop after, slowest', `${whole(slowest)} ms`],
            ['the fleet shows a crash after', `${fixed(1)(died / 1000)} s`],
          ],
        },
      ],
      goals: [
        goal('5xx and requests without an answer', '0', whole(errors), errors === 0),
        goal('admitted beyond a limit', '0', whole(wronglyAdmitted), wronglyAdmitted === 0),
        goal('refused that might have passed', '0', whole(count(modest, 429)), count(modest, 429) === 0),
        goal('refusals that no event tells of', '0', whole(limited - events), limited === events),
        goal(
          'clients over their limit that are blocked',
          whole(greedy.length),
          whole(blocked),
          blocked === greedy.length,
        ),
        goal('the fleet’s view is right after', 'at most 5 s', `${fixed(1)(slowest / 1000)} s`, slowest <= 5000),
        goal('a crashed instance is out of the view after', 'at most 6 s', `${fixed(1)(died / 1000)} s`, died <= 6000),
      ],
      notes: [
        'A balancer sends each request to the next instance; one that is to stop is taken out first, ends what it has begun, and closes. The one that crashes is killed (SIGKILL) when it has answered what it was asked.',
      ],
    }
  } finally {
    await control.close()
    for (const { worker, clients } of fleet) {
      await clients.close()
      await worker.stop()
    }
    await redis.stop()
  }
}

export const rolling: Bench = { name: 'rolling', title: 'Instances come and go', run }
