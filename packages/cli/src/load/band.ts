import type { Rules } from '@api-bouncer/limiter/rules'

/** A policy with its algorithm, its limits and its penalty. */
export type CompiledPolicy = NonNullable<ReturnType<Rules['table']['match']>>

/**
 * What a correct limiter may do with the requests of one client, when only this is known of each: it took effect somewhere
 * between `from` and `to`. All times are whole µs, ascending. Sorting both bounds loses nothing that must be kept: whatever
 * the true times and their order, the k-th earliest lies between the k-th earliest `from` and the k-th earliest `to`, and
 * requests of one client under one policy are all alike.
 */
export interface Requests {
  readonly from: readonly number[]
  readonly to: readonly number[]
}

export interface Band {
  readonly least: number
  readonly most: number
}

/** Of the first k + 1 requests, at least and at most so many are admitted, blocks left aside. Neither ever falls. */
interface Prefixes {
  readonly least: readonly number[]
  readonly most: readonly number[]
}

/**
 * At least and at most so many of these requests had to be admitted, if the client was unknown to the limiter before.
 *
 * Without blocks these are the bounds of the limits alone. With a penalty the band widens, soundly: until a client is blocked,
 * what was refused is what was not admitted, so of the first k requests between k - most and k - least were violations. The
 * block therefore cannot come before the first k for which k - least reaches the threshold (and what was admitted by then
 * is the least), nor later than where so many must have been refused within the penalty's window.
 */
export function band(policy: CompiledPolicy, requests: Requests): Band {
  const count = requests.from.length
  if (count === 0) return { least: 0, most: 0 }
  if (policy.limits.length === 0) return { least: count, most: count }
  // Costs that never fit are refused without a violation.
  if (policy.cost > policy.maxCost) return { least: 0, most: 0 }
  const prefixes =
    policy.algorithm.id === 'fixed_window'
      ? fixedWindowPrefixes(policy, requests)
      : { least: leastAdmitted(policy, requests), most: mostAdmitted(policy, requests) }
  const free = { least: prefixes.least.at(-1) as number, most: prefixes.most.at(-1) as number }
  return policy.penalty ? withBlocks(policy, policy.penalty, requests, prefixes, free) : free
}

/**
 * The band of those that were answered, when others were not: nobody knows whether and when those took effect, from when
 * they were sent to `end`. The most leaves them out (they can only have taken room); the least has them all take effect,
 * and gives every one of them a unit that an answered one then lacked.
 */
export function bandOfAnswered(
  policy: CompiledPolicy,
  answered: Requests,
  unanswered: readonly number[],
  end: number,
): Band {
  const alone = band(policy, answered)
  if (unanswered.length === 0 || policy.limits.length === 0 || answered.from.length === 0) return alone
  const ascending = (a: number, b: number) => a - b
  const all = {
    from: [...answered.from, ...unanswered].sort(ascending),
    to: [...answered.to, ...unanswered.map(() => end)].sort(ascending),
  }
  if (policy.algorithm.id !== 'fixed_window') {
    return { least: Math.max(0, band(policy, all).least - unanswered.length), most: alone.most }
  }
  // One that was never answered may have opened a window.
  const window = Math.min(...policy.limits.map(({ limit }) => Math.floor(limit / policy.cost)))
  const first = Math.min(answered.from.length, window)
  const most = Math.min(answered.from.length, byWindows(policy, all, all.from.length - 1))
  return { least: Math.max(0, first - unanswered.length), most }
}

type Penalty = NonNullable<CompiledPolicy['penalty']>

function withBlocks(
  policy: CompiledPolicy,
  { threshold, windowMs, blockMs }: Penalty,
  { from, to }: Requests,
  { least, most }: Prefixes,
  free: Band,
): Band {
  const earliest = least.findIndex((admitted, k) => k + 1 - admitted >= threshold)
  if (earliest < 0) return free
  const atLeast = least[earliest] as number
  const end = to.at(-1) as number
  // Does a block that comes as early as it can outlast the run? Else what follows it is not told apart: only the limits bind.
  if ((from[earliest] as number) + Math.min(...blockMs) * 1000 <= end) {
    return {
      least: atLeast,
      most: policy.algorithm.id === 'fixed_window' ? byWindows(policy, { from, to }, from.length - 1) : free.most,
    }
  }
  const latest = latestBlock(threshold, windowMs * 1000, { from, to }, { least, most })
  if (latest === undefined) return { least: atLeast, most: free.most }
  // Of the requests up to the one that was blocked, `threshold` at least were not admitted.
  return { least: atLeast, most: Math.min(most[latest] as number, latest + 1 - threshold) }
}

/** The first request by which `threshold` violations must have fallen into one window. */
function latestBlock(
  threshold: number,
  windowUs: number,
  { from, to }: Requests,
  { least, most }: Prefixes,
): number | undefined {
  let old = 0
  for (let k = 0; k < from.length; k++) {
    while ((from[old] as number) <= (to[k] as number) - windowUs) old++
    const refused = k + 1 - (most[k] as number)
    const refusedBefore = old === 0 ? 0 : old - (least[old - 1] as number)
    if (refused - refusedBefore >= threshold) return k
  }
  return undefined
}

/**
 * The most: every request takes effect as early as it fits, if it fits before its time is over. Nobody can be ahead of that:
 * whatever the true times, the j-th admitted here is admitted no later than the true j-th, and an earlier unit never makes
 * room later (it is older in a log, refilled sooner in a bucket, further gone in a counter's estimate). fixed_window is the one
 * algorithm for which this does not hold.
 */
