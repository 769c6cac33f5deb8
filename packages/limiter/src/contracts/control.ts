import * as z from 'zod'
import { type Block, blockSchema } from './decision.ts'
import { CONFIRM_MS } from './duration.ts'
import { eventSchema } from './events.ts'
import { durationBetween, policySchema, type Settings, settingsSchema } from './policy.ts'
import type { ClientHistory, StatsHistory, StatsQuery } from './stats.ts'
import { strict } from './strict.ts'

/** Who makes a change, as the audit will say it. */
export interface Actor {
  readonly by: string
  /** Where from: an address, `redis`; for the audit. */
  readonly source?: string | undefined
  readonly reason?: string | undefined
}

/** A policy with its place in history. */
export const policyRecordSchema = z.object({
  policy: policySchema,
  version: z.int(),
  updatedAt: z.number(),
  updatedBy: z.string(),
  /**
   * Unless confirmed by `at` (epoch ms), `policy` is in force again from then on (null: none is). The policy in force is a
   * function of time, so that it goes back by itself, whoever is alive.
   */
  revert: z.object({ at: z.number(), policy: policySchema.nullable() }).optional(),
})
export type PolicyRecord = z.infer<typeof policyRecordSchema>

export const listName = z.enum(['allow', 'deny'])
export type ListName = z.infer<typeof listName>

export const listEntrySchema = z.object({
  list: listName,
  cidr: z.string(),
  comment: z.string().optional(),
  /** Epoch ms; absent: for good. */
  expiresAt: z.number().optional(),
  addedAt: z.number(),
  addedBy: z.string(),
})
export type ListEntry = z.infer<typeof listEntrySchema>

/** All that an instance decides by. `epoch` grows with every change. */
export const controlStateSchema = z.object({
  epoch: z.int(),
  policies: z.array(policyRecordSchema),
  /** Deleted policies and the version they had, so that an old copy never brings one back. */
  tombstones: z.record(z.string(), z.int()),
  /** Policies that another version wrote and this one cannot read: left out, and not to be written over. */
  unreadable: z.array(z.string()).optional(),
  settings: settingsSchema,
  lists: z.array(listEntrySchema),
})
export type ControlState = z.infer<typeof controlStateSchema>

export const statusSchema = z.object({
  state: z.enum(['ok', 'degraded']),
  version: z.string(),
  store: z.object({
    kind: z.string(),
    state: z.enum(['ok', 'degraded']),
    detail: z.string().optional(),
    latencyMs: z.number().optional(),
    /** `Redis 7.0.15`, `Valkey 8.1.0`; of masters that differ each, with a comma. Absent, as the memory: embedded, or no answer. */
    version: z.string().optional(),
    /** What the store uses, of all masters. */
    memoryBytes: z.int().optional(),
    /** Since when it is degraded, epoch ms by the store's clock. */
    since: z.number().optional(),
    clients: z.int().optional(),
    /** Clients that had to be forgotten for want of room while units, violations or a block of theirs counted, since the start. */
    forgotten: z.int().optional(),
  }),
  dataPlane: z.string().optional(),
  /** By name. They are heard of through the store: while it does not answer (no `policies`) the one that answers, at most. */
  instances: z.array(
    z.object({
      instance: z.string(),
      version: z.string(),
      uptimeMs: z.number(),
      epoch: z.int(),
      /** `false`: it is a control plane alone, and decides no request; absent: it decides. */
      decides: z.boolean().optional(),
      requestsPerSecond: z.number(),
      /** Limited, blocked, and refused by fail mode. */
      refusedPerSecond: z.number(),
      /** Of those: in penalty or denylisted. */
      blockedPerSecond: z.number(),
      /** In the newest second. */
      degraded: z.int(),
      /** Since it started; absent: its version does not tell. */
      degradedTotal: z.int().optional(),
    }),
  ),
  epoch: z.int(),
  /** Absent, as the blocks: unknown while the store does not answer. */
  policies: z.int().optional(),
  /** Those that the allowlist wins over are in it. */
  activeBlocks: z.int().optional(),
  /**
   * Decisions that a fail mode made since the start of each instance, of all that are alive and tell; of this server alone
   * while the store does not answer.
   */
  degradedDecisions: z.int(),
})
export type Status = z.infer<typeof statusSchema>

