import { type Algorithm, algorithms, type Limit } from '@api-bouncer/limiter/algorithms'
import { type Bench, type Context, type Goal, type Section, Worker, whole } from '../harness.ts'
import { loadInside } from '../ours.ts'
import { BenchRedis } from '../redis.ts'
import type { Args, Calls } from '../workers/exact.ts'

/** Minutes that the processes' clocks are off. */
const SKEWS = [0, -7, 11, 180, -1440, 3, -0.5, 60]
/** So few that each meets its limits, again and again. */
const CLIENTS = 6

/** Short windows, so that many end and begin while all of them ask. */
const POLICIES = [
  { id: 'sliding', algorithm: 'sliding_window', limits: [{ limit: 40, window: '1s' }] },
  {
    id: 'two',
    algorithm: 'sliding_window',
    limits: [
      { limit: 8, window: '100ms' },
      { limit: 50, window: '2s' },
    ],
  },
  { id: 'bucket', algorithm: 'token_bucket', limits: [{ limit: 40, window: '1s', burst: 60 }] },
  { id: 'gcra', algorithm: 'gcra', limits: [{ limit: 40, window: '1s', burst: 10 }] },
  { id: 'fixed', algorithm: 'fixed_window', limits: [{ limit: 40, window: '1s' }] },
  {
    id: 'three',
    algorithm: 'token_bucket',
    limits: [
      { limit: 10, window: '100ms' },
      { limit: 30, window: '1s' },
      { limit: 5000, window: '1m' },
    ],
  },
]

interface Compiled {
  readonly algorithm: Algorithm
  readonly limits: readonly Limit[]
}

/** How many of these units the reference algorithm would not have given, at the times at which they were taken. */
function excess({ algorithm, limits }: Compiled, taken: readonly number[]): number {
  const counters = limits.map(limit => ({ limit, state: algorithm.fresh(limit, taken[0] as number) }))
  let wrong = 0
  for (const at of taken) {
    if (counters.some(({ limit, state }) => algorithm.available(state, limit, at) < 1)) wrong++
    else for (const { limit, state } of counters) algorithm.take(state, limit, at, 1)
  }
  return wrong
}

async function hammer(kind: 'standalone' | 'Cluster', decisions: number, { seed, log }: Context) {
  const { compilePolicy } = await loadInside()
  const redis = await (kind === 'Cluster' ? BenchRedis.cluster() : BenchRedis.start())
  const workers = await Promise.all(
    SKEWS.map((minutes, i) => {
      const skewMs = minutes * 60_000
      const args: Args = { redis: redis.where, skewMs, policies: POLICIES, clients: CLIENTS, seed: seed + i }
      return Worker.start<Calls>('exact', args, { source: true })
    }),
  )
  try {
    const started = performance.now()
    const each = Math.ceil(decisions / workers.length)
    const told = await Promise.all(workers.map(worker => worker.call('run', each)))
    const seconds = (performance.now() - started) / 1000
    const taken = new Map<string, number[]>()
    const refused = POLICIES.map((_, p) => told.reduce((sum, one) => sum + (one.refused[p] ?? 0), 0))
    for (const one of told) {
      for (const [key, times] of Object.entries(one.taken)) taken.set(key, [...(taken.get(key) ?? []), ...times])
    }
    const rows = POLICIES.map(({ id, algorithm, limits }, p) => {
      const compiled = compilePolicy({ id, algorithm, limits, match: ['*'], cost: 1, mode: 'enforce' }, undefined, {
        algorithm: 'sliding_window',
        failMode: 'open',
      }) as { limits: readonly Limit[] }
      const clients = [...taken]
        .filter(([key]) => key.startsWith(`${p} `))
        .map(([, times]) => times.sort((a, b) => a - b))
      const admitted = clients.reduce((sum, times) => sum + times.length, 0)
      const reference = { algorithm: algorithms[algorithm as keyof typeof algorithms], limits: compiled.limits }
      const wrong = clients.reduce((sum, times) => sum + excess(reference, times), 0)
      const spelled = limits.map(({ limit, window }) => `${limit} per ${window}`).join(', ')
      return { name: `${algorithm}, ${spelled}`, admitted, refused: refused[p] as number, wrong }
    })
    const made = each * workers.length
    log(
      `  ${kind}: ${whole(made)} decisions in ${seconds.toFixed(0)} s, ${rows.map(row => row.wrong).join('/')} too many`,
    )
    return { made, seconds, rows }
  } finally {
    await Promise.all(workers.map(worker => worker.stop()))
    await redis.stop()
  }
}

async function run(context: Context): Promise<Section> {
  const scale = context.quick ? 0.05 : 1
  const kinds = [
    { kind: 'standalone', ...(await hammer('standalone', 1_000_000 * scale, context)) },
    { kind: 'Cluster', ...(await hammer('Cluster', 250_000 * scale, context)) },
  ]
  const goals = kinds.flatMap(({ kind, rows }): Goal[] =>
    rows.flatMap(({ name, admitted, refused, wrong }) => [
      { what: `${kind}: ${name}: admitted too many`, goal: '0', measured: whole(wrong), met: wrong === 0 },
      // None too many says nothing of a limit that nobody met.
      {
        what: `${kind}: ${name}: refused, so that its limit was met`,
        goal: 'at least 1 for 10 admitted',
        measured: `${whole(refused)} for ${whole(admitted)}`,
        met: admitted > 0 && refused >= admitted / 10,
      },
    ]),
  )
  return {
    tables: kinds.map(({ kind, made, seconds, rows }) => ({
      title: `${kind}: ${whole(made)} decisions of ${SKEWS.length} processes in ${seconds.toFixed(0)} s`,
      columns: ['policy', 'admitted', 'refused', 'too many'],
      rows: rows.map(({ name, admitted, refused, wrong }) => [name, ...[admitted, refused, wrong].map(whole)]),
    })),
    goals,
    notes: [
      `The clocks of the processes are off by ${SKEWS.join(', ')} minutes. ${CLIENTS} clients a policy, 64 checks in flight in each process.`,
      'Every unit that was admitted is told with the time at which Redis took it, to the microsecond; afterwards the reference algorithm, which is written apart from the scripts, is asked for each of them in that order. What it would not have given is one too many.',
    ],
  }
}

export const exactness: Bench = { name: 'exactness', title: 'Eight processes on one Redis, their clocks wrong', run }
