import { isDeepStrictEqual } from 'node:util'
import {
  type Actor,
  type AuditEntry,
  type AuditQuery,
  auditQuery,
  type Block,
  type BlockPage,
  type BlockRequest,
  type BlocksQuery,
  blockRequest,
  blocksQuery,
  type ClientDetail,
  type ClientHistory,
  type ClientSummary,
  type ClientsQuery,
  type ControlPlane,
  type ControlState,
  clientsQuery,
  confirmTime,
  type Diagnosis,
  deciding,
  type EventPage,
  type EventsQuery,
  type ExplainQuery,
  type Explanation,
  eventsQuery,
  explainQuery,
  isSpelling,
  type KeyInfo,
  type KeyPage,
  type KeysQuery,
  keysQuery,
  type ListEntry,
  type ListName,
  type ListPut,
  listPut,
  type NewEvent,
  own,
  type Policy,
  type PolicyRecord,
  parseDuration,
  policySchema,
  type Settings,
  STATS_RANGES,
  type StatsFrame,
  type StatsHistory,
  type StatsQuery,
  type Status,
  settingsSchema,
  slipOf,
  statsQuery,
  storeMend,
  type UnblockOptions,
  type UnblockResult,
  unblockOptions,
} from '../contracts/index.ts'
import { BouncerError } from '../errors.ts'
import { networkBytes, normaliseAddress } from '../identity/address.ts'
import { parseCidr } from '../identity/cidr.ts'
import { clientId, type Identity, type Peer } from '../identity/identify.ts'
import { compileRules, inForce, type Rules, revertsAfter, stateAt } from '../policies/rules.ts'
import type { Defaults } from '../policies/table.ts'
import { CLIENT_STEP_MS } from '../stats/history.ts'
import type { Backend } from '../stores/backend.ts'
import type { BlockPlace } from '../stores/store.ts'
import type { NewAuditEntry } from './audit.ts'
import { diagnoseProxy } from './diagnose.ts'
import type { FleetView } from './fleet-view.ts'
import { allowlistedBy, clientDetail, explain, listClients, lookAtClients } from './insight.ts'
import { applyChange, type Change, unreadable } from './ledger.ts'
import { parseWith } from './parse.ts'

export interface OperatorOptions {
  readonly backend: Backend
  readonly defaults: Defaults
  readonly status: () => Promise<Status>
  /** Who a request comes from, as this process is told to trust. */
  readonly identify: (peer: Peer) => Identity
}

/** The same change is tried again this often when others change the control state at the same time. */
const ATTEMPTS = 5

/** A change of the state it is given, the event that tells of it, and what the operator is answered. */
interface Made<T> {
  readonly change: Change
  readonly event: NewEvent
  readonly audit: Omit<NewAuditEntry, 'by' | 'source'>
  readonly result: T
}
type Make<T> = (state: ControlState) => Made<T>

/** So long it is waited for all instances to have seen a change: they poll once a second. */
const SEEN_MS = 2000

/** All that an operator can do, over any store and ledger. */
export class Operator implements ControlPlane, FleetView {
  private readonly options: OperatorOptions
  /** Changes of one process wait for each other: only those of others are worth another attempt. */
  private lastChange: Promise<unknown> = Promise.resolve()

  /** The rules in force, until something changes (epoch ms, when a change goes back by itself). */
  private compiled: { readonly rules: Rules; readonly until: number } | undefined
  /** Changes of the control state that this process has heard of. */
  private heard = 0

  constructor(options: OperatorOptions) {
    this.options = options
    options.backend.ledger.subscribe(() => {
      this.heard++
      this.compiled = undefined
    })
  }

  status(): Promise<Status> {
    return this.options.status()
  }

  async clients(query: ClientsQuery): Promise<ClientSummary[]> {
    const { sort, limit } = parseWith(clientsQuery, query, 'clients')
    const { backend } = this.options
    return listClients(backend, await this.rules(), await backend.fleet(), sort, limit)
  }

  async client(client: string): Promise<ClientDetail> {
    return clientDetail(this.options.backend, await this.rules(), await this.clientOf(client))
  }

  async stats(query: StatsQuery): Promise<StatsHistory> {
    const { range } = parseWith(statsQuery, query, 'stats')
    const { store, history } = this.options.backend
    const buckets = await history.stats(range)
    return { range, stepMs: STATS_RANGES[range].stepMs, at: store.now(), buckets }
  }

