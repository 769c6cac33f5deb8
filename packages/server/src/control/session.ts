import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto'

/** What somebody may do: everything, or look. */
export type Role = 'operator' | 'viewer'

/** Without use a session ends after this time … */
export const IDLE_MS = 30 * 60_000
/** … and whatever is done with it, after this one. */
export const LIFE_MS = 12 * 3_600_000
/** A sign-in code that nobody has used. */
export const CODE_MS = 10 * 60_000

/** Of each role: however many viewers sign in, no operator's session makes room for theirs. */
const MAX_SESSIONS = 1000
const MAX_CODES = 20

export interface SessionRecord {
  /** Names the session within this process; the cookie's secret cannot be told from it. */
  readonly id: string
  readonly role: Role
  readonly by: string
  readonly startedAt: number
}

export type EndOfSession = 'signed out' | 'unused for too long' | 'signed in for too long' | 'too many sessions'

const digest = (secret: string) => createHash('sha256').update(secret).digest('base64url')
const secret = () => randomBytes(32).toString('base64url')

/** Compares in a time that does not depend on where two texts differ. */
export const isSame = (a: string, b: string): boolean =>
  timingSafeEqual(createHash('sha256').update(a).digest(), createHash('sha256').update(b).digest())

/** Who is signed in. Kept in memory and by digest: what reads the memory of this process finds no cookie to use. */
export class Sessions {
  private readonly now: () => number
  private readonly key = randomBytes(32)
  /** By id, in order of last use. */
  private readonly sessions = new Map<string, SessionRecord & { usedAt: number }>()
  /** By digest: when they expire. */
  private readonly codes = new Map<string, number>()
  private readonly listeners = new Set<(id: string, why: EndOfSession) => void>()

  /** `now`: epoch ms. */
  constructor(now: () => number = Date.now) {
    this.now = now
  }

  /** Signs somebody in; `secret` is what their cookie says. Of their role the session that was not used for longest makes room. */
  start(role: Role, by: string): { secret: string; session: SessionRecord } {
    this.sweep()
    const alike = [...this.sessions.values()].filter(other => other.role === role)
    if (alike.length >= MAX_SESSIONS) this.end((alike[0] as SessionRecord).id, 'too many sessions')
    const made = secret()
    const at = this.now()
    const session = { id: digest(made), role, by, startedAt: at, usedAt: at }
    this.sessions.set(session.id, session)
    return { secret: made, session }
  }

  /** The session of a cookie, as long as it lasts. Looking is no use of it. */
  find(secret: string): SessionRecord | undefined {
    const id = digest(secret)
    const session = this.sessions.get(id)
    if (!session) return undefined
    const over = this.isOver(session)
    if (over) this.end(id, over)
    return over ? undefined : session
  }

  /** Somebody does something with it: it lasts for another while. */
  use({ id }: SessionRecord): void {
    const session = this.sessions.get(id)
    if (!session) return
    session.usedAt = this.now()
    this.sessions.delete(id)
    this.sessions.set(id, session)
  }

  end(id: string, why: EndOfSession): void {
    if (this.sessions.delete(id)) for (const listener of this.listeners) listener(id, why)
  }

  /** Ends what has expired; called every second, so that nobody looks on for longer. */
  sweep(): void {
    for (const session of [...this.sessions.values()]) {
      const over = this.isOver(session)
      if (over) this.end(session.id, over)
    }
    for (const [code, until] of this.codes) if (this.now() >= until) this.codes.delete(code)
  }

  /** Calls back with every session that ends; returns how to stop. */
  onEnd(listener: (id: string, why: EndOfSession) => void): () => void {
    this.listeners.add(listener)
    return () => this.listeners.delete(listener)
  }

  /** What changes of a cookie's session must carry in a header, which no other site's page can read or guess. */
  csrf(secret: string): string {
    return createHmac('sha256', this.key).update(secret).digest('base64url')
  }

  /** Of a session: what its owner is told. */
  times({ startedAt }: SessionRecord): { now: number; expiresAt: number; idleMs: number } {
    return { now: this.now(), expiresAt: startedAt + LIFE_MS, idleMs: IDLE_MS }
  }

  /** A code that signs an operator in, once. */
  makeCode(): { code: string; expiresAt: number } {
    this.sweep()
    if (this.codes.size >= MAX_CODES) this.codes.delete(this.codes.keys().next().value as string)
    const code = secret()
    const expiresAt = this.now() + CODE_MS
    this.codes.set(digest(code), expiresAt)
    return { code, expiresAt }
  }

  /** Whether this is such a code, not used before and not expired; from now on it is none. */
  redeem(code: string): boolean {
    const id = digest(code)
    const until = this.codes.get(id)
    this.codes.delete(id)
    return until !== undefined && this.now() < until
  }

  private isOver({ startedAt, usedAt }: { startedAt: number; usedAt: number }): EndOfSession | undefined {
    const now = this.now()
    if (now >= startedAt + LIFE_MS) return 'signed in for too long'
    return now >= usedAt + IDLE_MS ? 'unused for too long' : undefined
  }
}
