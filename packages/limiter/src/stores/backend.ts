import type { Diagnosis, StatsFrame, Status } from '../contracts/index.ts'
import type { AuditLog } from '../control/audit.ts'
import type { KeyBrowser } from '../control/keys.ts'
import type { Ledger } from '../control/ledger.ts'
import type { EventLog } from '../events/event-log.ts'
import type { CompiledPolicy } from '../policies/table.ts'
import type { History } from '../stats/history.ts'
import type { Answer, Check, Store, Verdict } from './store.ts'

/** Where everything is kept: one room in this process, or Redis for a fleet. */
export interface Backend {
  readonly store: Store
  readonly ledger: Ledger
  readonly events: EventLog
  readonly audit: AuditLog
  readonly keys: KeyBrowser
  readonly history: History
  /** Tells the fleet what this instance did in the last second. */
  publish(frame: StatsFrame): void
  /** The newest frame of every live instance. */
  fleet(): Answer<StatsFrame[]>
  /** Calls back with every frame of every instance, this one's too, while somebody listens; returns how to stop. */
  watch(listener: (frame: StatsFrame) => void): () => void
  /** Forgets what is kept of a client for people to see: its last refusals, its requests by the minute. */
  forget(client: string): Answer<void>
  /** How many clients are blocked, cheaply: for who asks every second. */
  countBlocks(): Answer<number>
  /** Decides for policies of fail mode `local` while the store gives no answer; absent where that cannot be. */
  readonly local?: {
    check(check: Check): Verdict
    /** The policy by which it does: with this instance's share of each limit. */
    share(policy: CompiledPolicy): CompiledPolicy
  }
  /** Looks at what it runs on; absent where there is nothing to set wrong. Never rejects. */
  diagnose?(): Promise<Diagnosis[]>
  /** What it runs on, asked anew; absent where there is nothing to ask. Never rejects. */
  about?(): Promise<StoreAbout>
  close(): Answer<void>
}

export type StoreAbout = Pick<Status['store'], 'version' | 'memoryBytes'> & {
  /** Why it cannot do its work, though it answers. */
  readonly ill?: string
  /** It is one of a Cluster, and was taken for all. */
  readonly clusterNode?: true
}
