import * as z from 'zod'
import {
  type ControlState,
  type ListEntry,
  listEntrySchema,
  type NewEvent,
  own,
  type PolicyRecord,
  policyRecordSchema,
  settingsSchema,
} from '../../contracts/index.ts'
import { type Change, KEPT_VERSIONS, type Ledger, unreadable } from '../../control/ledger.ts'
import { type Connection, OPERATOR_MS } from './connection.ts'
import { evaluate, withTimeout } from './evaluate.ts'
import type { Keys } from './keys.ts'
import { LOG_LENGTH } from './redis-events.ts'
import { loadScript } from './scripts.ts'

const commitScript = loadScript('commit')
const stateScript = loadScript('state')
const mergeScript = loadScript('merge')

/** The control state as Redis keeps it: what a newer version wrote goes back as it was, readable or not. */
interface Raw {
  readonly epoch: number
  /** By id: a PolicyRecord, or a tombstone. */
  readonly policies: Readonly<Record<string, string>>
  readonly settings: string
  /** By `list cidr`. */
  readonly lists: Readonly<Record<string, string>>
}

/** Kept settings: a newer version may have some that this one does not know. */
const keptSettings = z.object(settingsSchema.shape)

const listField = ({ list, cidr }: Pick<ListEntry, 'list' | 'cidr'>) => `${list} ${cidr}`

/** Policies, lists and settings in Redis: the truth for every instance. Keeps the last state it saw for when Redis is away. */
export class RedisLedger implements Ledger {
  private readonly connection: Connection
  private readonly keys: Keys
  private readonly instance: string
  private readonly listeners = new Set<(state: ControlState) => void>()
  private readonly warn: (message: string) => void
  /** What this instance decides by, and puts back when Redis has lost it: the seed until Redis has said more. */
  private raw: Raw
  private known: ControlState
  /** As last read: what a change is made from. */
  private seen: Raw
  private adopted = false
  /** Redis may lack something that is known here. Who only looks on puts nothing in. */
  private mustMerge: boolean
  private readonly observer: boolean
  private asked = 0
  private syncing: Promise<void> | undefined

  constructor(
    connection: Connection,
    keys: Keys,
    instance: string,
    seed: ControlState,
    warn: (message: string) => void,
    observer = false,
  ) {
    this.observer = observer
    this.mustMerge = !observer
    this.connection = connection
    this.keys = keys
    this.instance = instance
    this.known = seed
    this.raw = {
      epoch: 0,
      policies: Object.fromEntries(seed.policies.map(record => [record.policy.id, JSON.stringify(record)])),
      settings: JSON.stringify(seed.settings),
      lists: Object.fromEntries(seed.lists.map(entry => [listField(entry), JSON.stringify(entry)])),
    }
    this.seen = this.raw
    this.warn = warn
  }

  async load(): Promise<ControlState> {
    return this.parse(await this.read())
  }

  async commit(epoch: number, change: Change, event: NewEvent): Promise<number | undefined> {
    const { keys } = this
    const write = this.writeOf(change)
    const reply = await this.connection.run(
      commitScript,
      [keys.epoch, keys.log, write.key, ...(write.history ? [write.history] : [])],
      [
        epoch,
        keys.channels.events,
        keys.channels.control,
        this.instance,
        LOG_LENGTH,
        JSON.stringify(event),
        KEPT_VERSIONS,
        ...write.args,
      ],
    )
    const next = Number(reply)
    if (next < 0) return undefined
    // It is written; should Redis go away just now, the next heartbeat brings it here too.
    await this.sync(next).catch(() => {})
    return next
  }

  async history(id: string): Promise<PolicyRecord[]> {
    const kept = await withTimeout(
      this.connection.commands.lrange(this.keys.history(id), 0, KEPT_VERSIONS - 1),
      OPERATOR_MS,
    )
    return this.readable(kept, text => (isTombstone(text) ? [] : [policyRecordSchema.parse(JSON.parse(text))]))
  }

  subscribe(listener: (state: ControlState) => void): () => void {
    this.listeners.add(listener)
    return () => this.listeners.delete(listener)
  }

  /** The epoch of the state that this instance decides by. */
  get epoch(): number {
    return this.adopted ? this.known.epoch : 0
  }

  /**
   * Called with the epoch that Redis is at (-1: none, or unknown), every second and whenever it is told. Seeds what is
   * missing, puts back what Redis has lost, and takes over what is new.
   */
  sync(epoch: number): Promise<void> {
    if (epoch < this.epoch) this.mustMerge = !this.observer
    else if (epoch === this.epoch && !this.mustMerge) return Promise.resolve()
    this.asked++
    this.syncing ??= this.takeOver().finally(() => {
      this.syncing = undefined
    })
    return this.syncing
  }

  /** Again when it was asked meanwhile: what was read may be older than what was heard of. */
  private async takeOver(): Promise<void> {
    let answering: number
    do {
      answering = this.asked
      if (this.mustMerge) await this.merge(this.raw)
      this.mustMerge = false
      const raw = await this.read()
      this.known = this.parse(raw)
      this.raw = raw
      this.adopted = true
      for (const listener of this.listeners) listener(this.known)
    } while (answering !== this.asked)
  }

