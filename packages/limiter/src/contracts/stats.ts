import * as z from 'zod'
import { eventSchema, outcomeCounts } from './events.ts'
import { strict } from './strict.ts'

/** An instance that has told nothing of itself for so long, ms, is no longer counted: out of every view within 5 s of its death. */
export const INSTANCE_SILENT_MS = 4000

/** How far back the kept history goes, and how fine: ms. Each range has buckets of its own, kept a little longer than it. */
export const STATS_RANGES = {
  '5m': { rangeMs: 300_000, stepMs: 1000 },
  '1h': { rangeMs: 3_600_000, stepMs: 10_000 },
  '24h': { rangeMs: 86_400_000, stepMs: 300_000 },
} as const
export const statsRange = z.enum(['5m', '1h', '24h'])
export type StatsRange = z.infer<typeof statsRange>

export const statsQuery = strict({ range: statsRange.default('5m') })
export type StatsQuery = z.input<typeof statsQuery>

/** What the whole fleet did in one step. */
export const statsBucketSchema = z.object({
  /** Epoch ms of its start: a multiple of the step. */
  at: z.number(),
  /** Outcomes by policy; `-` stands for no policy. */
  policies: z.record(z.string(), outcomeCounts),
  /** Decisions by time taken, as in a stats frame. */
  latency: z.array(z.int()),
  /** Blocks set. */
  blocks: z.int(),
  /** Instances that told of this step; a step that nobody told of has no bucket. */
  instances: z.int(),
})
export type StatsBucket = z.infer<typeof statsBucketSchema>

export const statsHistorySchema = z.object({
  range: statsRange,
  stepMs: z.int(),
  /** Now by the store's clock, epoch ms. */
  at: z.number(),
  /** Oldest first; the step that is not over yet may be among them. */
  buckets: z.array(statsBucketSchema),
})
export type StatsHistory = z.infer<typeof statsHistorySchema>

/**
 * One client's requests by outcome: kept for the busiest of each second and for everyone refused in it, so a quiet client
 * that was never refused has gaps. A minute a bucket, an hour back. And what happened to it, as far as the log of events goes back.
 */
export const clientHistorySchema = z.object({
  client: z.string(),
  stepMs: z.int(),
  at: z.number(),
  /** Epoch ms of the oldest that is kept; absent: nothing is. */
  from: z.number().optional(),
  /** Oldest first. */
  buckets: z.array(z.object({ at: z.number(), outcomes: outcomeCounts })),
  /** Its violations, blocks and unblocks, oldest first: the newest 200. */
  events: z.array(eventSchema),
  /** Epoch ms of the oldest event that is kept, of whomever; absent: none is. */
  eventsFrom: z.number().optional(),
})
export type ClientHistory = z.infer<typeof clientHistorySchema>
