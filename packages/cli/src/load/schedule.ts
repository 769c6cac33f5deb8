/** A stretch of time over which the rate goes linearly from one value to another. */
export interface Stage {
  /** Requests a second at its start and at its end. */
  readonly from: number
  readonly to: number
  readonly durationMs: number
}

/** When each request is due. Pure arithmetic: every time is computed from the start, so nothing adds up to a drift. */
export interface Schedule {
  readonly stages: readonly Stage[]
  readonly durationMs: number
  /** How many requests are due in all. */
  readonly count: number
  /** When the request of this index (from 0) is due, ms after the start. */
  at(index: number): number
}

/** A constant rate: request i is due at i/rate. */
export const constant = (rps: number, durationMs: number): Schedule => schedule([{ from: rps, to: rps, durationMs }])

/**
 * From rate to rate, as `50:10s,200:30s` says it: each stage goes linearly from where the one before ended to its own rate.
 * The first one starts from `rps`, or is constant where there is none.
 */
export function ramps(targets: readonly { rps: number; durationMs: number }[], rps = targets[0]?.rps ?? 0): Schedule {
  let from = rps
  return schedule(
    targets.map(({ rps: to, durationMs }) => {
      const stage = { from, to, durationMs }
      from = to
      return stage
    }),
  )
}

interface Piece extends Stage {
  readonly startMs: number
  /** Requests due before it: the integral of the rate so far. */
  readonly before: number
  readonly total: number
}

/** Far below a request, far above the rounding of doubles: 0.1 rps for 10 s are one request, not two. */
const SLACK = 1e-9

/** The schedule of these stages, one after the other. */
export function schedule(stages: readonly Stage[]): Schedule {
  let startMs = 0
  let before = 0
  const pieces = stages.map((stage): Piece => {
    const total = (((stage.from + stage.to) / 2) * stage.durationMs) / 1000
    const piece = { ...stage, startMs, before, total }
    startMs += stage.durationMs
    before += total
    return piece
  })
  // Request k is due when the integral reaches k, the first at the very start.
  const count = Math.max(0, Math.ceil(before - SLACK * Math.max(1, before)))
  return {
    stages,
    durationMs: startMs,
    count,
    at(index) {
      const piece = pieces.find(one => index < one.before + one.total) ?? (pieces.at(-1) as Piece)
      return piece.startMs + timeInto(piece, index - piece.before)
    },
  }
}

/** Solves ∫ rate = n for the time, in the form that divides by no difference (a constant rate has a slope of 0). */
function timeInto({ from, to, durationMs }: Stage, n: number): number {
  if (n <= 0) return 0
  const seconds = durationMs / 1000
  const slope = (to - from) / seconds
  const root = Math.sqrt(Math.max(0, from * from + 2 * slope * n))
  return Math.min(durationMs, (2000 * n) / (from + root))
}
