import type { IncomingHttpHeaders } from 'node:http'
import {
  type ClientDetail,
  type ClientSummary,
  type Explanation,
  type LimitVerdict,
  own,
  type StatsFrame,
  type Usage,
} from '../contracts/index.ts'
import { normaliseAddress } from '../identity/address.ts'
import { type Identity, NO_ADDRESS, type Peer } from '../identity/identify.ts'
import type { Rules } from '../policies/rules.ts'
import { type CompiledPolicy, describeLimit } from '../policies/table.ts'
import { LATELY_MS } from '../stats/lately.ts'
import type { Backend } from '../stores/backend.ts'

/** What an operator can see. Reads, and counts nothing. */

/** What the limits of a policy say, with their rates where a burst hides them. */
const toldBy = ({ limits }: CompiledPolicy, verdicts: readonly LimitVerdict[]) =>
  verdicts.map((verdict, i) => {
    const perWindow = limits[i]?.limit
    return perWindow === verdict.limit ? { ...verdict } : { ...verdict, perWindow }
  })

export const usageOf = (policy: CompiledPolicy, limits: readonly LimitVerdict[]): Usage => ({
  policy: policy.id,
  mode: policy.shadow ? 'shadow' : 'enforce',
  algorithm: policy.algorithm.id,
  match: policy.source.match,
  limits: toldBy(policy, limits),
})

const asked = (client: string, policy: CompiledPolicy) => ({
  client,
  policy,
  cost: policy.cost,
  route: '',
  penalise: false,
})

/** A client's lists are about its address; of an IPv6 network its first address stands for all. */
const addressOf = (client: string) => normaliseAddress(client.replace(/\/\d+$/, ''))

/** The range on the allowlist that a client is in: it wins over whatever else is known of it. */
export const allowlistedBy = (rules: Rules, client: string, now: number): string | undefined =>
  listed(rules, addressOf(client), now).allowlisted || undefined

function listed(rules: Rules, address: string | undefined, now: number) {
  const allowlisted = address && rules.allow.find(address, now)
  const denylisted = address && rules.deny.find(address, now)
  return { ...(allowlisted && { allowlisted }), ...(denylisted && { denylisted }) }
}

export async function clientDetail(backend: Backend, rules: Rules, client: string): Promise<ClientDetail> {
  const { store } = backend
  const { policies } = rules.table
  const [record, ...peeked] = await Promise.all([
    store.client(client, policies),
    ...policies.map(policy => store.peek(asked(client, policy))),
  ])
  const violations = Object.entries(record.violations).map(([scope, times]): [string, number[]] => [scope, [...times]])
  return {
    client,
    at: store.now(),
    ...(record.block && { block: record.block }),
    ...listed(rules, addressOf(client), store.now()),
    usage: policies.map((policy, i) => usageOf(policy, peeked[i]?.limits ?? [])),
    violations: Object.fromEntries(violations),
    refusals: [...record.refusals],
    offences: record.offences,
    ...(record.graceUntil !== undefined && { graceUntil: record.graceUntil }),
  }
}

/** Of how many clients a listing looks at the counters. */
const LOOKED_AT = 200

/** Requests a second by client, as far as frames tell; busiest first. */
function ratesOf(frames: readonly StatsFrame[]): Map<string, number> {
  const rates = new Map<string, number>()
  for (const { top, spanMs } of frames) {
    for (const { client, count } of top) rates.set(client, (rates.get(client) ?? 0) + (count * 1000) / spanMs)
  }
  return new Map([...rates].sort(([, a], [, b]) => b - a))
}

/** Who stood out lately, as far as frames tell: of each instance the first, then of each the second. */
function latelyOf(frames: readonly StatsFrame[]): string[] {
  const told = frames.map(({ lately = [] }) => lately)
  const longest = Math.max(0, ...told.map(({ length }) => length))
  return Array.from({ length: longest }, (_, i) => told.flatMap(lately => lately[i] ?? [])).flat()
}

