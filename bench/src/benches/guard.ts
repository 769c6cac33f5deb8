import { type Bench, type Context, type Goal, goalOf, interleave, median, ratios, type Section } from '../harness.ts'
import { BenchRedis } from '../redis.ts'
import type { Contender } from '../workers/embedded.ts'
import { measure } from './embedded.ts'
import { alike, play, tell } from './redis.ts'

/**
 * A short look for CI: ratios against peers in the same run, held to floors so far below what is measured on a quiet machine
 * (docs/performance.md) that noise does not reach them, and a change that halves our speed does.
 */
async function run({ seed, log }: Context): Promise<Section> {
  const peers = ['rate-limiter-flexible', 'rate-limit-redis'] as const
  const goals: Goal[] = []
  const redis = await BenchRedis.start()
  try {
    const scene = { title: '', clients: 1000, each: 20, inFlight: 64, rounds: 3 }
    const [measured] = await play(redis, alike(['ours', ...peers]), [scene], { generations: 1, warm: 2, seed })
    const { against, rival, table } = tell('64 in flight', measured as NonNullable<typeof measured>, peers)
    goals.push(
      goalOf(`On Redis, 64 in flight: checks a second against ${rival}`, 'at least', 1.2, against('ours', 'perSecond')),
      goalOf(`On Redis, 64 in flight: Node CPU a check against ${rival}`, 'at most', 0.6, against('ours', 'node')),
      goalOf(`On Redis, 64 in flight: Redis CPU a check against ${rival}`, 'at most', 0.95, against('ours', 'redis')),
    )
    for (const row of table.rows) log(`  ${row.join(' · ')}`)
  } finally {
    await redis.stop()
  }

  const contenders: readonly Contender[] = [
    'our middleware',
    "rate-limiter-flexible's middleware",
    "express-rate-limit's middleware",
  ]
  const speeds = await interleave(contenders, 3, async contender => {
    const { perSecond } = await measure({ contender, clients: 1000, limit: 100, replace: true, seed }, 0.2)
    return perSecond
  })
  for (const contender of contenders) log(`  ${contender}: ${Math.round(median(speeds[contender]) / 1000)}k checks/s`)
  const ours = speeds['our middleware']
  goals.push(
    goalOf(
      'Embedded middleware against rate-limiter-flexible’s',
      'at least',
      0.55,
      ratios(ours, speeds["rate-limiter-flexible's middleware"]),
    ),
    goalOf(
      'Embedded middleware against express-rate-limit’s',
      'at least',
      3,
      ratios(ours, speeds["express-rate-limit's middleware"]),
    ),
  )
  return { tables: [], goals, notes: [] }
}

export const guard: Bench = { name: 'guard', title: 'The guard', long: true, run }
