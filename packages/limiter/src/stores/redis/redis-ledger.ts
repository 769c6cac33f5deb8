import {
  type ControlState,
  listEntrySchema,
  type NewEvent,
  type PolicyRecord,
  policyRecordSchema,
  settingsSchema,
} from '../../contracts/index.ts'
import { type Change, KEPT_VERSIONS, type Ledger } from '../../control/ledger.ts'
import { evaluate } from './batcher.ts'
import type { Connection } from './connection.ts'
import type { Keys } from './keys.ts'
import { LOG_LENGTH } from './redis-events.ts'
import { withTimeout } from './redis-store.ts'
import { loadScript } from './scripts.ts'

const commitScript = loadScript('commit')
const mergeScript = loadScript('merge')

const TIMEOUT_MS = 2000

/** Policies, lists and settings in Redis: the truth for every instance. Keeps the last state it saw for when Redis is away. */
export class RedisLedger implements Ledger {
  private readonly connection: Connection
  private readonly keys: Keys
  private readonly instance: string
  private readonly listeners = new Set<(state: ControlState) => void>()
  private readonly warn: (message: string) => void
  /** What this instance decides by: the seed until Redis has said more. */
  private known: ControlState
  private adopted = false
  private syncing: Promise<void> | undefined

  constructor(
    connection: Connection,
    keys: Keys,
    instance: string,
    seed: ControlState,
    warn: (message: string) => void,
  ) {
    this.connection = connection
    this.keys = keys
    this.instance = instance
    this.known = seed
    this.warn = warn
  }

  async load(): Promise<ControlState> {
    const { epoch, policies, settings, lists } = this.keys
    const replies = await withTimeout(
      this.connection.commands.multi().get(epoch).hgetall(policies).get(settings).hgetall(lists).exec(),
      TIMEOUT_MS,
    )
    const [epochNow, records, settingsNow, entries] = (replies ?? []).map(([error, reply]) => {
      if (error) throw error
      return reply
    }) as [string | null, Record<string, string>, string | null, Record<string, string>]
    if (epochNow === null || settingsNow === null) return this.known
    const state: ControlState = {
      epoch: Number(epochNow),
      policies: [],
      tombstones: {},
      settings: settingsSchema.parse(JSON.parse(settingsNow)),
      lists: this.readable(Object.values(entries), text => listEntrySchema.parse(JSON.parse(text))),
    }
    for (const [id, text] of Object.entries(records)) {
      const record = JSON.parse(text) as { deleted?: boolean; version: number }
      if (record.deleted) state.tombstones[id] = record.version
      else state.policies.push(...this.readable([text], one => policyRecordSchema.parse(JSON.parse(one))))
    }
    return state
  }

  async commit(epoch: number, change: Change, event: NewEvent): Promise<number | undefined> {
    const { keys } = this
    const write = this.writeOf(change)
    const reply = await withTimeout(
      evaluate(
        this.connection.commands,
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
      ),
      TIMEOUT_MS,
    )
    const next = Number(reply)
    if (next < 0) return undefined
    await this.sync(next)
    return next
  }

  async history(id: string): Promise<PolicyRecord[]> {
    const kept = await withTimeout(
      this.connection.commands.lrange(this.keys.history(id), 0, KEPT_VERSIONS - 1),
      TIMEOUT_MS,
    )
    const live = kept.filter(text => !(JSON.parse(text) as { deleted?: boolean }).deleted)
    return this.readable(live, text => policyRecordSchema.parse(JSON.parse(text)))
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
    if (this.adopted && epoch === this.known.epoch) return Promise.resolve()
    this.syncing ??= this.takeOver(epoch).finally(() => {
      this.syncing = undefined
    })
    return this.syncing
  }

  private async takeOver(epoch: number): Promise<void> {
    if (!this.adopted || epoch < this.known.epoch) await this.merge()
    this.known = await this.load()
    this.adopted = true
    for (const listener of this.listeners) listener(this.known)
  }

  private async merge(): Promise<void> {
    const { keys } = this
    const { policies, tombstones, settings, lists, epoch } = this.known
    const records = [
      ...policies.map(record => ({ id: record.policy.id, version: record.version, json: JSON.stringify(record) })),
      ...Object.entries(tombstones).map(([id, version]) => ({
        id,
        version,
        json: JSON.stringify({ deleted: true, version }),
      })),
    ]
    await withTimeout(
      evaluate(
        this.connection.commands,
        mergeScript,
        [keys.epoch, keys.policies, keys.settings, keys.lists, ...records.map(({ id }) => keys.history(id))],
        [
          this.adopted ? epoch : 0,
          JSON.stringify(settings),
          records.length,
          ...records.flatMap(({ id, version, json }) => [id, version, json]),
          ...lists.flatMap(entry => [`${entry.list} ${entry.cidr}`, JSON.stringify(entry)]),
        ],
      ),
      TIMEOUT_MS,
    )
  }

  private writeOf(change: Change): { key: string; history?: string; args: (string | number)[] } {
    const { keys } = this
    if ('policy' in change) {
      const { id } = change.policy.policy
      return { key: keys.policies, history: keys.history(id), args: ['hset', id, JSON.stringify(change.policy)] }
    }
    if ('deletedPolicy' in change) {
      const { id, version } = change.deletedPolicy
      return {
        key: keys.policies,
        history: keys.history(id),
        args: ['hset', id, JSON.stringify({ deleted: true, version })],
      }
    }
    if ('settings' in change) return { key: keys.settings, args: ['set', JSON.stringify(change.settings)] }
    const { list, cidr } = 'list' in change ? change.list : change.deletedList
    const field = `${list} ${cidr}`
    return 'list' in change
      ? { key: keys.lists, args: ['hset', field, JSON.stringify(change.list)] }
      : { key: keys.lists, args: ['hdel', field] }
  }

  /** What a newer version wrote and this one cannot read is left out, and said; the rest stays in force. */
  private readable<T>(texts: readonly string[], parse: (text: string) => T): T[] {
    return texts.flatMap(text => {
      try {
        return [parse(text)]
      } catch (error) {
        this.warn(
          `the control state holds something this version cannot read, it is left out: ${(error as Error).message.slice(0, 200)}`,
        )
        return []
      }
    })
  }
}
