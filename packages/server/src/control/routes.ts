import {
  type Actor,
  auditEntrySchema,
  auditQuery,
  BouncerError,
  blockPageSchema,
  blockRequest,
  blockSchema,
  blocksQuery,
  type ControlPlane,
  clientDetailSchema,
  clientHistorySchema,
  clientSummarySchema,
  clientsQuery,
  controlStateSchema,
  eventPageSchema,
  eventsQuery,
  explainQuery,
  explanationSchema,
  keyInfoSchema,
  keyPageSchema,
  keysQuery,
  listEntrySchema,
  listName,
  listPut,
  policyPut,
  policyRecordSchema,
  settingsSchema,
  statsHistorySchema,
  statsQuery,
  statusSchema,
  strict,
  unblockOptions,
  unblockResult,
} from '@api-bouncer/limiter'
import * as z from 'zod'
import type { Measured } from '../metrics.ts'
import { openApi } from './openapi.ts'
import type { Sessions } from './session.ts'

/** What a handler gets: checked by the route's schemas. */
export interface Call<Body = unknown, Query = unknown> {
  readonly control: ControlPlane
  readonly actor: Actor
  readonly params: Readonly<Record<string, string>>
  readonly body: Body
  readonly query: Query
  readonly measured: Measured
  readonly metrics: Metrics
  readonly dataPlane: string | undefined
  readonly sessions: Sessions | undefined
  /** As the caller reaches it: `http://127.0.0.1:8900`. */
  readonly origin: string
}

export interface Metrics {
  readonly contentType: string
  metrics(): Promise<string>
}

export interface Route {
  readonly method: 'get' | 'put' | 'post' | 'delete'
  readonly path: string
  /** One line, for the index at GET /admin. */
  readonly summary: string
  /** True for what changes nothing though it is no GET: viewers may do it. */
  readonly reads?: boolean
  readonly body?: z.ZodType
  readonly query?: z.ZodType
  /** What it answers, for the OpenAPI document. */
  readonly answer?: z.ZodType
  /** Its value is the answer: a Reply, or JSON; undefined: nothing to say (204). */
  readonly handler: (call: Call) => unknown
}

/** Where the dashboard takes a one-time code. */
export const SIGN_IN_PATH = '/dashboard/sign-in'

/** An answer that is not plain 200 JSON. */
export class Reply {
  readonly status: number
  readonly value: unknown
  /** Set: `value` is text of this type. */
  readonly type: string | undefined

  constructor(status: number, value: unknown, type?: string) {
    this.status = status
    this.value = value
    this.type = type
  }
}

/** A row of the table, its handler typed by its schemas. */
const route = <B extends z.ZodType = z.ZodUndefined, Q extends z.ZodType = z.ZodObject>(
  row: Omit<Route, 'handler' | 'body' | 'query'> & {
    body?: B
    query?: Q
    handler: (call: Call<z.output<B>, z.output<Q>>) => unknown
  },
): Route => row as Route

const version = z
  .string()
  .regex(/^\d{1,9}$/, 'a version is a whole number')
  .transform(Number)
const deletion = strict({ expectedVersion: version.optional(), reason: z.string().max(500).optional() })
const rollback = strict({ version: z.int().min(1), reason: z.string().max(500).optional() })

const p = (call: { params: Readonly<Record<string, string>> }, name: string): string => call.params[name] as string

/** Which list the path names. */
function listOf(call: Call): z.infer<typeof listName> {
  const parsed = listName.safeParse(p(call, 'list'))
  if (parsed.success) return parsed.data
  throw new BouncerError('ERR_NOT_FOUND', `there is no list "${p(call, 'list')}"`, 'The lists are allow and deny')
}

async function policyOf({ control, params }: Call): Promise<unknown> {
  const { policies } = await control.state()
  const record = policies.find(({ policy }) => policy.id === params.id)
  if (record) return record
  throw new BouncerError('ERR_NOT_FOUND', `there is no policy "${params.id}"`, 'GET /admin/policies lists them')
}

function putPolicy({ control, params, body, actor }: Call<z.infer<typeof policyPut>>) {
  const { policy, expectedVersion, confirmWithin, reason } = body
  if (policy.id === params.id) {
    return control.putPolicy(policy, expectedVersion, because(actor, reason), confirmWithin)
  }
  throw new BouncerError('ERR_INVALID', `policy.id: "${policy.id}" is not the "${params.id}" of the path`, 'Use one id')
}

const because = (actor: Actor, reason: string | undefined): Actor =>
  reason === undefined ? actor : { ...actor, reason }

/** The code is in the fragment, which browsers keep to themselves: it reaches no log and no Referer. */
function signInLink(sessions: Sessions | undefined, origin: string) {
  if (!sessions) throw new BouncerError('ERR_NOT_FOUND', 'this control plane has no dashboard')
  const { code, expiresAt } = sessions.makeCode()
  return new Reply(201, { url: `${origin}${SIGN_IN_PATH}#${code}`, expiresAt })
}

