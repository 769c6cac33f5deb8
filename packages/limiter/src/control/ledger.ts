import type { ControlState, ListEntry, NewEvent, PolicyRecord, Settings } from '../contracts/index.ts'
import { BouncerError } from '../errors.ts'
import type { Answer } from '../stores/store.ts'

/** One change of the control state; exactly one of the three. */
export type Change =
  | { readonly policy: PolicyRecord }
  | { readonly deletedPolicy: { readonly id: string; readonly version: number } }
  | { readonly list: ListEntry }
  | { readonly deletedList: Pick<ListEntry, 'list' | 'cidr'> }
  | { readonly settings: Settings }

/** Where policies, lists and settings are kept. A change is written only against the epoch it was made from. */
export interface Ledger {
  load(): Answer<ControlState>
  /** The new epoch, or `undefined` when someone else has changed something since `epoch`. The event goes out with it. */
  commit(epoch: number, change: Change, event: NewEvent): Answer<number | undefined>
  /** Earlier versions of a policy, newest first, the present one included; at most 50. */
  history(id: string): Answer<PolicyRecord[]>
  /** Calls back with every new state, the ones that others have made too; returns how to stop. */
  subscribe(listener: (state: ControlState) => void): () => void
}

export const KEPT_VERSIONS = 50

/** Nobody writes over what they cannot read. */
export const unreadable = (what: string) =>
  new BouncerError(
    'ERR_CONFLICT',
    `${what} was written by another version, and this one cannot read it`,
    'Change it through an instance of that version (bouncer status lists them), or upgrade this one',
  )

/** The state after a change; pure. */
export function applyChange(state: ControlState, change: Change, epoch: number): ControlState {
  const { policies, lists, tombstones } = state
  if ('policy' in change) {
    const { id } = change.policy.policy
    const { [id]: _, ...others } = tombstones
    return {
      ...state,
      epoch,
      tombstones: others,
      policies: [...policies.filter(p => p.policy.id !== id), change.policy],
    }
  }
  if ('deletedPolicy' in change) {
    const { id, version } = change.deletedPolicy
    return {
      ...state,
      epoch,
      tombstones: { ...tombstones, [id]: version },
      policies: policies.filter(p => p.policy.id !== id),
    }
  }
  if ('settings' in change) return { ...state, epoch, settings: change.settings }
  const { list, cidr } = 'list' in change ? change.list : change.deletedList
  const others = lists.filter(entry => entry.list !== list || entry.cidr !== cidr)
  return { ...state, epoch, lists: 'list' in change ? [...others, change.list] : others }
}

/** The embedded ledger: lives as long as the process. */
export class MemoryLedger implements Ledger {
  private state: ControlState
  private readonly listeners = new Set<(state: ControlState) => void>()
  private readonly versions = new Map<string, PolicyRecord[]>()

  private readonly append: (event: NewEvent) => void

  constructor(seed: ControlState, append: (event: NewEvent) => void) {
    this.state = seed
    this.append = append
    for (const record of seed.policies) this.versions.set(record.policy.id, [record])
  }

  load(): ControlState {
    return this.state
  }

  commit(epoch: number, change: Change, event: NewEvent): number | undefined {
    if (epoch !== this.state.epoch) return undefined
    this.state = applyChange(this.state, change, epoch + 1)
    if ('policy' in change) {
      const { id } = change.policy.policy
      this.versions.set(id, [change.policy, ...(this.versions.get(id) ?? [])].slice(0, KEPT_VERSIONS))
    }
    for (const listener of this.listeners) listener(this.state)
    this.append(event)
    return this.state.epoch
  }

  history(id: string): PolicyRecord[] {
    return this.versions.get(id) ?? []
  }

  subscribe(listener: (state: ControlState) => void): () => void {
    this.listeners.add(listener)
    return () => this.listeners.delete(listener)
  }
}
