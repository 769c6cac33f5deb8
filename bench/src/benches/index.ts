import type { Bench } from '../harness.ts'
import { cli } from './cli.ts'
import { dashboard, dashboardHeap } from './dashboard.ts'
import { embedded } from './embedded.ts'
import { guard } from './guard.ts'
import { httpEmbedded } from './http-embedded.ts'
import { httpRedis } from './http-redis.ts'
import { memoryEmbedded } from './memory-embedded.ts'
import { memoryRedis } from './memory-redis.ts'
import { ops } from './ops.ts'
import { redis } from './redis.ts'

/** All benches, in the order of the report. */
export const benches: readonly Bench[] = [
  embedded,
  httpEmbedded,
  memoryEmbedded,
  redis,
  httpRedis,
  memoryRedis,
  cli,
  ops,
  dashboard,
  dashboardHeap,
  guard,
]
