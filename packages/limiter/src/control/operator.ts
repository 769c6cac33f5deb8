import type { z } from 'zod'
import {
  type Actor,
  type Block,
  type BlockRequest,
  blockRequest,
  type ControlPlane,
  type ControlState,
  describeIssues,
  type ListEntry,
  type ListName,
  type ListPut,
  listPut,
  type NewEvent,
  type PolicyRecord,
  parseDuration,
  policySchema,
  type Settings,
  type Status,
  settingsSchema,
  type UnblockOptions,
  type UnblockResult,
  unblockOptions,
} from '../contracts/index.ts'
import { BouncerError } from '../errors.ts'
import type { EventLog } from '../events/event-log.ts'
import { normaliseAddress } from '../identity/address.ts'
import { parseCidr } from '../identity/cidr.ts'
import { clientId } from '../identity/identify.ts'
import { compileRules } from '../policies/rules.ts'
import type { Defaults } from '../policies/table.ts'
import type { Store } from '../stores/store.ts'
import { applyChange, type Change, type Ledger } from './ledger.ts'

export interface OperatorOptions {
  readonly store: Store
  readonly ledger: Ledger
  readonly events: EventLog
  readonly defaults: Defaults
  readonly status: () => Promise<Status>
}

/** A value by its schema, or an ERR_INVALID that names what is wrong in it. */
export function parseWith<T extends z.ZodType>(
  schema: T,
  value: unknown,
  what: string,
  mend = 'Mend it and try again',
): z.output<T> {
  const parsed = schema.safeParse(value)
  if (parsed.success) return parsed.data
  throw new BouncerError('ERR_INVALID', `${what}: ${describeIssues(parsed.error)}`, mend)
}

/** The same change is tried again this often when others change the control state at the same time. */
const ATTEMPTS = 5

/** A change of the state it is given, the event that tells of it, and what the operator is answered. */
type Make<T> = (state: ControlState) => { change: Change; event: NewEvent; result: T }

/** All that an operator can do, over any store and ledger. */
export class Operator implements ControlPlane {
  private readonly options: OperatorOptions
  /** Changes of one process wait for each other: only those of others are worth another attempt. */
  private lastChange: Promise<unknown> = Promise.resolve()

  constructor(options: OperatorOptions) {
    this.options = options
  }

  status(): Promise<Status> {
    return this.options.status()
  }

  async state(): Promise<ControlState> {
    return this.options.ledger.load()
  }

  async blocks(): Promise<Block[]> {
    return this.options.store.blocks()
  }

  async block(request: BlockRequest, { by }: Actor): Promise<Block> {
    const { client, for: duration, reason } = parseWith(blockRequest, request, 'block')
    const { store, events } = this.options
    const block = await store.block({
      client: await this.clientOf(client),
      reason,
      by,
      durationMs: parseDuration(duration) as number,
    })
    await events.append({ type: 'blocked', client: block.client, block })
    return block
  }

  async unblock(client: string, options: UnblockOptions, actor: Actor): Promise<UnblockResult> {
    const { store, events } = this.options
    const parsed = parseWith(unblockOptions, options, 'unblock')
    const id = await this.clientOf(client)
    const { table } = await this.rules()
    const result = await store.unblock(id, parsed, table.policies)
    const lifted = [
      ...(result.block ? [`block (until ${new Date(result.block.until).toISOString()})`] : []),
      ...(result.violations > 0 ? [`${result.violations} violations`] : []),
      ...(result.counters.length > 0 ? [`counters of ${result.counters.join(', ')}`] : []),
    ]
    await events.append({
      type: 'unblocked',
      client: id,
      by: actor.by,
      ...reasonOf(parsed.reason ?? actor.reason),
      lifted,
    })
    return result
  }

  async putPolicy(input: unknown, expectedVersion: number | undefined, actor: Actor): Promise<PolicyRecord> {
    const policy = parseWith(policySchema, input, policyName(input))
    return this.change(actor, state => {
      const current = versionOf(state, policy.id)
      refuseStale(policy.id, current, expectedVersion)
      const version = (current ?? state.tombstones[policy.id] ?? 0) + 1
      const record = { policy, version, updatedAt: this.options.store.now(), updatedBy: actor.by }
      return {
        change: { policy: record },
        event: {
          type: 'policy-changed',
          policy: policy.id,
          version,
          action: 'put',
          by: actor.by,
          ...reasonOf(actor.reason),
        },
        result: record,
      }
    })
  }

