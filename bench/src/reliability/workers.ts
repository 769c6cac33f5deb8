import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { freePort } from '@api-bouncer/limiter/testing/redis-server'
import { TOKEN } from '../control-plane.ts'
import { type Bench, type Context, fixed, goal, type Section, whole } from '../harness.ts'
import { BenchRedis } from '../redis.ts'
import { Clients, clientsOf, send } from './traffic.ts'

/** The server's own default, per minute. */
const LIMIT = 100
/** Whoever sends before it hears of the death may lose that, too. */
const HEARD_MS = 100

/** The server as `npm start` runs it, with two workers. */
async function startServer(redis: { host: string; port: number }) {
  const [port, adminPort] = [await freePort(), await freePort()]
  const main = fileURLToPath(new URL('../../../packages/server/src/main.ts', import.meta.url))
  const tsx = createRequire(import.meta.url).resolve('tsx')
  const child = spawn(process.execPath, ['--import', tsx, '--conditions=@api-bouncer/source', main], {
    env: {
      ...process.env,
      WORKERS: '2',
      INSTANCE: 'box',
      PORT: String(port),
      ADMIN_PORT: String(adminPort),
      ADMIN_TOKEN: TOKEN,
      REDIS_HOST: redis.host,
      REDIS_PORT: String(redis.port),
      // How long a busy machine takes is not what is tried here.
      DECISION_DEADLINE: '2s',
    },
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  const workers = new Set<number>()
  let said = ''
  child.stdout.on('data', chunk => {
    said += chunk
    const lines = said.split('\n')
    said = lines.pop() as string
    for (const line of lines) {
      const pid = line.includes('counting is shared') ? (JSON.parse(line).pid as number) : child.pid
      if (pid !== child.pid) workers.add(pid as number)
    }
  })
  return {
    port,
    workers,
    /** Who is alive, as an operator is told. */
    async live(): Promise<string[]> {
      const headers = { authorization: `Bearer ${TOKEN}` }
      const answer = await fetch(`http://127.0.0.1:${adminPort}/admin/status`, { headers }).catch(() => undefined)
      const status = (await answer?.json()) as { instances?: { instance: string }[] } | undefined
      return (status?.instances ?? []).map(({ instance }) => instance)
    },
    async stop() {
      const gone = once(child, 'exit')
      child.kill()
      await gone
    },
  }
}

async function run({ quick, seed, log }: Context): Promise<Section> {
  const [rps, seconds] = quick ? [100, 8] : [300, 20]
  const redis = await BenchRedis.start()
  const server = await startServer(redis.where as { host: string; port: number })
  try {
    const shows = async (what: (names: string[]) => boolean) => {
      const started = performance.now()
      let wrong = 0
      while (!what(await server.live())) {
        wrong = performance.now() - started
        if (wrong > 60_000) return Number.POSITIVE_INFINITY
        await sleep(50)
      }
      return wrong
    }
    await shows(names => ['box', 'box#1', 'box#2'].every(name => names.includes(name)))
    while (server.workers.size < 2) await sleep(50)
    const clients = new Clients(server.port)
    const { order, modest, greedy } = clientsOf({ limit: LIMIT, rps, seconds, seed })
    const began = performance.now()
    const traffic = send(clients, order)
    await sleep(2000)
    process.kill([...server.workers][0] as number, 'SIGKILL')
    const killed = performance.now()
    const goneAfter = await shows(names => ['box#1', 'box#2'].filter(name => names.includes(name)).length < 2)
    const backAfter = goneAfter + (await shows(names => names.includes('box#3')))
    const { sent } = await traffic
    await clients.close()

    const lost = sent.filter(({ status }) => status === 0)
    const exposed = sent.filter(({ due, waitMs }) => due <= killed + HEARD_MS && due + waitMs >= killed).length
    const lastLost = Math.max(0, ...lost.map(({ due }) => due - killed))
    const failed = sent.filter(({ status }) => status >= 500).length
    const count = (of: readonly string[], status: number) => {
      const some = new Set(of)
      return sent.filter(one => one.status === status && some.has(one.client)).length
    }
    const admitted = greedy.map(client => count([client], 200))
    const beyond = admitted.reduce((sum, one) => sum + Math.max(0, one - LIMIT), 0)
    const refused = count(modest, 429)
    const lasted = (sent.at(-1)?.due ?? began) - began
    log(
      `  ${lost.length} of ${exposed} lost; out of the view after ${whole(goneAfter)} ms, replaced after ${whole(backAfter)}`,
    )
    return {
      tables: [
        {
          title: `Two workers, ${rps} requests a second for ${whole(lasted / 1000)} s, one killed (SIGKILL) after 2 s`,
          columns: ['', ''],
          rows: [
            ['requests', whole(sent.length)],
            ['lost with it, of those under way', `${lost.length} of ${exposed}`],
            ['the fleet shows its death after', `${fixed(1)(goneAfter / 1000)} s`],
            ['the fleet shows the one in its place after', `${fixed(1)(backAfter / 1000)} s`],
          ],
        },
      ],
      goals: [
        goal('5xx', '0', whole(failed), failed === 0),
        goal('without an answer', `at most ${exposed} under way`, whole(lost.length), lost.length <= exposed),
        goal('the last of these was sent after its death', 'within 1 s', `${whole(lastLost)} ms`, lastLost <= 1000),
        goal('admitted beyond a limit', '0', whole(beyond), beyond === 0),
        goal('refused that might have passed', '0', whole(refused), refused === 0),
        goal(
          'the dead one is out of the view after',
          'at most 5 s',
          `${fixed(1)(goneAfter / 1000)} s`,
          goneAfter <= 5000,
        ),
        goal('another is in its place', 'yes', Number.isFinite(backAfter) ? 'yes' : 'no', Number.isFinite(backAfter)),
      ],
      notes: [
        'The server as `npm start` runs it. Both workers share a port, so whose connections broke is not known: under way are all requests that were sent, and not yet answered, until 100 ms after the death. That the control plane adds up what a dead worker had counted is tested in `packages/server/src/fleet.test.ts`.',
      ],
    }
  } finally {
    await server.stop()
    await redis.stop()
  }
}

export const workers: Bench = { name: 'workers', title: '`WORKERS`: one of two dies', run }