  async clientHistory(client: string): Promise<ClientHistory> {
    const { store, history, events } = this.options.backend
    const id = await this.clientOf(client)
    const [buckets, told] = await Promise.all([history.client(id), events.about(id)])
    const from = buckets[0]?.at
    // Who was forgotten begins there.
    const first = told.events.findLastIndex(event => event.type === 'unblocked' && event.forgotten === true)
    return {
      client: id,
      stepMs: CLIENT_STEP_MS,
      at: store.now(),
      ...(from !== undefined && { from }),
      buckets,
      events: told.events.slice(Math.max(0, first)),
      ...(told.from !== undefined && { eventsFrom: told.from }),
    }
  }

  async explain(query: ExplainQuery): Promise<Explanation> {
    const { client, peer, headers, method, path } = parseWith(explainQuery, query, 'explain')
    if ((client === undefined) === (peer === undefined)) {
      throw new BouncerError(
        'ERR_INVALID',
        'explain needs a client or a peer, one of them',
        'Give client, or peer with headers',
      )
    }
    if (peer !== undefined && !normaliseAddress(peer)) {
      throw new BouncerError('ERR_INVALID', `"${peer}" is not an address, which every peer has`, 'Give one as 10.0.0.7')
    }
    const { backend, identify } = this.options
    const rules = await this.rules()
    const named = client === undefined ? undefined : operatorClient(client, rules.ipv6Prefix)
    return explain(backend, rules, identify, { client: named, peer, headers, method, path })
  }

  watch(listener: (frame: StatsFrame) => void): () => void {
    return this.options.backend.watch(listener)
  }

  async fleet(): Promise<StatsFrame[]> {
    return this.options.backend.fleet()
  }

  async look(frames: readonly StatsFrame[], limit: number) {
    return lookAtClients(this.options.backend, await this.lastRules(), frames, limit)
  }

  async blocks(query: BlocksQuery = {}): Promise<BlockPage> {
    const { limit, after } = parseWith(blocksQuery, query, 'blocks')
    const { blocks, total, next } = await this.options.backend.store.blocks(
      limit,
      after === undefined ? undefined : placeOf(after),
    )
    const rules = blocks.length > 0 ? await this.rules() : undefined
    const listed = blocks.map(block => {
      const allowlisted = rules && allowlistedBy(rules, block.client, this.options.backend.store.now())
      return allowlisted ? { ...block, allowlisted } : block
    })
    return { blocks: listed, total, ...(next && { next: `${next.until}-${next.client}` }) }
  }

  async block(request: BlockRequest, actor: Actor): Promise<Block> {
    const { client, for: duration, reason } = parseWith(blockRequest, request, 'block')
    const { store, events } = this.options.backend
    const id = await this.clientOf(client)
    const allowed = allowlistedBy(await this.rules(), id, store.now())
    if (allowed) throw passesAnyway(`blocking ${id}`, allowed)
    const block = await store.block({
      client: id,
      reason,
      by: actor.by,
      durationMs: parseDuration(duration) as number,
    })
    await events.append({ type: 'blocked', client: block.client, block })
    await this.write(actor, { action: 'block', target: block.client, reason, after: block })
    return block
  }

  async unblock(client: string, options: UnblockOptions, actor: Actor): Promise<UnblockResult> {
    const { backend } = this.options
    const { store, events } = backend
    const parsed = parseWith(unblockOptions, options, 'unblock')
    const id = await this.clientOf(client)
    const { table } = await this.rules()
    const result = await store.unblock(id, parsed, table.policies)
    const lifted = [
      ...(result.block ? [`block (until ${new Date(result.block.until).toISOString()})`] : []),
      ...(result.violations > 0 ? [`${result.violations} violations`] : []),
      ...(result.counters.length > 0 ? [`counters of ${result.counters.join(', ')}`] : []),
    ]
    const reason = parsed.reason ?? actor.reason
    const forgotten = parsed.forget ? { forgotten: true as const } : {}
    const forgetOnceSeen = async () => {
      const { epoch } = await this.state()
      const seenBy = await this.seenBy(epoch)
      // Only now: until an instance has seen it, it may still write down what came before.
      if (parsed.forget) await backend.forget(id)
      return seenBy
    }
    try {
      await events.append({ type: 'unblocked', client: id, by: actor.by, ...reasonOf(reason), lifted, ...forgotten })
      await this.write(actor, { action: 'unblock', target: id, ...reasonOf(reason), before: result })
    } catch (error) {
      // It is told to be done: then all of it is.
      await forgetOnceSeen()
      throw error
    }
    return { ...result, seenBy: await forgetOnceSeen() }
  }