  private async read(): Promise<Raw> {
    const { epoch, policies, settings, lists } = this.keys
    const ask = async () => {
      const keys = [epoch, policies, settings, lists]
      const reply = await this.connection.read(epoch, evaluate(this.connection.commands, stateScript, keys, []))
      return reply as unknown as [string | null, string[], string | null, string[]]
    }
    let reply = await ask()
    // No server has put anything in yet. Who only looks on does not either, but may write: what is there counts.
    if (reply[2] === null && !this.observer) {
      await this.merge(this.raw)
      reply = await ask()
    }
    const [epochNow, records, settingsNow, entries] = reply
    this.seen = {
      epoch: Number(epochNow),
      policies: inPairs(records),
      settings: settingsNow ?? this.raw.settings,
      lists: inPairs(entries),
    }
    return this.seen
  }

  private parse(raw: Raw): ControlState {
    const [settings = this.known.settings] = this.readable([raw.settings], text => [
      keptSettings.parse(JSON.parse(text)),
    ])
    const tombstones: Record<string, number> = {}
    const unread: string[] = []
    const policies = Object.entries(raw.policies).flatMap(([id, text]) => {
      const readable = isTombstone(text)
        ? []
        : this.readable([text], one => [policyRecordSchema.parse(JSON.parse(one))])
      // Its version stays known, so that the next one is higher.
      if (readable.length === 0) {
        tombstones[id] = versionOf(text)
        if (!isTombstone(text)) unread.push(id)
      }
      return readable
    })
    const lists = this.readable(Object.values(raw.lists), text => [listEntrySchema.parse(JSON.parse(text))])
    return { epoch: raw.epoch, policies, tombstones, settings, lists, ...(unread.length > 0 && { unreadable: unread }) }
  }

  private async merge({ epoch, policies, settings, lists }: Raw): Promise<void> {
    const { keys } = this
    const ids = Object.keys(policies)
    await this.connection.run(
      mergeScript,
      [keys.epoch, keys.policies, keys.settings, keys.lists, ...ids.map(id => keys.history(id))],
      [
        epoch,
        KEPT_VERSIONS,
        settings,
        ids.length,
        ...Object.entries(policies).flatMap(([id, text]) => [id, versionOf(text), text]),
        ...Object.entries(lists).flat(),
      ],
    )
  }

  private writeOf(change: Change): { key: string; history?: string; args: (string | number)[] } {
    const { keys, seen } = this
    if ('policy' in change) {
      const { id } = change.policy.policy
      const stored = own(seen.policies, id)
      const live = stored === undefined || isTombstone(stored) ? undefined : stored
      const record = inPlaceOf(live, policyRecordSchema, change.policy, `policy "${id}"`)
      return { key: keys.policies, history: keys.history(id), args: ['hset', id, record] }
    }
    if ('deletedPolicy' in change) {
      const { id, version } = change.deletedPolicy
      return {
        key: keys.policies,
        history: keys.history(id),
        args: ['hset', id, JSON.stringify({ deleted: true, version })],
      }
    }
    if ('settings' in change) {
      return {
        key: keys.settings,
        args: ['set', inPlaceOf(seen.settings, keptSettings, change.settings, 'the settings')],
      }
    }
    const field = listField('list' in change ? change.list : change.deletedList)
    return 'list' in change
      ? {
          key: keys.lists,
          args: [
            'hset',
            field,
            inPlaceOf(own(seen.lists, field), listEntrySchema, change.list, `the entry "${field}"`),
          ],
        }
      : { key: keys.lists, args: ['hdel', field] }
  }

  /** What a newer version wrote and this one cannot read is left out, and said; the rest stays in force. */
  private readable<T>(texts: readonly string[], parse: (text: string) => T[]): T[] {
    return texts.flatMap(text => {
      try {
        return parse(text)
      } catch (error) {
        this.warn(
          `the control state holds something this version cannot read, it is left out: ${(error as Error).message.slice(0, 200)}`,
        )
        return []
      }
    })
  }
}

/** A record as it is written over another: what a newer version has put there besides, stays; what cannot be read, too. */
function inPlaceOf<T extends object>(stored: string | undefined, schema: z.ZodObject, record: T, what: string): string {
  if (stored === undefined) return JSON.stringify(record)
  let parsed: unknown
  try {
    parsed = JSON.parse(stored)
    schema.parse(parsed)
  } catch {
    throw unreadable(what)
  }
  const unknown = Object.entries(parsed as object).filter(([field]) => !(field in schema.shape))
  return JSON.stringify({ ...Object.fromEntries(unknown), ...record })
}

function envelope(text: string): { deleted?: unknown; version?: unknown } {
  try {
    return JSON.parse(text) ?? {}
  } catch {
    return {}
  }
}
const isTombstone = (text: string) => envelope(text).deleted === true
const versionOf = (text: string) => Number(envelope(text).version) || 0

/** What HGETALL gives a script: field, value, field, value. */
const inPairs = (flat: readonly string[]): Record<string, string> =>
  Object.fromEntries(flat.flatMap((field, i) => (i % 2 === 0 ? [[field, flat[i + 1] as string]] : [])))