export const unblockOptions = strict({
  /** Leave the counters; lift the block and clear the violations only. */
  keepCounters: z.boolean().default(false),
  /** Forget as well what is kept for people to see: its last refusals, its requests by the minute. */
  forget: z.boolean().default(false),
  /** During this time the client cannot be blocked again by its violations. */
  grace: durationBetween(1000, 7 * 86_400_000).optional(),
  reason: z.string().max(500).optional(),
})
export type UnblockOptions = z.input<typeof unblockOptions>

export const unblockResult = z.object({
  client: z.string(),
  wasBlocked: z.boolean(),
  /** The block that was lifted. */
  block: blockSchema.optional(),
  violations: z.int(),
  /** Policies whose counters were cleared. */
  counters: z.array(z.string()),
  /** Instances that have confirmed it, of those alive that decide requests. */
  seenBy: z.object({ seen: z.int(), of: z.int() }).optional(),
})
export type UnblockResult = z.infer<typeof unblockResult>

/** A page of a list of blocks has at most so many. */
export const MAX_BLOCKS = 10_000

export const blocksQuery = strict({
  limit: z.coerce.number().pipe(z.int().min(1).max(MAX_BLOCKS)).default(1000),
  /** `next` of the page before. */
  after: z
    .string()
    .max(1300)
    .regex(/^\d{1,16}-./, 'this is no `next` of a page of blocks')
    .optional(),
})
export type BlocksQuery = Query<typeof blocksQuery>

export const listedBlockSchema = blockSchema.extend({
  /** The range on the allowlist that wins over it: the client is let in all the same. */
  allowlisted: z.string().optional(),
})
export type ListedBlock = z.infer<typeof listedBlockSchema>

export const blockPageSchema = z.object({
  /** Soonest to end first. */
  blocks: z.array(listedBlockSchema),
  /** How many are in force, on this page or not. */
  total: z.int(),
  /** Where the next page goes on; absent: that was all. */
  next: z.string().optional(),
})
export type BlockPage = z.infer<typeof blockPageSchema>

/** As an operator types it; spelt out, an id of 128 characters may take up nine times as many. */
const typedClient = z.string().min(1).max(1200)

export const blockRequest = strict({
  client: typedClient,
  for: durationBetween(1000, 365 * 86_400_000).default('15m'),
  reason: z.string().max(500).default('manual'),
})
export type BlockRequest = z.input<typeof blockRequest>

/** How long a changed policy may wait to be confirmed. */
export const confirmTime = durationBetween(CONFIRM_MS.least, CONFIRM_MS.most)

export const policyPut = strict({
  policy: policySchema,
  /** The version this change was made from; 0: it must not exist. Absent: whatever is there. */
  expectedVersion: z.int().min(0).optional(),
  /** Goes back by itself unless confirmed within this time. */
  confirmWithin: confirmTime.optional(),
  reason: z.string().max(500).optional(),
})

export const listPut = strict({
  comment: z.string().max(500).optional(),
  for: durationBetween(1000, 3650 * 86_400_000).optional(),
})
export type ListPut = z.input<typeof listPut>

/** One operator's change: who, when, from where, what, and what it was before. */
export const auditEntrySchema = z.object({
  id: z.string(),
  at: z.number(),
  by: z.string(),
  source: z.string(),
  action: z.enum([
    'block',
    'unblock',
    'policy.put',
    'policy.confirm',
    'policy.delete',
    'list.put',
    'list.delete',
    'settings.put',
    'key.delete',
  ]),
  target: z.string(),
  reason: z.string().optional(),
  before: z.unknown().optional(),
  after: z.unknown().optional(),
  /** When a put policy goes back unless it is confirmed. */
  goesBackAt: z.number().optional(),
})
export type AuditEntry = z.infer<typeof auditEntrySchema>

const limitVerdict = z.object({
  /** The most units that can be had at once. */
  limit: z.int(),
  /** Units a window, where a burst makes `limit` another number. */
  perWindow: z.int().optional(),
  windowMs: z.int(),
  remaining: z.int(),
  resetAfterMs: z.int(),
  retryAfterMs: z.int().optional(),
})

/** A client's standing under one policy. */
export const usageSchema = z.object({
  policy: z.string(),
  mode: z.enum(['enforce', 'shadow']),
  algorithm: z.string(),
  match: z.array(z.string()),
  limits: z.array(limitVerdict),
})
export type Usage = z.infer<typeof usageSchema>

export const refusalSchema = z.object({ at: z.number(), policy: z.string(), route: z.string(), limit: z.string() })