  async state(): Promise<ControlState> {
    const { ledger, store } = this.options.backend
    return stateAt(await ledger.load(), store.now())
  }

  async putPolicy(
    input: unknown,
    expectedVersion: number | undefined,
    actor: Actor,
    confirmWithin?: string | number,
  ): Promise<PolicyRecord> {
    const policy = parseWith(policySchema, input, policyName(input))
    const within = confirmWithin === undefined ? undefined : parseWith(confirmTime, confirmWithin, 'confirmWithin')
    return this.change(actor, state => {
      const current = recordOf(state, policy.id)
      refuseStale(policy.id, current?.version, expectedVersion)
      const now = this.options.backend.store.now()
      // What nobody has confirmed yet is nothing to go back to, and no later change confirms it.
      const pending = current?.revert && current.revert.at > now ? current.revert : undefined
      const last = pending ? pending.policy : ((current && inForce(current, now)) ?? null)
      const at = within === undefined ? pending?.at : now + (parseDuration(within) as number)
      const revert = at === undefined || isDeepStrictEqual(policy, last) ? undefined : { at, policy: last }
      return this.policyChange(state, { policy, revert }, actor)
    })
  }

  async confirmPolicy(id: string, actor: Actor): Promise<PolicyRecord> {
    return this.change(actor, state => {
      const current = recordOf(state, id)
      if (!current) {
        if (state.unreadable?.includes(id) || own(state.tombstones, id) === undefined) throw missing(state, id)
        throw new BouncerError(
          'ERR_NOT_FOUND',
          `policy "${id}" is gone: it went back unconfirmed, or was removed`,
          `See bouncer policy history ${id}; a rollback brings it back`,
        )
      }
      if (!current.revert)
        throw new BouncerError('ERR_INVALID', `policy "${id}" waits for no confirmation`, 'It is in force for good')
      if (this.options.backend.store.now() >= current.revert.at) {
        throw new BouncerError(
          'ERR_CONFLICT',
          `policy "${id}" has already gone back`,
          `Put it again, or roll back to version ${current.version}`,
        )
      }
      const made = this.policyChange(state, { policy: current.policy }, actor)
      // It was in force before, and is: only for good now.
      return { ...made, audit: { action: 'policy.confirm', target: id, after: current.policy } }
    })
  }

  async deletePolicy(id: string, expectedVersion: number | undefined, actor: Actor): Promise<void> {
    await this.change(actor, state => {
      const current = recordOf(state, id)
      if (!current) throw missing(state, id)
      refuseStale(id, current.version, expectedVersion)
      const now = this.options.backend.store.now()
      const isEnforced = (record: PolicyRecord, at: number) => inForce(record, at)?.mode === 'enforce'
      const others = state.policies.filter(record => record !== current)
      const times = [now, ...revertsAfter(state, now)]
      if (isEnforced(current, now) && !times.every(at => others.some(record => isEnforced(record, at)))) {
        throw new BouncerError(
          'ERR_CONFLICT',
          `policy "${id}" is the last one that is enforced: without it nothing would be limited`,
          'Put another one first; or, if that is what you want, set it to mode: off',
        )
      }
      const version = current.version + 1
      return {
        change: { deletedPolicy: { id, version } },
        event: { type: 'policy-changed', policy: id, version, action: 'deleted', ...byOf(actor) },
        audit: { action: 'policy.delete', target: id, before: inForce(current, now) },
        result: undefined,
      }
    })
  }

  async policyHistory(id: string): Promise<PolicyRecord[]> {
    const history = await this.options.backend.ledger.history(id)
    if (history.length === 0) throw noSuchPolicy(id)
    return history
  }

  async rollbackPolicy(id: string, version: number, actor: Actor): Promise<PolicyRecord> {
    const history = await this.policyHistory(id)
    const record = history.find(one => one.version === version)
    if (!record) {
      throw new BouncerError(
        'ERR_NOT_FOUND',
        `policy "${id}" has no version ${version}`,
        `Kept versions: ${history.map(one => one.version).join(', ')}`,
      )
    }
    return this.putPolicy(record.policy, undefined, actor)
  }

