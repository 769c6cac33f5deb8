import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { afterEach, expect, test, vi } from 'vitest'
import { endAll, ending } from './fleet.fixture.ts'
import { RedisServer } from './redis-server.fixture.ts'

afterEach(endAll)
// Servers start, die and fail over while others use the machine too.
vi.setConfig({ testTimeout: 60_000 })

const CLIENTS = 10
const ROUNDS = 40
/** A month: nothing flows back while the test runs. */
const SLOW = '31d'
const limited = (id: string, limits: object[], algorithm = id) => ({ id, match: `/${id}`, algorithm, limits })

/** What each may admit: the smallest limit (or burst). */
const POLICIES = [
  { policy: limited('sliding_window', [{ limit: 60, window: '1h' }]), admits: 60 },
  { policy: limited('token_bucket', [{ limit: 50, window: SLOW, burst: 70 }]), admits: 70 },
  { policy: limited('gcra', [{ limit: 50, window: SLOW, burst: 30 }]), admits: 30 },
  { policy: limited('fixed_window', [{ limit: 60, window: '1h' }]), admits: 60 },
  {
    policy: limited(
      'three',
      [
        { limit: 40, window: '10m' },
        { limit: 90, window: '1h' },
        { limit: 120, window: '1d' },
      ],
      'sliding_window',
    ),
    admits: 40,
  },
]

test('four processes with clocks minutes apart, hammering one Redis at once, admit exactly the limit', async () => {
  const server = ending(await RedisServer.start(), one => one.stop())
  const plan = { policies: POLICIES.map(({ policy }) => policy), clients: CLIENTS, rounds: ROUNDS }
  const skews = [0, -7 * 60_000, 11 * 60_000, 180 * 60_000]
  const workers = skews.map((skewMs, i) => {
    const given = JSON.stringify({ url: server.url, skewMs, plan, instance: `worker-${i}` })
    const file = fileURLToPath(new URL('exactness.worker.ts', import.meta.url))
    const args = ['--import', 'tsx', '--conditions=@api-bouncer/source', file, given]
    const worker = spawn(process.execPath, args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
    return ending(worker, one => one.kill('SIGKILL'))
  })
  const message = async (worker: ChildProcess) => {
    const ended = once(worker, 'exit').then(([code]) => Promise.reject(new Error(`a worker ended with ${code}`)))
    ended.catch(() => {})
    return (await Promise.race([once(worker, 'message'), ended]))[0]
  }
  const ready = (await Promise.all(workers.map(message))) as { now: number }[]
  ready.forEach(({ now }, i) => {
    expect(Math.abs(now - Date.now() - (skews[i] as number))).toBeLessThan(20_000)
  })

  const answers = workers.map(message)
  const started = performance.now()
  for (const worker of workers) worker.send('go')
  const told = (await Promise.all(answers)) as {
    admitted: Record<string, number>
    outcomes: Record<string, number>
  }[]
  const seconds = (performance.now() - started) / 1000

  // Every request was decided by Redis, and all processes took part.
  for (const { outcomes } of told) expect(Object.keys(outcomes).sort()).toEqual(['allowed', 'limited'])
  const total = skews.length * ROUNDS * CLIENTS * POLICIES.length
  const sums: Record<string, number[]> = {}
  for (const { policy, admits } of POLICIES) {
    const each = Array.from({ length: CLIENTS }, (_, i) =>
      told.reduce((sum, { admitted }) => sum + (admitted[`${policy.match} c${i}`] ?? 0), 0),
    )
    sums[policy.id] = each
    expect(each, policy.id).toEqual(each.map(() => admits))
  }
  console.log(
    `4 processes, clocks ${skews.map(ms => `${ms / 60_000} min`).join(', ')}: ${total} requests in ${seconds.toFixed(1)} s; admitted a client: ${Object.entries(
      sums,
    )
      .map(([id, each]) => `${id} ${[...new Set(each)].join('/')}`)
      .join(', ')}`,
  )
})
