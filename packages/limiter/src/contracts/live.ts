import * as z from 'zod'
import { clientSummarySchema, statusSchema } from './control.ts'
import { eventSchema, outcomeCounts } from './events.ts'

/** Where the control plane's socket.io answers. */
export const LIVE_PATH = '/dashboard/live'

/** What a subscriber asks for: totals every second, or events as they come. */
export const liveTopic = z.enum(['frames', 'events'])
export type LiveTopic = z.infer<typeof liveTopic>

/** The whole fleet in the last second, added up once for all who watch. */
export const liveFrameSchema = z.object({
  /** Grows by one a frame: who misses some sees it. */
  seq: z.int(),
  /** Epoch ms by the store's clock: browsers tell times by it, not by their own. */
  at: z.number(),
  spanMs: z.number(),
  policies: z.record(z.string(), outcomeCounts),
  latency: z.array(z.int()),
  blocks: z.int(),
  store: z.object({
    kind: z.string(),
    state: z.enum(['ok', 'degraded']),
    detail: z.string().optional(),
    latencyMs: z.number().optional(),
    /** Epoch ms; since when it is degraded. */
    since: z.number().optional(),
  }),
  instances: statusSchema.shape.instances,
  epoch: z.int(),
  /** Absent: unknown while the store does not answer. */
  activeBlocks: z.int().optional(),
  busiest: z.array(clientSummarySchema),
  nearest: z.array(clientSummarySchema),
})
export type LiveFrame = z.infer<typeof liveFrameSchema>

/** Events of at most the last second, in order; what did not fit is counted by type. */
export const liveEventsSchema = z.object({
  events: z.array(eventSchema),
  dropped: z.record(z.string(), z.int()),
})
export type LiveEvents = z.infer<typeof liveEventsSchema>

/** What the server sends: socket.io's ServerToClientEvents. Each topic at most once a second. */
export interface LiveToBrowser {
  frame(frame: LiveFrame): void
  events(batch: LiveEvents): void
  /** The session is over (signed out, expired): the connection is closed after it. */
  signedOut(reason: string): void
}

/** What a browser may ask: socket.io's ClientToServerEvents. Nothing that changes anything. */
export interface BrowserToLive {
  subscribe(topic: LiveTopic): void
  unsubscribe(topic: LiveTopic): void
}

/** Who is signed in. `csrf` goes into the X-CSRF-Token header of every change that the cookie's session makes. */
export const sessionSchema = z.object({
  role: z.enum(['operator', 'viewer']),
  by: z.string(),
  csrf: z.string(),
  /** Epoch ms by the server's clock. */
  now: z.number(),
  expiresAt: z.number(),
  idleMs: z.int(),
  dataPlane: z.string().optional(),
  version: z.string(),
})
export type Session = z.infer<typeof sessionSchema>