  async putListEntry(list: ListName, cidr: string, options: ListPut, actor: Actor): Promise<ListEntry> {
    const { comment, for: duration } = parseWith(listPut, options, `${list}list entry`)
    const now = this.options.backend.store.now()
    const entry: ListEntry = {
      list,
      cidr: parseCidr(cidr).cidr,
      addedAt: now,
      addedBy: actor.by,
      ...(comment !== undefined && { comment }),
      ...(duration !== undefined && { expiresAt: now + (parseDuration(duration) as number) }),
    }
    return this.change(actor, state => {
      refuseBothLists(state, entry, now)
      return {
        change: { list: entry },
        event: { type: 'list-changed', list, cidr: entry.cidr, action: 'added', ...byOf(actor) },
        audit: {
          action: 'list.put',
          target: `${list} ${entry.cidr}`,
          before: entryOf(state, list, entry.cidr),
          after: entry,
        },
        result: entry,
      }
    })
  }

  async deleteListEntry(list: ListName, text: string, actor: Actor): Promise<void> {
    const { cidr } = parseCidr(text)
    await this.change(actor, state => {
      const before = entryOf(state, list, cidr)
      if (!before) {
        throw new BouncerError(
          'ERR_NOT_FOUND',
          `${cidr} is not on the ${list}list`,
          'An entry is removed by its exact range',
        )
      }
      return {
        change: { deletedList: { list, cidr } },
        event: { type: 'list-changed', list, cidr, action: 'removed', ...byOf(actor) },
        audit: { action: 'list.delete', target: `${list} ${cidr}`, before },
        result: undefined,
      }
    })
  }

  async putSettings(input: unknown, actor: Actor): Promise<Settings> {
    const settings = parseWith(settingsSchema, input, 'settings')
    return this.change(actor, state => ({
      change: { settings },
      event: { type: 'settings-changed', ...byOf(actor) },
      audit: { action: 'settings.put', target: 'settings', before: state.settings, after: settings },
      result: settings,
    }))
  }

  async keys(query: KeysQuery): Promise<KeyPage> {
    const { match, cursor, limit } = parseWith(keysQuery, query, 'keys')
    return this.options.backend.keys.page(match, cursor, limit)
  }

  async key(key: string): Promise<KeyInfo> {
    const info = await this.options.backend.keys.get(key)
    if (!info) throw noSuchKey(key)
    return info
  }

  async deleteKey(key: string, actor: Actor): Promise<void> {
    const before = await this.key(key)
    if (key.includes(':{control}:')) {
      throw new BouncerError(
        'ERR_INVALID',
        `${key} is control state`,
        'Change policies, lists and settings by their own commands',
      )
    }
    const { backend } = this.options
    if (!(await backend.keys.delete(key))) throw noSuchKey(key)
    const client = /(?:^|:)block:\{(.+)\}$/.exec(key)?.[1]
    if (client !== undefined) {
      await backend.events.append({ type: 'unblocked', client, ...byOf(actor), lifted: ['block'] })
    }
    await this.write(actor, { action: 'key.delete', target: key, before })
  }

  async events(query: EventsQuery): Promise<EventPage> {
    const { after, limit } = parseWith(eventsQuery, query, 'events')
    const { events } = this.options.backend
    if (after === undefined) return { events: await events.latest(limit), gap: false }
    const { events: found, gap } = await events.after(after, limit)
    return { events: [...found], gap }
  }

  async audit(query: AuditQuery): Promise<AuditEntry[]> {
    return this.options.backend.audit.latest(parseWith(auditQuery, query, 'audit').limit)
  }

  async seenBy(epoch: number): Promise<{ seen: number; of: number }> {
    const deadline = performance.now() + SEEN_MS
    // Most have heard within milliseconds, by pub/sub; for the rest it is not asked more often than is of use.
    for (let pauseMs = 2; ; pauseMs = Math.min(50, pauseMs * 2)) {
      const frames = deciding(await this.options.backend.fleet())
      const seen = frames.filter(frame => frame.epoch >= epoch).length
      if (seen === frames.length || performance.now() > deadline) return { seen, of: frames.length }
      await new Promise(resolve => setTimeout(resolve, pauseMs))
    }
  }