/** The whole admin API. */
export const routes: readonly Route[] = [
  route({
    method: 'get',
    path: '/admin',
    summary: 'This list',
    handler: () => ({
      routes: routes.map(({ method, path, summary }) => `${method.toUpperCase()} ${path}: ${summary}`),
    }),
  }),
  route({
    method: 'get',
    path: '/admin/status',
    summary: 'State of the store, the instances and the totals',
    answer: statusSchema,
    handler: async ({ control, dataPlane, measured }) => {
      const status = await control.status()
      const { degraded } = await measured.totals()
      const degradedDecisions = Math.max(degraded, status.degradedDecisions)
      return { ...status, ...(dataPlane && { dataPlane }), degradedDecisions }
    },
  }),
  route({
    method: 'get',
    path: '/admin/state',
    summary: 'Policies, lists, settings and the epoch in one',
    answer: controlStateSchema,
    handler: ({ control }) => control.state(),
  }),
  route({
    method: 'get',
    path: '/admin/seen',
    summary: 'How many instances decide by ?epoch= or a later one; waits up to 2 s for all',
    answer: z.object({ seen: z.int(), of: z.int() }),
    query: strict({ epoch: version }),
    handler: ({ control, query }) => control.seenBy(query.epoch),
  }),
  route({
    method: 'get',
    path: '/admin/clients',
    summary: 'Who is busiest, or ?sort=nearest a limit; ?limit=20',
    answer: z.object({ clients: z.array(clientSummarySchema) }),
    query: clientsQuery,
    handler: async ({ control, query }) => ({ clients: await control.clients(query) }),
  }),
  route({
    method: 'get',
    path: '/admin/clients/:client',
    summary: 'All that is known of one client',
    answer: clientDetailSchema,
    handler: call => call.control.client(p(call, 'client')),
  }),
  route({
    method: 'get',
    path: '/admin/clients/:client/history',
    summary:
      'Its requests by outcome, by the minute, for the last hour; its violations, blocks and unblocks, while the log has them',
    answer: clientHistorySchema,
    handler: call => call.control.clientHistory(p(call, 'client')),
  }),
  route({
    method: 'get',
    path: '/admin/clients/:client/explain',
    summary: 'The decision a request of it would get now, and why: ?method=GET&path=/',
    answer: explanationSchema,
    query: strict({ method: explainQuery.shape.method, path: explainQuery.shape.path }),
    handler: call => call.control.explain({ client: p(call, 'client'), ...call.query }),
  }),
  route({
    method: 'post',
    path: '/admin/explain',
    reads: true,
    summary: 'The same for { client } or { peer, headers }, { method?, path? }; counts nothing',
    answer: explanationSchema,
    body: explainQuery,
    handler: ({ control, body }) => control.explain(body),
  }),
  route({
    method: 'get',
    path: '/admin/blocks',
    summary: 'Who is blocked, soonest to end first, and how many in all; ?limit=1000; ?after=NEXT: the next page',
    answer: blockPageSchema,
    query: blocksQuery,
    handler: ({ control, query }) => control.blocks(query),
  }),
  route({
    method: 'post',
    path: '/admin/blocks',
    summary: 'Block a client: { client, for?, reason? }',
    answer: blockSchema,
    body: blockRequest,
    handler: async ({ control, body, actor }) => new Reply(201, await control.block(body, actor)),
  }),
  route({
    method: 'post',
    path: '/admin/unblock/:client',
    summary: 'Lift a block, violations and counters: { keepCounters?, forget?, grace?, reason? }',
    answer: unblockResult,
    body: unblockOptions.prefault({}),
    handler: call => call.control.unblock(p(call, 'client'), call.body as z.input<typeof unblockOptions>, call.actor),
  }),
  route({
    method: 'get',
    path: '/admin/policies',
    summary: 'Every policy with its version',
    answer: z.object({ epoch: z.int(), policies: z.array(policyRecordSchema) }),
    handler: async ({ control }) => {
      const { epoch, policies } = await control.state()
      return { epoch, policies }
    },
  }),
  route({
    method: 'get',
    path: '/admin/policies/:id',
    summary: 'One policy',
    answer: policyRecordSchema,
    handler: policyOf,
  }),
  route({
    method: 'put',
    path: '/admin/policies/:id',
    summary: 'Make or change a policy: { policy, expectedVersion?, confirmWithin?, reason? }',
    answer: policyRecordSchema,
    body: policyPut,
    handler: putPolicy,
  }),
  route({
    method: 'delete',
    path: '/admin/policies/:id',
    summary: 'Remove a policy: ?expectedVersion=&reason=',
    query: deletion,
    handler: call =>
      call.control.deletePolicy(p(call, 'id'), call.query.expectedVersion, because(call.actor, call.query.reason)),
  }),
  route({
    method: 'get',
    path: '/admin/policies/:id/history',
    summary: 'Earlier versions of a policy, newest first',
    answer: z.object({ history: z.array(policyRecordSchema) }),
    handler: async call => ({ history: await call.control.policyHistory(p(call, 'id')) }),
  }),
  route({
    method: 'post',
    path: '/admin/policies/:id/rollback',
    summary: 'Bring an earlier version back, as a new one: { version, reason? }',
    answer: policyRecordSchema,
    body: rollback,
    handler: call =>
      call.control.rollbackPolicy(p(call, 'id'), call.body.version, because(call.actor, call.body.reason)),
  }),
  route({
    method: 'post',
    path: '/admin/policies/:id/confirm',
    summary: 'Keep a change that would go back by itself',
    answer: policyRecordSchema,
    handler: call => call.control.confirmPolicy(p(call, 'id'), call.actor),
  }),
  route({
    method: 'get',
    path: '/admin/lists',
    summary: 'The allowlist and the denylist',
    answer: z.object({ allow: z.array(listEntrySchema), deny: z.array(listEntrySchema) }),
    handler: async ({ control }) => {
      const { lists } = await control.state()
      return { allow: lists.filter(({ list }) => list === 'allow'), deny: lists.filter(({ list }) => list === 'deny') }
    },
  }),
  route({
    method: 'put',
    path: '/admin/lists/:list/:cidr',
    summary: 'Put a range (10.0.0.0%2F8) on allow or deny: { comment?, for? }',
    answer: listEntrySchema,
    body: listPut.prefault({}),
    handler: call =>
      call.control.putListEntry(listOf(call), p(call, 'cidr'), call.body as z.input<typeof listPut>, call.actor),
  }),
  route({
    method: 'delete',
    path: '/admin/lists/:list/:cidr',
    summary: 'Take a range off a list',
    handler: call => call.control.deleteListEntry(listOf(call), p(call, 'cidr'), call.actor),
  }),
  route({
    method: 'get',
    path: '/admin/settings',
    summary: 'The penalty and what else the fleet shares',
    answer: settingsSchema,
    handler: async ({ control }) => (await control.state()).settings,
  }),
  route({
    method: 'put',
    path: '/admin/settings',
    summary: 'Change them: { penalty?, ipv6Prefix? }; what is left out gets its default',
    answer: settingsSchema,
    body: settingsSchema,
    handler: ({ control, body, actor }) => control.putSettings(body, actor),
  }),
  route({
    method: 'get',
    path: '/admin/events',
    summary: 'Newest events, oldest first; ?after=ID: those that follow it; ?limit=100',
    answer: eventPageSchema,
    query: eventsQuery,
    handler: ({ control, query }) => control.events(query),
  }),
  route({
    method: 'get',
    path: '/admin/stats',
    summary: 'What the fleet did, step by step: ?range=5m, 1h or 24h',
    answer: statsHistorySchema,
    query: statsQuery,
    handler: ({ control, query }) => control.stats(query),
  }),
  route({
    method: 'get',
    path: '/admin/keys',
    summary: 'What is stored, decoded: ?match=*&cursor=0&limit=100',
    answer: keyPageSchema,
    query: keysQuery,
    handler: ({ control, query }) => control.keys(query),
  }),
  route({
    method: 'get',
    path: '/admin/keys/:key',
    summary: 'One key, decoded',
    answer: keyInfoSchema,
    handler: call => call.control.key(p(call, 'key')),
  }),
  route({
    method: 'delete',
    path: '/admin/keys/:key',
    summary: 'Delete a key (no control state)',
    handler: call => call.control.deleteKey(p(call, 'key'), call.actor),
  }),
  route({
    method: 'get',
    path: '/admin/audit',
    summary: "Every operator's change, newest first; ?limit=100",
    answer: z.object({ audit: z.array(auditEntrySchema) }),
    query: auditQuery,
    handler: async ({ control, query }) => ({ audit: await control.audit(query) }),
  }),
  route({
    method: 'get',
    path: '/admin/diagnose',
    summary: "The store's settings and what requests show of proxies, with what mends them",
    handler: async ({ control }) => ({ diagnoses: await control.diagnose() }),
  }),
  route({
    method: 'post',
    path: '/admin/sign-in-link',
    summary: 'A link that signs a browser in to the dashboard, once, within ten minutes',
    answer: z.object({ url: z.string(), expiresAt: z.number() }),
    handler: ({ sessions, origin }) => signInLink(sessions, origin),
  }),
  route({
    method: 'get',
    path: '/admin/openapi.json',
    summary: 'This API as an OpenAPI 3.1 document',
    handler: () => openApi(routes),
  }),
  route({
    method: 'get',
    path: '/metrics',
    summary: 'For Prometheus',
    handler: async ({ metrics }) => new Reply(200, await metrics.metrics(), metrics.contentType),
  }),
]
