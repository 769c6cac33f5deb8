import type { AuditEntry } from '../contracts/index.ts'
import type { Answer } from '../stores/store.ts'

export type NewAuditEntry = Omit<AuditEntry, 'id' | 'at'>

/** Every operator's change: who, when, from where, what it was and what it became. */
export interface AuditLog {
  append(entry: NewAuditEntry): Answer<void>
  /** Newest first. */
  latest(limit: number): Answer<AuditEntry[]>
}

export const KEPT_AUDIT = 10_000

/** The embedded audit: lives as long as the process. */
export class MemoryAuditLog implements AuditLog {
  private readonly entries: AuditEntry[] = []
  private next = 1

  append(entry: NewAuditEntry): void {
    const at = Date.now()
    this.entries.unshift({ ...entry, id: `${at}-${this.next++}`, at })
    if (this.entries.length > KEPT_AUDIT) this.entries.pop()
  }

  latest(limit: number): AuditEntry[] {
    return this.entries.slice(0, limit)
  }
}
