import * as z from 'zod'
import { blockSchema, OUTCOMES } from './decision.ts'

const base = {
  /** Grows; a stream id (`ms-seq`). */
  id: z.string(),
  /** The id of the event before this one: a reader who holds another one has missed something. `0-0` starts. */
  prev: z.string(),
  /** Epoch ms. */
  at: z.number(),
  /** The instance that saw it. */
  instance: z.string(),
}

const change = { by: z.string(), reason: z.string().optional() }

export const eventSchema = z.discriminatedUnion('type', [
  /** Enforced refusals of one client, at most one event a second; `count` says how many. */
  z.object({
    ...base,
    type: z.literal('violation'),
    client: z.string(),
    policy: z.string(),
    route: z.string(),
    count: z.int(),
    /** Violations in the penalty's window after these. */
    violations: z.int(),
  }),
  z.object({ ...base, type: z.literal('blocked'), client: z.string(), block: blockSchema }),
  z.object({
    ...base,
    type: z.literal('unblocked'),
    client: z.string(),
    ...change,
    /** What was lifted, in words. */
    lifted: z.array(z.string()),
    /** What was kept of it for people to see is forgotten too. */
    forgotten: z.literal(true).optional(),
  }),
  z.object({
    ...base,
    type: z.literal('policy-changed'),
    policy: z.string(),
    version: z.int(),
    action: z.enum(['put', 'deleted']),
    ...change,
  }),
  z.object({
    ...base,
    type: z.literal('list-changed'),
    list: z.enum(['allow', 'deny']),
    cidr: z.string(),
    action: z.enum(['added', 'removed']),
    ...change,
  }),
  z.object({ ...base, type: z.literal('settings-changed'), ...change }),
  z.object({ ...base, type: z.literal('store-state'), state: z.enum(['ok', 'degraded']), detail: z.string() }),
  /** What came after the event `after` could not be read any more: told by the reader to itself, never kept. */
  z.object({ ...base, type: z.literal('gap'), after: z.string() }),
  /** More happened than is told one by one: counts by type over the last second. */
  z.object({ ...base, type: z.literal('overflow'), dropped: z.record(z.string(), z.int()) }),
])
export type BouncerEvent = z.infer<typeof eventSchema>
export type EventType = BouncerEvent['type']

type DistributiveOmit<T, K extends PropertyKey> = T extends unknown ? Omit<T, K> : never
/** An event before the log has given it its place. */
export type NewEvent = DistributiveOmit<BouncerEvent, 'id' | 'prev' | 'at' | 'instance'>

/** Upper bounds of the decision-time buckets, seconds; a last one is without bound. */
export const LATENCY_BUCKETS = [
  0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1,
] as const

const COUNTED = [...OUTCOMES, 'shadow-allowed', 'shadow-limited'] as const
/** Outcomes that only a newer version has are left out. */
export const outcomeCounts = z.object(
  Object.fromEntries(COUNTED.map(outcome => [outcome, z.int().exactOptional()])) as Record<
    (typeof COUNTED)[number],
    z.ZodExactOptional<z.ZodInt>
  >,
)
export type OutcomeCounts = z.infer<typeof outcomeCounts>

/** So many clients are told apart in one second by one instance. */
export const TOP_CLIENTS = 1024

/** What one instance did in the last second. Who shows the fleet adds the frames up. */
export const statsFrameSchema = z.object({
  /** Grows when a field changes its meaning; one more field is no new number. */
  v: z.int(),
  at: z.number(),
  instance: z.string(),
  version: z.string(),
  /** The control state that this instance decides by. */
  epoch: z.int(),
  /** `false`: it is a control plane alone, and decides no request; absent: it decides. */
  decides: z.boolean().optional(),
  /** How long the frame covers, ms. */
  spanMs: z.number(),
  uptimeMs: z.number(),
  /** Outcomes by policy; `-` stands for no policy. */
  policies: z.record(z.string(), outcomeCounts),
  /** Decisions by time taken: one count a bucket of LATENCY_BUCKETS, then those above. */
  latency: z.array(z.int()),
  /**
   * The 20 busiest clients, busiest first, then others that were refused, at most 200 in all. `count` is exact while no more
   * than TOP_CLIENTS different ones come in a second, and never too high.
   */
  top: z.array(z.object({ client: z.string(), count: z.int(), outcomes: outcomeCounts.optional() })),
  /**
   * Who else is worth a look: near a limit that remembers them still, then the busiest of the last minute; at most 150.
   * Absent: the instance's version does not tell.
   */
  lately: z.array(z.string()).optional(),
  /** Blocks set, and events not told one by one. */
  blocks: z.int(),
  overflow: z.int(),
  /** Decisions that a fail mode made since the instance started; absent: its version does not tell. */
  degraded: z.int().optional(),
  /**
   * What the requests since its start have shown of proxies in front of it: the first address that is probably the operator's
   * own load balancer, not trusted (`untrusted`), and the first that is trusted and names nobody behind it (`silent`; `unknown`:
   * a unix socket). Absent: its version does not tell.
   */
  proxy: z.object({ requests: z.int(), untrusted: z.string().optional(), silent: z.string().optional() }).optional(),
  store: z.object({
    kind: z.string(),
    state: z.enum(['ok', 'degraded']),
    /** Round trip of the last answer, ms; absent in process. */
    latencyMs: z.number().optional(),
  }),
})
export type StatsFrame = z.infer<typeof statsFrameSchema>

/**
 * A frame of any version. Who it is, which version, and by which epoch it decides stays for ever where it is, so that nobody
 * who lives is missing from the fleet; what this version cannot read of the rest reads as nothing.
 */
export const foreignFrameSchema = statsFrameSchema.extend({
  policies: statsFrameSchema.shape.policies.catch({}),
  latency: statsFrameSchema.shape.latency.catch([]),
  top: statsFrameSchema.shape.top.catch([]),
  lately: statsFrameSchema.shape.lately.catch(undefined),
  blocks: z.int().catch(0),
  overflow: z.int().catch(0),
  degraded: statsFrameSchema.shape.degraded.catch(undefined),
  proxy: statsFrameSchema.shape.proxy.catch(undefined),
  store: statsFrameSchema.shape.store.catch({ kind: 'unknown', state: 'ok' }),
})