/** Whom a listing looks at. Those in trouble or near it are what it is for: the busiest leave room for them. */
function lookedAt(
  frames: readonly StatsFrame[],
  rates: ReadonlyMap<string, number>,
  refused: readonly string[],
  blocked: readonly string[] = [],
): string[] {
  const busy = [...rates.keys()]
  const lately = latelyOf(frames)
  const [half, quarter] = [LOOKED_AT / 2, LOOKED_AT / 4]
  const first = [...busy.slice(0, quarter), ...lately.slice(0, half), ...refused.slice(0, quarter)]
  return [...new Set([...first, ...refused, ...lately, ...busy, ...blocked])].slice(0, LOOKED_AT)
}

/** Whom events of the last minute say to be refused or blocked, the last first. */
async function troubled({ events, store }: Backend, limit: number): Promise<string[]> {
  const recent = await events.latest(limit)
  const since = store.now() - LATELY_MS
  return recent
    .flatMap(event =>
      (event.type === 'violation' || event.type === 'blocked') && event.at > since ? event.client : [],
    )
    .reverse()
}

/** Each with the counter that is fullest, in the order given. */
async function summarise(
  { store }: Backend,
  rules: Rules,
  clients: readonly string[],
  rates: ReadonlyMap<string, number>,
): Promise<ClientSummary[]> {
  const policies = rules.table.policies.filter(({ shadow }) => !shadow)
  return Promise.all(
    clients.map(async (client): Promise<ClientSummary> => {
      const peeked = await Promise.all(policies.map(policy => store.peek(asked(client, policy))))
      let fullest = { policy: '', used: 0, limit: 0 }
      peeked.forEach(({ limits }, i) => {
        for (const { limit, remaining } of limits) {
          const used = limit - remaining
          // Of a client that used nothing no policy is nearer than another.
          if (used > 0 && (fullest.limit === 0 || used / limit > fullest.used / fullest.limit)) {
            fullest = { policy: policies[i]?.id ?? '', used, limit }
          }
        }
      })
      const allowlisted = allowlistedBy(rules, client, store.now())
      const block = allowlisted ? undefined : peeked.find(({ block }) => block)?.block
      const share = fullest.limit === 0 ? 0 : fullest.used / fullest.limit
      return {
        client,
        requestsPerSecond: rates.get(client) ?? 0,
        state: allowlisted ? 'ok' : block ? 'blocked' : share >= 1 ? 'limited' : share >= 0.8 ? 'near' : 'ok',
        ...(fullest.policy !== '' && { policy: fullest.policy }),
        used: fullest.used,
        limit: fullest.limit,
        ...(block && { blockedUntil: block.until }),
        ...(allowlisted && { allowlisted }),
      }
    }),
  )
}

const shareOf = ({ used, limit }: ClientSummary) => (limit === 0 ? 0 : used / limit)
const nearest = (a: ClientSummary, b: ClientSummary) =>
  shareOf(b) - shareOf(a) || b.requestsPerSecond - a.requestsPerSecond

/** The busiest, those near a limit, those refused lately and those blocked, with the counter that is fullest. */
export async function listClients(
  backend: Backend,
  rules: Rules,
  frames: readonly StatsFrame[],
  sort: 'busiest' | 'nearest',
  limit: number,
): Promise<ClientSummary[]> {
  const rates = ratesOf(frames)
  const [{ blocks }, refused] = await Promise.all([backend.store.blocks(LOOKED_AT), troubled(backend, 500)])
  const blocked = blocks.map(({ client }) => client)
  const clients = lookedAt(frames, rates, refused, blocked)
  const summaries = await summarise(backend, rules, clients, rates)
  summaries.sort(sort === 'nearest' ? nearest : (a, b) => b.requestsPerSecond - a.requestsPerSecond)
  return summaries.slice(0, limit)
}