function mostAdmitted({ algorithm, limits, cost }: CompiledPolicy, { from, to }: Requests): number[] {
  const states = limits.map(limit => algorithm.fresh(limit, from[0] as number))
  let now = from[0] as number
  let admitted = 0
  return from.map((earliest, k) => {
    const asked = Math.max(now, earliest)
    const waits = limits.map((limit, i) => algorithm.wait(states[i], limit, asked, cost))
    const fits = asked + Math.max(...waits)
    if (fits <= (to[k] as number)) {
      limits.forEach((limit, i) => {
        algorithm.take(states[i], limit, fits, cost)
      })
      now = fits
      admitted++
    }
    return admitted
  })
}

/**
 * The least: every request asks as early as it can, and what it takes is taken as late as it can be; until then it is held as
 * pending. By the same argument the other way round: the j-th admitted here is admitted no earlier than the true j-th, so
 * where it fits here it fits in truth. A pending unit weighs at most itself at any time, which is what is held for it.
 */
function leastAdmitted({ algorithm, limits, cost }: CompiledPolicy, { from, to }: Requests): number[] {
  const states = limits.map(limit => algorithm.fresh(limit, from[0] as number))
  const pending: number[] = []
  let settled = 0
  let admitted = 0
  return from.map((now, k) => {
    for (; settled < pending.length && (pending[settled] as number) <= now; settled++) {
      limits.forEach((limit, i) => {
        algorithm.take(states[i], limit, pending[settled] as number, cost)
      })
    }
    const wanted = (pending.length - settled + 1) * cost
    if (limits.every((limit, i) => algorithm.available(states[i], limit, now) >= wanted)) {
      pending.push(to[k] as number)
      admitted++
    }
    return admitted
  })
}

/** The window of each limit: which request opened it (-1: none has), and how many units it holds. */
interface Windows {
  readonly opened: readonly number[]
  readonly used: readonly number[]
  least: number
  most: number
}

/** Beyond so many possible states the band is given up: it is still sound, but wide. */
const MAX_STATES = 2000

/**
 * fixed_window opens a window with whichever request comes first, so an earlier unit may open one too soon: neither extreme
 * is reached by early or late times. Instead every state that the limiter could be in is followed. They part only where
 * nobody knows whether a window was over yet, and meet again when they hold the same windows.
 */
function fixedWindowPrefixes(policy: CompiledPolicy, requests: Requests): Prefixes {
  const { limits, cost } = policy
  const { from } = requests
  const [least, most]: [number[], number[]] = [[], []]
  let states: Windows[] = [{ opened: limits.map(() => -1), used: limits.map(() => 0), least: 0, most: 0 }]
  for (let k = 0; k < from.length; k++) {
    const next = new Map<string, Windows>()
    for (const state of states) {
      for (const used of usedBy(policy, requests, state, k)) {
        const fits = limits.every(({ limit }, i) => (used[i] as number) + cost <= limit)
        const made = {
          opened: state.opened.map((opened, i) => (fits && used[i] === 0 ? k : opened)),
          used: fits ? used.map(one => one + cost) : state.used,
          least: state.least + Number(fits),
          most: state.most + Number(fits),
        }
        const name = `${made.opened} ${made.used}`
        const same = next.get(name)
        if (same) {
          same.least = Math.min(same.least, made.least)
          same.most = Math.max(same.most, made.most)
        } else next.set(name, made)
      }
    }
    states = [...next.values()]
    if (states.length > MAX_STATES) return giveUp(policy, requests, { least, most })
    least.push(states.reduce((low, state) => Math.min(low, state.least), Number.POSITIVE_INFINITY))
    most.push(states.reduce((high, state) => Math.max(high, state.most), 0))
  }
  return { least, most }
}

/** What each window holds when request k asks: one answer, or two for each limit whose window may or may not be over. */
function usedBy({ limits }: CompiledPolicy, { from, to }: Requests, { opened, used }: Windows, k: number): number[][] {
  let answers: number[][] = [[]]
  limits.forEach(({ windowUs }, i) => {
    const start = opened[i] as number
    const over = start < 0 || (to[k] as number) - (from[start] as number) >= windowUs
    const mayLast = start >= 0 && (from[k] as number) - (to[start] as number) < windowUs
    answers = answers.flatMap(answer => [
      ...(over ? [[...answer, 0]] : []),
      ...(mayLast ? [[...answer, used[i] as number]] : []),
    ])
  })
  return answers
}

function giveUp(policy: CompiledPolicy, requests: Requests, { least, most }: Prefixes): Prefixes {
  const known = least.length
  const all = requests.from.map((_, k) => k)
  return {
    least: all.map(k => (k < known ? least[k] : least[known - 1]) as number),
    most: all.map(k => (k < known ? (most[k] as number) : byWindows(policy, requests, k))),
  }
}

/** Windows are opened at least their length apart: no more can be than fit into the time, each full. */
function byWindows({ limits, cost }: CompiledPolicy, { from, to }: Requests, last: number): number {
  const span = (to[last] as number) - (from[0] as number)
  const full = limits.map(({ limit, windowUs }) => Math.floor(limit / cost) * (Math.floor(span / windowUs) + 1))
  return Math.min(last + 1, ...full)
}