export const clientSummarySchema = z.object({
  client: z.string(),
  /** In the newest second of every instance, where it is among the busiest. */
  requestsPerSecond: z.number(),
  state: z.enum(['ok', 'near', 'limited', 'blocked']),
  /** The counter that is fullest. */
  policy: z.string().optional(),
  used: z.int(),
  limit: z.int(),
  blockedUntil: z.number().optional(),
  /** The range on the allowlist that lets it in, whatever it used and even if it is blocked; its state is `ok`. */
  allowlisted: z.string().optional(),
})
export type ClientSummary = z.infer<typeof clientSummarySchema>

/** As callers write it; in a URL the number is text. */
type Query<T extends z.ZodType> = Omit<z.input<T>, 'limit'> & { limit?: number }

export const clientsQuery = strict({
  sort: z.enum(['busiest', 'nearest']).default('busiest'),
  limit: z.coerce.number().pipe(z.int().min(1).max(500)).default(20),
})
export type ClientsQuery = Query<typeof clientsQuery>

export const clientDetailSchema = z.object({
  client: z.string(),
  at: z.number(),
  block: blockSchema.optional(),
  allowlisted: z.string().optional(),
  denylisted: z.string().optional(),
  usage: z.array(usageSchema),
  /** Times of violations in the penalty's window, by the policy that counts its own ('': the shared count). */
  violations: z.record(z.string(), z.array(z.number())),
  /** Newest first. */
  refusals: z.array(refusalSchema),
  offences: z.int(),
  graceUntil: z.number().optional(),
})
export type ClientDetail = z.infer<typeof clientDetailSchema>