  async diagnose(): Promise<Diagnosis[]> {
    const { backend } = this.options
    return [...((await backend.diagnose?.()) ?? []), diagnoseProxy(await backend.fleet())]
  }

  private policyChange(
    state: ControlState,
    { policy, revert }: { policy: Policy; revert?: PolicyRecord['revert'] },
    actor: Actor,
  ): Made<PolicyRecord> {
    const current = recordOf(state, policy.id)
    const version = (current?.version ?? own(state.tombstones, policy.id) ?? 0) + 1
    const updatedAt = this.options.backend.store.now()
    const record: PolicyRecord = { policy, version, updatedAt, updatedBy: actor.by, ...(revert && { revert }) }
    return {
      change: { policy: record },
      event: { type: 'policy-changed', policy: policy.id, version, action: 'put', ...byOf(actor) },
      audit: {
        action: 'policy.put',
        target: policy.id,
        before: current && inForce(current, updatedAt),
        after: policy,
        ...(revert && { goesBackAt: revert.at }),
      },
      result: record,
    }
  }

  private async write(
    { by, source = 'local', reason }: Actor,
    entry: Omit<NewAuditEntry, 'by' | 'source'>,
  ): Promise<void> {
    try {
      await this.options.backend.audit.append({ ...reasonOf(reason), ...entry, by, source })
    } catch (error) {
      // Never told to have failed: it is in force.
      const why = error instanceof BouncerError ? error.what : (error as Error).message
      throw new BouncerError(
        'ERR_UNAVAILABLE',
        `${entry.action} of ${entry.target} is done, but the audit may not tell of it: ${why}`,
        storeMend(why, 'Look: bouncer audit'),
      )
    }
  }

  /** Makes a change from the state it sees, proves that the rules still compile, and writes it if nobody was faster. */
  private change<T>(actor: Actor, make: Make<T>): Promise<T> {
    const turn = this.lastChange.then(() => this.attempt(actor, make))
    this.lastChange = turn.catch(() => {})
    return turn
  }

  private async attempt<T>(actor: Actor, make: Make<T>): Promise<T> {
    const { backend, defaults } = this.options
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const state = await this.state()
      const { change, event, audit, result } = make(state)
      const next = applyChange(state, change, state.epoch + 1)
      const now = backend.store.now()
      // As it holds from now on, and after each change that goes back by itself.
      compileRules(next, defaults, now)
      for (const at of revertsAfter(next, now)) proveGoesBack(next, defaults, at)
      if ((await backend.ledger.commit(state.epoch, change, event)) === undefined) continue
      await this.write(actor, audit)
      return result
    }
    throw new BouncerError('ERR_CONFLICT', 'others are changing the control state at the same time', 'Try again')
  }

  private async rules() {
    const { backend, defaults } = this.options
    return compileRules(await backend.ledger.load(), defaults, backend.store.now())
  }

  /** For who asks every second: loaded and compiled again only when something has changed. */
  private async lastRules(): Promise<Rules> {
    const { backend, defaults } = this.options
    const now = backend.store.now()
    if (this.compiled && now < this.compiled.until) return this.compiled.rules
    const { heard } = this
    const state = await backend.ledger.load()
    const rules = compileRules(state, defaults, now)
    const until = Math.min(Number.POSITIVE_INFINITY, ...revertsAfter(state, now))
    if (heard === this.heard) this.compiled = { rules, until }
    return rules
  }

  private async clientOf(text: string): Promise<string> {
    const { settings } = await this.state()
    return operatorClient(text, settings.ipv6Prefix)
  }
}

/**
 * A client as an operator types it: an address (counted by its network), a network as it is listed, or an id, either as
 * the application gave it or in the spelling that is printed (`user:ann%20smith`).
 */
export function operatorClient(text: string, ipv6Prefix: number): string {
  const typed = text.trim()
  const slash = typed.indexOf('/')
  if (slash > 0 && normaliseAddress(typed.slice(0, slash))) {
    const { cidr } = parseCidr(typed)
    if (!cidr.includes('/') || cidr.endsWith(`/${ipv6Prefix}`))
      return clientId(cidr.split('/')[0] as string, ipv6Prefix)
    throw new BouncerError('ERR_INVALID', `"${text}" is a range, not one client`, 'Put ranges on a list: deny or allow')
  }
  // What looks like an address but is none is a slip, not somebody's id.
  const mend = typed === '' ? 'it is empty' : normaliseAddress(typed) ? undefined : slipOf(typed)
  if (mend !== undefined) {
    throw new BouncerError('ERR_INVALID', `"${text}" is not an IP address, a CIDR range or a client id (${mend})`)
  }
  return isSpelling(typed) ? typed : clientId(typed, ipv6Prefix)
}

