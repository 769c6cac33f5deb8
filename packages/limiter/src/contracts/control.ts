import { z } from 'zod'
import { type Block, blockSchema } from './decision.ts'
import { durationBetween, policySchema, type Settings, settingsSchema } from './policy.ts'
import { strict } from './strict.ts'

/** Who makes a change, as the audit will say it. */
export interface Actor {
  readonly by: string
  readonly reason?: string | undefined
}

/** A policy with its place in history. */
export const policyRecordSchema = z.object({
  policy: policySchema,
  version: z.int(),
  updatedAt: z.number(),
  updatedBy: z.string(),
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
    clients: z.int().optional(),
  }),
  dataPlane: z.string().optional(),
  instances: z.array(
    z.object({
      instance: z.string(),
      version: z.string(),
      uptimeMs: z.number(),
      epoch: z.int(),
      requestsPerSecond: z.number(),
      refusedPerSecond: z.number(),
      degraded: z.int(),
    }),
  ),
  epoch: z.int(),
  policies: z.int(),
  activeBlocks: z.int(),
  /** Decisions since the start of this instance that a fail mode made. */
  degradedDecisions: z.int(),
})
export type Status = z.infer<typeof statusSchema>

export const unblockOptions = strict({
  /** Leave the counters; lift the block and clear the violations only. */
  keepCounters: z.boolean().default(false),
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
})
export type UnblockResult = z.infer<typeof unblockResult>

export const blockRequest = strict({
  client: z.string().min(1).max(200),
  for: durationBetween(1000, 365 * 86_400_000).default('15m'),
  reason: z.string().max(500).default('manual'),
})
export type BlockRequest = z.input<typeof blockRequest>

export const policyPut = strict({
  policy: policySchema,
  /** The version this change was made from; 0: it must not exist. Absent: whatever is there. */
  expectedVersion: z.int().min(0).optional(),
  reason: z.string().max(500).optional(),
})

export const listPut = strict({
  comment: z.string().max(500).optional(),
  for: durationBetween(1000, 3650 * 86_400_000).optional(),
})
export type ListPut = z.input<typeof listPut>

/**
 * All that an operator can do. Implemented over the embedded store and over Redis; the admin API and the command line are
 * written against it. Errors are BouncerErrors with a `code`: ERR_NOT_FOUND, ERR_CONFLICT, ERR_INVALID, ERR_UNAVAILABLE.
 */
export interface ControlPlane {
  status(): Promise<Status>
  blocks(): Promise<Block[]>
  block(request: BlockRequest, actor: Actor): Promise<Block>
  unblock(client: string, options: UnblockOptions, actor: Actor): Promise<UnblockResult>
  state(): Promise<ControlState>
  putPolicy(policy: unknown, expectedVersion: number | undefined, actor: Actor): Promise<PolicyRecord>
  policyHistory(id: string): Promise<PolicyRecord[]>
  rollbackPolicy(id: string, version: number, actor: Actor): Promise<PolicyRecord>
  deletePolicy(id: string, expectedVersion: number | undefined, actor: Actor): Promise<void>
  putListEntry(list: ListName, cidr: string, options: ListPut, actor: Actor): Promise<ListEntry>
  deleteListEntry(list: ListName, cidr: string, actor: Actor): Promise<void>
  putSettings(settings: unknown, actor: Actor): Promise<Settings>
}