/** The same for who asks every second: both orders at once, and the blocked are counted, not listed. */
export async function lookAtClients(backend: Backend, rules: Rules, frames: readonly StatsFrame[], limit: number) {
  const rates = ratesOf(frames)
  const [activeBlocks, refused] = await Promise.all([backend.countBlocks(), troubled(backend, LOOKED_AT)])
  const clients = lookedAt(frames, rates, refused)
  const summaries = await summarise(backend, rules, clients, rates)
  return {
    busiest: summaries
      .filter(({ requestsPerSecond }) => requestsPerSecond > 0)
      .sort((a, b) => b.requestsPerSecond - a.requestsPerSecond)
      .slice(0, limit),
    nearest: summaries
      .filter(({ used }) => used > 0)
      .sort(nearest)
      .slice(0, limit),
    activeBlocks,
  }
}

export interface Question {
  /** Who, when it is known; else the peer and its headers say. */
  readonly client: string | undefined
  readonly peer: string | undefined
  readonly headers: Readonly<Record<string, string>>
  readonly method: string
  readonly path: string
}

/** The decision a request would get now, step by step. */
export async function explain(
  backend: Backend,
  rules: Rules,
  identify: (peer: Peer) => Identity,
  { client: named, peer, headers, method, path }: Question,
): Promise<Explanation> {
  const { store } = backend
  const lower: IncomingHttpHeaders = Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]),
  )
  const identity: Identity =
    named === undefined
      ? identify({ headers: lower, socket: { remoteAddress: peer } })
      : { client: named, address: addressOf(named), hops: [], probablyProxy: false }
  const client = identity.client || NO_ADDRESS
  const now = store.now()
  const lists = listed(rules, identity.address, now)
  const matched = rules.table.matches(method, path)
  const policy = rules.table.match(method, path)
  const [record, verdict] = await Promise.all([
    store.client(client, rules.table.policies),
    policy && store.peek(asked(client, policy)),
  ])
  const refusing = (verdict?.limits ?? []).filter(({ retryAfterMs }) => retryAfterMs !== 0)
  const base = {
    at: now,
    client,
    method,
    path,
    identity: {
      ...(identity.address !== undefined && { address: identity.address }),
      hops: [...identity.hops],
      ...(identity.header !== undefined && { header: identity.header }),
      probablyProxy: identity.probablyProxy,
      ...(identity.proxy && { proxy: identity.proxy }),
    },
    ...(policy && { policy: policy.id }),
    matched: matched.map(({ policy, source }) => ({
      policy: policy.id,
      mode: policy.shadow ? ('shadow' as const) : ('enforce' as const),
      match: source,
      limits: policy.limits.map(describeLimit),
      algorithm: policy.algorithm.id,
    })),
    ...lists,
    ...(record.block && { block: record.block }),
    violations: [...(own(record.violations, policy?.penalty?.scope ?? '') ?? [])],
    refusals: [...record.refusals],
    limits: policy && verdict ? toldBy(policy, verdict.limits) : [],
  }
  if (lists.allowlisted) return { ...base, outcome: 'exempt', reason: `on the allowlist (${lists.allowlisted})` }
  if (lists.denylisted) return { ...base, outcome: 'blocked', reason: `on the denylist (${lists.denylisted})` }
  if (record.block) {
    const waits = refusing.map(({ retryAfterMs = 0 }) => retryAfterMs)
    const retryAfterMs = Math.max(record.block.until - now, ...waits)
    return { ...base, outcome: 'blocked', reason: record.block.reason, retryAfterMs }
  }
  if (!policy) return { ...base, outcome: 'exempt', reason: 'no policy applies' }
  if (refusing.length === 0) return { ...base, outcome: 'allowed', reason: 'within every limit' }
  const waits = refusing.map(({ retryAfterMs }) => retryAfterMs)
  const known = waits.filter(wait => wait !== undefined)
  return {
    ...base,
    outcome: 'limited',
    reason: `over ${refusing.length === 1 ? 'a limit' : `${refusing.length} limits`} of ${policy.id}`,
    ...(known.length === waits.length && { retryAfterMs: Math.max(...known) }),
  }
}
