import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import { type Bench, fixed, goal, type Section, whole } from '../harness.ts'
import { BenchRedis } from '../redis.ts'
import { type Answered, balance, drain, type Instance, startInstance, until } from './balanced.ts'
import { account, Follower, GATHERED_MS, type Refusal } from './told.ts'
import { clientsOf } from './traffic.ts'

const INSTANCES = 3
const LIMIT = 100

async function run({ quick, seed, log }: Parameters<Bench['run']>[0]): Promise<Section> {
  const rps = quick ? 150 : 500
  const rounds = quick ? 1 : 3
  const redis = await BenchRedis.start()
  const where = redis.where as { host: string; port: number }
  let born = 0
  const start = () =>
    startInstance(`api-${++born}`, {
      api: 'ours, open',
      // How long a busy machine takes is not what is tried here.
      redis: { ...where, deadline: '2s' },
      limit: LIMIT,
    })
  const fleet = await Promise.all(Array.from({ length: INSTANCES }, start))
  const follower = await Follower.of(where)
  const { control } = follower
  const shows = (names: readonly string[]) => async () => {
    const live = (await control.status()).instances.map(({ instance }) => instance)
    return live.sort().join() === [...names].sort().join()
  }
  const names = (without?: Instance) => fleet.filter(one => one !== without).map(({ name }) => name)
  const seen: number[] = []
  try {
    await until(shows(names()))
    const seconds = rounds * INSTANCES * 3 + 8
    const { order, modest, greedy } = clientsOf({ limit: LIMIT, rps, seconds, seed })
    const traffic = balance(fleet, order)
    await sleep(2000)
    // One dies without a word, in the middle of what it was asked; the balancer sends it no more.
    const victim = fleet[0] as Instance
    while (victim.under === 0) await nextTurn()
    const underWay = victim.under
    victim.worker.kill()
    victim.serving = false
    const killed = performance.timeOrigin + performance.now()
    // A heartbeat that was on its way arrives.
    await sleep(20)
    const died = await until(shows(names(victim)))
    await victim.clients.close()
    fleet[0] = await start()
    seen.push(await until(shows(names())))
    // Each in turn leaves the balancer, ends what it has begun, stops, and another takes its place.
    for (let i = 0; i < rounds * INSTANCES; i++) {
      const old = fleet[i % INSTANCES] as Instance
      await drain(old)
      await old.worker.stop()
      const gone = await until(shows(names(old)))
      fleet[i % INSTANCES] = await start()
      const back = await until(shows(names()))
      seen.push(gone, back)
    }
    const answers = await traffic
    await sleep(2500)
    const blocked = (await control.blocks()).total
    await follower.end()

    const allowed = new Map<string, number>()
    for (const { client, status } of answers) {
      if (status === 200) allowed.set(client, (allowed.get(client) ?? 0) + 1)
    }
    const wronglyAdmitted = greedy.reduce((sum, one) => sum + Math.max(0, (allowed.get(one) ?? 0) - LIMIT), 0)
    const isModest = new Set(modest)
    const wronglyRefused = answers.filter(({ status, client }) => status === 429 && isModest.has(client)).length
    const asRefusals = (list: readonly Answered[]): Refusal[] =>
      list.map(({ instance, client, due, waitMs }) => ({ instance, client, at: performance.timeOrigin + due + waitMs }))
    const limited = answers.filter(({ outcome }) => outcome === 'limited')
    const alone = answers.filter(({ outcome }) => outcome?.startsWith('degraded'))
    const unheard = answers.filter(({ status, instance }) => status === 0 && instance === victim.name)
    const errors = answers.filter(
      ({ status, instance }) => status >= 500 || (status === 0 && instance !== victim.name),
    ).length
    const told = account(asRefusals(limited), follower, {
      excuses: [{ instance: victim.name, from: killed - GATHERED_MS, to: killed + 1000 }],
      unheard: asRefusals(unheard),
    })
    const slowest = Math.max(...seen)
    log(
      `  ${seen.length >> 1} restarts: fleet right after at most ${whole(slowest)} ms; a dead one gone after ${whole(died)} ms`,
    )
    return {
      tables: [
        {
          title: `${INSTANCES} instances, ${rps} requests a second, ${rounds * INSTANCES} restarts and a crash`,
          columns: ['', ''],
          rows: [
            ['requests', whole(answers.length)],
            ['refusals, and blocks set', `${whole(limited.length)}, ${whole(blocked)}`],
            ['answered without Redis', whole(alone.length)],
            ['the fleet shows a start or a stop after, slowest', `${whole(slowest)} ms`],
            ['lost with the instance that was killed, of those it was asked', `${unheard.length} of ${underWay}`],
            ['refusals that died with it untold', whole(told.excused)],
            ['the fleet shows a crash after', `${fixed(1)(died / 1000)} s`],
          ],
        },
      ],
      goals: [
        goal('5xx and requests without an answer, of instances that live', '0', whole(errors), errors === 0),
        goal(
          'lost with the instance that was killed',
          `at most ${underWay} that it was asked`,
          whole(unheard.length),
          unheard.length <= underWay,
        ),
        goal(
          'admitted beyond a limit',
          `at most ${whole(alone.length)} that were answered without Redis`,
          whole(wronglyAdmitted),
          wronglyAdmitted <= alone.length,
        ),
        goal('refused that might have passed', '0', whole(wronglyRefused), wronglyRefused === 0),
        goal(
          'refusals that no event tells of, but for the last moments of the one killed',
          '0',
          whole(told.lost),
          told.lost === 0,
        ),
        goal('refusals told of that were none', '0', whole(told.surplus), told.surplus === 0),
        goal(
          'clients over their limit that are blocked',
          whole(greedy.length),
          whole(blocked),
          blocked === greedy.length,
        ),
        goal('the fleet’s view is right after', 'at most 5 s', `${fixed(1)(slowest / 1000)} s`, slowest <= 5000),
        goal('a crashed instance is out of the view after', 'at most 5 s', `${fixed(1)(died / 1000)} s`, died <= 5000),
      ],
      notes: [
        'A balancer sends each request to the next instance; one that is to stop is taken out first, ends what it has begun, and closes. The one that crashes is killed (SIGKILL) while it answers, and leaves the balancer only then.',
      ],
    }
  } finally {
    for (const { worker, clients } of fleet) {
      await clients.close()
      await worker.stop()
    }
    await redis.stop()
  }
}

export const rolling: Bench = { name: 'rolling', title: 'Instances come and go', run }