  async deletePolicy(id: string, expectedVersion: number | undefined, actor: Actor): Promise<void> {
    await this.change(actor, state => {
      const current = versionOf(state, id)
      if (current === undefined) throw noSuchPolicy(id)
      refuseStale(id, current, expectedVersion)
      const version = current + 1
      return {
        change: { deletedPolicy: { id, version } },
        event: {
          type: 'policy-changed',
          policy: id,
          version,
          action: 'deleted',
          by: actor.by,
          ...reasonOf(actor.reason),
        },
        result: undefined,
      }
    })
  }

  async policyHistory(id: string): Promise<PolicyRecord[]> {
    const history = await this.options.ledger.history(id)
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
    const now = this.options.store.now()
    const entry: ListEntry = {
      list,
      cidr: parseCidr(cidr).cidr,
      addedAt: now,
      addedBy: actor.by,
      ...(comment !== undefined && { comment }),
      ...(duration !== undefined && { expiresAt: now + (parseDuration(duration) as number) }),
    }
    return this.change(actor, () => ({
      change: { list: entry },
      event: { type: 'list-changed', list, cidr: entry.cidr, action: 'added', by: actor.by, ...reasonOf(actor.reason) },
      result: entry,
    }))
  }

  async deleteListEntry(list: ListName, text: string, actor: Actor): Promise<void> {
    const { cidr } = parseCidr(text)
    await this.change(actor, state => {
      if (!state.lists.some(entry => entry.list === list && entry.cidr === cidr)) {
        throw new BouncerError(
          'ERR_NOT_FOUND',
          `${cidr} is not on the ${list}list`,
          'An entry is removed by its exact range',
        )
      }
      return {
        change: { deletedList: { list, cidr } },
        event: { type: 'list-changed', list, cidr, action: 'removed', by: actor.by, ...reasonOf(actor.reason) },
        result: undefined,
      }
    })
  }

  async putSettings(input: unknown, actor: Actor): Promise<Settings> {
    const settings = parseWith(settingsSchema, input, 'settings')
    return this.change(actor, () => ({
      change: { settings },
      event: { type: 'settings-changed', by: actor.by, ...reasonOf(actor.reason) },
      result: settings,
    }))
  }

  /** Makes a change from the state it sees, proves that the rules still compile, and writes it if nobody was faster. */
  private change<T>(_actor: Actor, make: Make<T>): Promise<T> {
    const turn = this.lastChange.then(() => this.attempt(make))
    this.lastChange = turn.catch(() => {})
    return turn
  }

  private async attempt<T>(make: Make<T>): Promise<T> {
    const { ledger, defaults } = this.options
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const state = await ledger.load()
      const { change, event, result } = make(state)
      compileRules(applyChange(state, change, state.epoch + 1), defaults)
      if ((await ledger.commit(state.epoch, change, event)) !== undefined) return result
    }
    throw new BouncerError('ERR_CONFLICT', 'others are changing the control state at the same time', 'Try again')
  }

  private async rules() {
    return compileRules(await this.options.ledger.load(), this.options.defaults)
  }

  private async clientOf(text: string): Promise<string> {
    const { settings } = await this.options.ledger.load()
    return operatorClient(text, settings.ipv6Prefix)
  }
}

/** A client as an operator types it: an address (counted by its network), a network as it is listed, or an id. */
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
  if (typed === '' || (/^[\d.:a-fA-F]+$/.test(typed) && /[.:]/.test(typed) && !normaliseAddress(typed))) {
    throw new BouncerError(
      'ERR_INVALID',
      `"${text}" is not an IP address, a CIDR range or a client id`,
      'Blocked clients are listed by: bouncer blocks, or GET /admin/blocks',
    )
  }
  return clientId(typed, ipv6Prefix)
}

const reasonOf = (reason: string | undefined) => (reason === undefined ? {} : { reason })

const policyName = (input: unknown) => {
  const id = typeof input === 'object' && input !== null && 'id' in input ? input.id : undefined
  return typeof id === 'string' ? `policy "${id}"` : 'policy'
}

const versionOf = ({ policies }: ControlState, id: string) => policies.find(({ policy }) => policy.id === id)?.version

const noSuchPolicy = (id: string) =>
  new BouncerError('ERR_NOT_FOUND', `there is no policy "${id}"`, 'GET /admin/policies lists them')

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