export const explainQuery = strict({
  client: typedClient.optional(),
  /** Instead of a client: the address of the socket, and the headers that came with it. */
  peer: z.string().max(100).optional(),
  headers: z.record(z.string(), z.string().max(8192)).default({}),
  method: z
    .string()
    .regex(/^[A-Z][A-Z-]*$/, 'a method in capitals')
    .default('GET'),
  path: z.string().regex(/^\//, 'a path starts with /').max(8192).default('/'),
})
export type ExplainQuery = z.input<typeof explainQuery>

/** The decision a request would get now, and every step to it. Nothing was counted. */
export const explanationSchema = z.object({
  at: z.number(),
  client: z.string(),
  method: z.string(),
  path: z.string(),
  outcome: z.enum(['allowed', 'limited', 'blocked', 'exempt']),
  reason: z.string(),
  retryAfterMs: z.number().optional(),
  identity: z.object({
    address: z.string().optional(),
    hops: z.array(z.string()),
    /** That named those behind the peer, lower case; absent when no header was believed. */
    header: z.string().optional(),
    probablyProxy: z.boolean(),
    /** Why: not trusted, or trusted and naming nobody. Absent: its version does not tell. */
    proxy: z.enum(['untrusted', 'silent']).optional(),
  }),
  /** Absent: none applies. */
  policy: z.string().optional(),
  /** All that match, the one that wins first. */
  matched: z.array(
    z.object({
      policy: z.string(),
      mode: z.enum(['enforce', 'shadow']),
      match: z.string(),
      limits: z.array(z.string()),
      algorithm: z.string(),
    }),
  ),
  allowlisted: z.string().optional(),
  denylisted: z.string().optional(),
  block: blockSchema.optional(),
  violations: z.array(z.number()),
  /** Newest first. */
  refusals: z.array(refusalSchema),
  limits: z.array(limitVerdict),
})
export type Explanation = z.infer<typeof explanationSchema>

export const keysQuery = strict({
  match: z.string().max(500).default('*'),
  cursor: z
    .string()
    .regex(/^\d{1,9}(:\d{1,19}(:[0-9a-f]{16})?)?$/, 'a cursor is what a page ended with; 0 begins')
    .default('0'),
  limit: z.coerce.number().pipe(z.int().min(1).max(1000)).default(100),
})
export type KeysQuery = Query<typeof keysQuery>

/** One stored key, decoded into words. */
export const keyInfoSchema = z.object({
  key: z.string(),
  type: z.string(),
  /** What it is and says: `sliding window log of 1.2.3.4 under auth (60s): 12 units, newest 14:03:11`. */
  words: z.string(),
  ttlMs: z.number().optional(),
  bytes: z.int().optional(),
  value: z.unknown().optional(),
})
export type KeyInfo = z.infer<typeof keyInfoSchema>
export const keyPageSchema = z.object({ keys: z.array(keyInfoSchema), /** `0`: that was all. */ cursor: z.string() })
export type KeyPage = z.infer<typeof keyPageSchema>

export const eventsQuery = strict({
  /** Only what came after this event id. Absent: the newest. */
  after: z
    .string()
    .regex(/^\d{1,15}-\d{1,15}$/, 'an event id looks like 1702483200000-0')
    .optional(),
  limit: z.coerce.number().pipe(z.int().min(1).max(1000)).default(100),
})
export type EventsQuery = Query<typeof eventsQuery>
export const eventPageSchema = z.object({
  events: z.array(eventSchema),
  /** True when events between `after` and the first of these are lost. */
  gap: z.boolean(),
})
export type EventPage = z.infer<typeof eventPageSchema>

export const auditQuery = strict({ limit: z.coerce.number().pipe(z.int().min(1).max(1000)).default(100) })
export type AuditQuery = Query<typeof auditQuery>

/** One thing that a doctor looked at, and what mends it where it is not as it should be. */
export const diagnosisSchema = z.object({
  /** What was looked at: `redis eviction`, `proxy`. */
  about: z.string(),
  /** `unknown`: it could not be looked at, and `says` tells why. */
  verdict: z.enum(['ok', 'warning', 'problem', 'unknown']),
  says: z.string(),
  mend: z.string().optional(),
})
export type Diagnosis = z.infer<typeof diagnosisSchema>

/**
 * All that an operator can do. Implemented over a store and ledger (embedded or Redis) and over HTTP; every command of the
 * command line is written against it. Errors are BouncerErrors with a `code`: ERR_NOT_FOUND, ERR_CONFLICT, ERR_INVALID,
 * ERR_UNAVAILABLE; over HTTP also ERR_UNAUTHORISED.
 */
export interface ControlPlane {
  status(): Promise<Status>
  /**
   * Who is busiest now, or nearest a limit: of the busiest of the last second and minute, those near a limit that remembers
   * them, those refused in the last minute and those blocked.
   */
  clients(query: ClientsQuery): Promise<ClientSummary[]>
  /** All that is known of one client. */
  client(client: string): Promise<ClientDetail>
  /** Its requests by outcome, by the minute, for the last hour; and its violations, blocks and unblocks, while they are kept. */
  clientHistory(client: string): Promise<ClientHistory>
  /** What the whole fleet did: kept for a day. */
  stats(query: StatsQuery): Promise<StatsHistory>
  explain(query: ExplainQuery): Promise<Explanation>
  /** Blocks in force, soonest to end first, a page of them. */
  blocks(query?: BlocksQuery): Promise<BlockPage>
  block(request: BlockRequest, actor: Actor): Promise<Block>
  unblock(client: string, options: UnblockOptions, actor: Actor): Promise<UnblockResult>
  /** Policies, lists, settings and the epoch. */
  state(): Promise<ControlState>
  /** With `confirmWithin` it goes back by itself unless confirmed within that time. */
  putPolicy(
    policy: unknown,
    expectedVersion: number | undefined,
    actor: Actor,
    confirmWithin?: string | number,
  ): Promise<PolicyRecord>
  /** Keeps a policy that would go back by itself. */
  confirmPolicy(id: string, actor: Actor): Promise<PolicyRecord>
  policyHistory(id: string): Promise<PolicyRecord[]>
  rollbackPolicy(id: string, version: number, actor: Actor): Promise<PolicyRecord>
  deletePolicy(id: string, expectedVersion: number | undefined, actor: Actor): Promise<void>
  putListEntry(list: ListName, cidr: string, options: ListPut, actor: Actor): Promise<ListEntry>
  deleteListEntry(list: ListName, cidr: string, actor: Actor): Promise<void>
  putSettings(settings: unknown, actor: Actor): Promise<Settings>
  keys(query: KeysQuery): Promise<KeyPage>
  key(key: string): Promise<KeyInfo>
  deleteKey(key: string, actor: Actor): Promise<void>
  events(query: EventsQuery): Promise<EventPage>
  /** Newest first. */
  audit(query: AuditQuery): Promise<AuditEntry[]>
  /** How many of the live instances that decide requests do so by this epoch or a later one; waits up to 2 s for all. */
  seenBy(epoch: number): Promise<{ seen: number; of: number }>
  /** Looks at the store's settings and at what real requests show; changes nothing. */
  diagnose(): Promise<Diagnosis[]>
}