const reasonOf = (reason: string | undefined) => (reason === undefined ? {} : { reason })

const policyName = (input: unknown) => {
  const id = typeof input === 'object' && input !== null && 'id' in input ? input.id : undefined
  return typeof id === 'string' ? `policy "${id}"` : 'policy'
}

const byOf = ({ by, reason }: Actor) => ({ by, ...reasonOf(reason) })

const recordOf = ({ policies }: ControlState, id: string) => policies.find(({ policy }) => policy.id === id)

const entryOf = ({ lists }: ControlState, list: ListName, cidr: string) =>
  lists.find(entry => entry.list === list && entry.cidr === cidr)

const passesAnyway = (what: string, allowed: string) =>
  new BouncerError(
    'ERR_CONFLICT',
    `${what} would do nothing: ${allowed} is on the allowlist, which wins`,
    `Take it off first: bouncer allow rm ${allowed}`,
  )

/** The allowlist wins: what it covers cannot be denied, and the same range on both lists helps nobody. */
function refuseBothLists({ lists }: ControlState, { list, cidr }: ListEntry, now: number): void {
  const others = lists.filter(entry => entry.list !== list && (entry.expiresAt === undefined || entry.expiresAt > now))
  const same = others.find(entry => entry.cidr === cidr)
  if (same && list === 'allow') {
    throw new BouncerError('ERR_CONFLICT', `${cidr} is on the denylist`, `Take it off first: bouncer deny rm ${cidr}`)
  }
  if (list === 'allow') return
  const { prefix } = parseCidr(cidr)
  const covering = others.find(other => {
    const wide = parseCidr(other.cidr)
    const width = cidr.includes(':') ? 128 : 32
    const sameKind = other.cidr.includes(':') === cidr.includes(':')
    if (!sameKind || wide.prefix > prefix) return false
    return String(networkBytes(cidr.split('/')[0] as string, wide.prefix - width)) === wide.network
  })
  if (covering) throw passesAnyway(`denying ${cidr}`, covering.cidr)
}

/** Throws when the rules would contradict themselves after a change has gone back at `at`. */
function proveGoesBack(state: ControlState, defaults: Defaults, at: number): void {
  try {
    compileRules(state, defaults, at)
  } catch (error) {
    if (!(error instanceof BouncerError)) throw error
    const what = state.policies.flatMap(({ policy, revert }) => (revert?.at === at ? policy.id : [])).join(', ')
    throw new BouncerError(
      error.code,
      `${what} is not confirmed yet, and when it goes back: ${error.message}`,
      `Confirm it first, or make it final: bouncer policy confirm ${what}`,
    )
  }
}

/** Of a page's `next`: where it ended. */
function placeOf(next: string): BlockPlace {
  const dash = next.indexOf('-')
  return { until: Number(next.slice(0, dash)), client: next.slice(dash + 1) }
}

const noSuchKey = (key: string) =>
  new BouncerError('ERR_NOT_FOUND', `there is no key "${key.slice(0, 200)}"`, 'bouncer keys lists them')

const noSuchPolicy = (id: string) =>
  new BouncerError('ERR_NOT_FOUND', `there is no policy "${id}"`, 'GET /admin/policies lists them')

/** Why there is no record to change. */
const missing = (state: ControlState, id: string) =>
  state.unreadable?.includes(id) ? unreadable(`policy "${id}"`) : noSuchPolicy(id)

function refuseStale(id: string, current: number | undefined, expected: number | undefined): void {
  if (expected === undefined || expected === (current ?? 0)) return
  throw new BouncerError(
    'ERR_CONFLICT',
    current === undefined
      ? `policy "${id}" does not exist, but version ${expected} was expected`
      : `policy "${id}" is at version ${current}, not ${expected}: someone changed it meanwhile`,
    'Look at what is there now, and make the change again from that',
  )
}
