/** Each is cleaned up by itself, and leaves an entry in the audit. */
export const MAX_CLIENTS = 1000

/** How much oftener than others an attacker sends. */
export const ATTACKER_WEIGHT = 10

/** The client of this index (from 0): 198.18.0.1, 198.18.0.2, … of the benchmarking range, 198.18.0.0/15 (RFC 2544), nobody's. */
export const addressOf = (index: number): string => {
  const n = index + 1
  return `198.${18 + (n >> 16)}.${(n >> 8) & 255}.${n & 255}`
}

/** A small seeded generator (mulberry32): numbers from 0 to 1, the same for the same seed everywhere. */
export function generator(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

/** How many of the clients attack. */
export const attackersOf = (size: number, share: number | undefined): number => Math.round(size * (share ?? 0))

/** Who sends next, and who waits. */
export interface Crowd {
  readonly size: number
  /** The last so many are attackers. */
  readonly attackers: number
  /** The client of the next request. */
  next(): number
  /** Whether it keeps to a Retry-After it was given: is it still waiting, at this time (ms)? */
  waits(client: number, now: number): boolean
  /** A refusal asked this client to come back after `retryAfterMs`. */
  refused(client: number, now: number, retryAfterMs: number): void
}

/**
 * Deals the requests to the clients in rounds, each a shuffle of its own: random in order, equal in shares (an attacker is in
 * each round ten times). With `attackers` given, even 0, everybody else waits as long as a refusal asks; without, nobody does.
 */
export function crowd(size: number, attackerShare: number | undefined, random: () => number): Crowd {
  const attackers = attackersOf(size, attackerShare)
  const polite = size - attackers
  const deck = Array.from({ length: polite + attackers * ATTACKER_WEIGHT }, (_, i) =>
    i < polite ? i : polite + Math.floor((i - polite) / ATTACKER_WEIGHT),
  )
  let left = 0
  const until = new Float64Array(size)
  return {
    size,
    attackers,
    next() {
      if (left === 0) left = deck.length
      // One step of a Fisher–Yates shuffle a request.
      const pick = Math.floor(random() * left)
      left--
      const client = deck[pick] as number
      deck[pick] = deck[left] as number
      deck[left] = client
      return client
    },
    waits: (client, now) => attackerShare !== undefined && client < polite && now < (until[client] as number),
    refused(client, now, retryAfterMs) {
      until[client] = Math.max(until[client] as number, now + retryAfterMs)
    },
  }
}
