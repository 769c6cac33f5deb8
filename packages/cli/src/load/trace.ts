/** What became of a request. */
export const NEVER_SENT = 0
export const UNANSWERED = 1
export const ADMITTED = 2
export const LIMITED = 3
export const BLOCKED = 4
export const DENIED = 5
/** Refused because the store gave no answer. */
export const DEGRADED = 6
export type Outcome =
  | typeof NEVER_SENT
  | typeof UNANSWERED
  | typeof ADMITTED
  | typeof LIMITED
  | typeof BLOCKED
  | typeof DENIED
  | typeof DEGRADED

/** The columns alone, as they cross from one thread to another. */
export type TraceData = Pick<Trace, 'count' | 'endedAt' | 'client' | 'sentAt' | 'answeredAt' | 'outcome'>

/** Every planned request of a run, in columns: a million of them are 21 MB. Times are µs since the epoch by our clock. */
export class Trace {
  count = 0
  endedAt = 0
  readonly client: Uint32Array
  readonly sentAt: Float64Array
  /** When the answer began. */
  readonly answeredAt: Float64Array
  readonly outcome: Uint8Array

  constructor(capacity: number) {
    this.client = new Uint32Array(capacity)
    this.sentAt = new Float64Array(capacity)
    this.answeredAt = new Float64Array(capacity)
    this.outcome = new Uint8Array(capacity)
  }

  /** Adds a request that was sent; returns its index. */
  sent(client: number, at: number): number {
    const i = this.count++
    this.client[i] = client
    this.sentAt[i] = at
    this.outcome[i] = UNANSWERED
    return i
  }

  answered(i: number, at: number, outcome: Outcome): void {
    this.answeredAt[i] = at
    this.outcome[i] = outcome
  }

  /** It never reached the server: nothing was counted. */
  neverSent(i: number): void {
    this.outcome[i] = NEVER_SENT
  }
}
