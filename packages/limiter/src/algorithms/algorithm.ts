import type { AlgorithmId } from '../contracts/index.ts'
import type { Log } from './sliding-window/log.ts'

/** One compiled limit. Times inside the algorithms are whole microseconds, as Redis' TIME gives them. */
export interface Limit {
  readonly algorithm: AlgorithmId
  /** Units per window. */
  readonly limit: number
  /** Units that can be had at once: `burst` where the algorithm knows one, else `limit`. */
  readonly capacity: number
  /** A request that costs more never fits. */
  readonly maxCost: number
  readonly windowMs: number
  readonly windowUs: number
  /** A state untouched for so long may be forgotten: `Algorithm.fullWithin`. */
  readonly forgetAfterUs: number
  /** The window's spelling in key names: `60s`, `250ms`. */
  readonly windowName: string
  /** No two compiled limits of a process have the same: a small integer from 1 on. */
  readonly number: number
  /** Names this counter among a client's: `sliding_window:auth:60s`. */
  readonly counter: string
}

/**
 * A rate-limiting algorithm as a pure function of (state, limit, now, cost). The store keeps `State` and passes the
 * time in. `now` never runs backwards for one state.
 */
export interface Algorithm<State = unknown> {
  readonly id: AlgorithmId
  /** Whether `burst` means anything to it. */
  readonly bursts: boolean
  /** The state of a client never seen before; where that is to be a log, in a free one. */
  fresh(limit: Limit, now: number, free?: () => Log): State
  /** Whole units that can be had now, 0 to capacity. Changes nothing that a later call could tell. */
  available(state: State, limit: Limit, now: number): number
  /** Takes `cost` units and returns what `available` says then; -1, and takes none, where there are not so many. */
  take(state: State, limit: Limit, now: number, cost: number): number
  /** Gives back what was taken at `takenAt`; returns how many units came back (0 when they have expired). */
  refund(state: State, limit: Limit, now: number, cost: number, takenAt: number): number
  /** Microseconds until `cost` units (at most capacity) can be had; 0 when they can now. */
  wait(state: State, limit: Limit, now: number, cost: number): number
  /**
   * What `wait` says of one unit more than the `remaining` that `take` has just left, having taken some at this `now`: asked of every
   * request that is allowed.
   */
  next(state: State, limit: Limit, now: number, remaining: number): number
  /** Microseconds until the state equals a fresh one: when it may be forgotten. */
  fullAfter(state: State, limit: Limit, now: number): number
  /** The longest that `fullAfter` can be, µs. */
  fullWithin(limit: Omit<Limit, 'forgetAfterUs'>): number
}
