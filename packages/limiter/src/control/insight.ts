import type { IncomingHttpHeaders } from 'node:http'
import type { ClientDetail, ClientSummary, Explanation, LimitVerdict, StatsFrame, Usage } from '../contracts/index.ts'
import { normaliseAddress } from '../identity/address.ts'
import { type Identity, NO_ADDRESS, type Peer } from '../identity/identify.ts'
import type { Rules } from '../policies/rules.ts'
import { type CompiledPolicy, describeLimit } from '../policies/table.ts'
import type { Backend } from '../stores/backend.ts'

/** What an operator can see. Reads, and counts nothing. */

const plain = (limits: readonly LimitVerdict[]) => limits.map(limit => ({ ...limit }))

export const usageOf = (policy: CompiledPolicy, limits: readonly LimitVerdict[]): Usage => ({
  policy: policy.id,
  mode: policy.shadow ? 'shadow' : 'enforce',
  algorithm: policy.algorithm.id,
  match: policy.source.match,
  limits: plain(limits),
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

/** The busiest clients of the last second, those refused lately and those blocked, with the counter that is fullest. */
export async function listClients(
  backend: Backend,
  rules: Rules,
  frames: readonly StatsFrame[],
  sort: 'busiest' | 'nearest',
  limit: number,
): Promise<ClientSummary[]> {
  const { store } = backend
  const rates = new Map<string, number>()
  for (const { top, spanMs } of frames) {
    for (const { client, count } of top) rates.set(client, (rates.get(client) ?? 0) + (count * 1000) / spanMs)
  }
  const [blocks, recent] = await Promise.all([store.blocks(), backend.events.latest(500)])
  const blocked = new Map(blocks.map(block => [block.client, block]))
  const refused = recent.flatMap(event =>
    event.type === 'violation' && event.at > store.now() - 60_000 ? [event.client] : [],
  )
  const busiest = [...rates.keys()].sort((a, b) => (rates.get(b) as number) - (rates.get(a) as number))
  const clients = [...new Set([...busiest, ...refused.reverse(), ...blocked.keys()])].slice(0, LOOKED_AT)
  const policies = rules.table.policies.filter(({ shadow }) => !shadow)

  const summaries = await Promise.all(
    clients.map(async (client): Promise<ClientSummary> => {
      const peeked = await Promise.all(policies.map(policy => store.peek(asked(client, policy))))
      let fullest = { policy: '', used: 0, limit: 0 }
      peeked.forEach(({ limits }, i) => {
        for (const { limit, remaining } of limits) {
          const used = limit - remaining
          if (fullest.limit === 0 || used / limit > fullest.used / fullest.limit) {
            fullest = { policy: policies[i]?.id ?? '', used, limit }
          }
        }
      })
      const block = blocked.get(client)
      const share = fullest.limit === 0 ? 0 : fullest.used / fullest.limit
      return {
        client,
        requestsPerSecond: rates.get(client) ?? 0,
        state: block ? 'blocked' : share >= 1 ? 'limited' : share >= 0.8 ? 'near' : 'ok',
        ...(fullest.policy !== '' && { policy: fullest.policy }),
        used: fullest.used,
        limit: fullest.limit,
        ...(block && { blockedUntil: block.until }),
      }
    }),
  )
  const share = ({ used, limit }: ClientSummary) => (limit === 0 ? 0 : used / limit)
  const nearest = (a: ClientSummary, b: ClientSummary) =>
    share(b) - share(a) || b.requestsPerSecond - a.requestsPerSecond
  if (sort === 'nearest') summaries.sort(nearest)
  return summaries.slice(0, limit)
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
      probablyProxy: identity.probablyProxy,
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
    violations: [...(record.violations[policy?.penalty?.scope ?? ''] ?? [])],
    refusals: [...record.refusals],
    limits: plain(verdict?.limits ?? []),
  }
  if (lists.allowlisted) return { ...base, outcome: 'exempt', reason: `on the allowlist (${lists.allowlisted})` }
  if (lists.denylisted) return { ...base, outcome: 'blocked', reason: `on the denylist (${lists.denylisted})` }
  if (record.block)
    return { ...base, outcome: 'blocked', reason: record.block.reason, retryAfterMs: record.block.until - now }
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
