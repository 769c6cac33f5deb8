import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ALGORITHMS, type AlgorithmId, policySchema } from '../contracts/index.ts'
import { compilePolicy } from '../policies/table.ts'
import { algorithms, type Limit } from './index.ts'

// The battery that every algorithm passes. Times are µs of these years, where doubles are at their coarsest.
const NOW = 1.8e15

const SHAPES = [
  { limit: 5, window: '5s' },
  { limit: 7, window: '60s' },
  { limit: 100, window: '1m', burst: 120 },
  { limit: 10, window: '1s', burst: 3 },
  { limit: 3, window: '1h', burst: 50 },
  { limit: 1, window: '1d' },
  { limit: 1_000_000, window: '100ms' },
]

function compile(id: AlgorithmId, shape: { limit: number; window: string; burst?: number }): Limit {
  // The log keeps one entry a unit, so that its huge is smaller.
  const limit = id === 'sliding_window' ? Math.min(shape.limit, 20_000) : shape.limit
  const policy = policySchema.parse({ id: 'p', limits: [{ ...shape, limit }] })
  return compilePolicy(policy, undefined, { algorithm: id, failMode: 'open' }).limits[0]!
}

/** A request after `step` µs, or (with `refund`) giving back one of the units taken before. */
interface Move {
  step: number
  cost: number
  refund: number | undefined
}

const moves = (limit: Limit, refunds: boolean) => {
  const aUnit = Math.ceil(limit.windowUs / limit.limit)
  const step = fc.oneof(
    { weight: 2, arbitrary: fc.constant(0) },
    { weight: 4, arbitrary: fc.integer({ min: 0, max: 2 * aUnit }) },
    { weight: 2, arbitrary: fc.integer({ min: 0, max: limit.windowUs }) },
    // The edges: ages of exactly a window (or two), and a unit's worth of time.
    { weight: 2, arbitrary: fc.constantFrom(aUnit - 1, aUnit, limit.windowUs - 1, limit.windowUs, limit.windowUs + 1) },
    { weight: 1, arbitrary: fc.constantFrom(2 * limit.windowUs, 3 * limit.windowUs + 1) },
  )
  const cost = fc.oneof(fc.constant(1), fc.integer({ min: 1, max: limit.maxCost }), fc.constant(limit.maxCost))
  const refund = refunds ? fc.option(fc.nat(20), { freq: 4, nil: undefined }) : fc.constant(undefined)
  return fc.array(fc.record<Move>({ step, cost, refund }), { maxLength: limit.limit > 1000 ? 12 : 60 })
}

/** A state, its time and what was taken. */
function drive(id: AlgorithmId, limit: Limit, start: number) {
  const algorithm = algorithms[id]
  const state = algorithm.fresh(limit, start)
  const taken: { at: number; cost: number }[] = []
  const run = {
    now: start,
    taken,
    available: (after = 0) => algorithm.available(state, limit, run.now + after),
    wait: (cost: number) => algorithm.wait(state, limit, run.now, cost),
    fullAfter: () => algorithm.fullAfter(state, limit, run.now),
    /** Takes what is there, and says so. */
    take(cost: number) {
      const left = run.available() - cost
      expect(algorithm.take(state, limit, run.now, cost)).toBe(left)
      expect(run.available()).toBe(left)
      expect(algorithm.next(state, limit, run.now, left)).toBe(run.wait(left + 1))
      const receipt = { at: run.now, cost }
      taken.push(receipt)
      return receipt
    },
    refund: ({ at, cost }: { at: number; cost: number }) => algorithm.refund(state, limit, run.now, cost, at),
    /** Whether the move was let through. */
    play({ step, cost, refund }: Move): boolean {
      run.now += step
      if (refund !== undefined) {
        const [receipt] = taken.splice(refund % Math.max(1, taken.length), 1)
        return receipt !== undefined && run.refund(receipt) > 0
      }
      const available = run.available()
      if (available >= cost) {
        run.take(cost)
        return true
      }
      expect(algorithm.take(state, limit, run.now, cost)).toBe(-1)
      expect(run.available()).toBe(available)
      return false
    },
  }
  return run
}

/** The rules once more, independently, in whole numbers without rounding: units available after the moves so far. */
type Oracle = (limit: Limit) => {
  available(now: number): number
  take(now: number, cost: number): void
  refund(now: number, receipt: { at: number; cost: number }): void
}

const bucket: Oracle = ({ capacity, limit, windowUs }) => {
  // In parts of a token: one is `windowUs` of them, and `limit` of them flow in each µs.
  const [full, rate, token] = [BigInt(capacity) * BigInt(windowUs), BigInt(limit), BigInt(windowUs)]
  let [level, at] = [full, 0]
  const flow = (now: number) => {
    level += BigInt(now - at) * rate
    if (level > full) level = full
    at = now
  }
  return {
    available(now) {
      flow(now)
      return Number(level / token)
    },
    take(now, cost) {
      flow(now)
      level -= BigInt(cost) * token
    },
    refund(now, { cost }) {
      flow(now)
      level += BigInt(cost) * token
      flow(now)
    },
  }
}

const oracles: Record<AlgorithmId, Oracle> = {
  sliding_window: ({ limit, windowUs }) => {
    let log: { at: number; cost: number }[] = []
    return {
      available: now => limit - log.filter(({ at }) => now - at <= windowUs).reduce((sum, { cost }) => sum + cost, 0),
      take: (at, cost) => void log.push({ at, cost }),
      refund(_now, receipt) {
        const index = log.findIndex(({ at, cost }) => at === receipt.at && cost === receipt.cost)
        log = log.filter((_, i) => i !== index)
      },
    }
  },
  token_bucket: bucket,
  gcra: bucket,
  sliding_window_counter: ({ limit, windowUs }) => {
    const counts = new Map<number, number>()
    const add = (at: number, cost: number) => {
      const slot = Math.floor(at / windowUs)
      counts.set(slot, (counts.get(slot) ?? 0) + cost)
    }
    return {
      available(now) {
        const [slot, window] = [Math.floor(now / windowUs), BigInt(windowUs)]
        const [current, previous] = [BigInt(counts.get(slot) ?? 0), BigInt(counts.get(slot - 1) ?? 0)]
        const left = BigInt(limit) * window - current * window - previous * (window - BigInt(now - slot * windowUs))
        return left < 0n ? 0 : Number(left / window)
      },
      take: add,
      refund: (_now, { at, cost }) => add(at, -cost),
    }
  },
  fixed_window: ({ limit, windowUs }) => {
    let [start, count] = [0, 0]
    return {
      available: now => (now < start + windowUs ? limit - count : limit),
      take(now, cost) {
        if (now >= start + windowUs || count === 0) [start, count] = [now, 0]
        count += cost
      },
      refund(now, { at, cost }) {
        if (at >= start && now < start + windowUs) count -= cost
      },
    }
  },
}

/** The most units that may be admitted between two moments, both included. */
const bounds: Record<AlgorithmId, (limit: Limit, elapsed: number) => number> = {
  sliding_window: ({ limit, windowUs }, elapsed) => (elapsed <= windowUs ? limit : Number.POSITIVE_INFINITY),
  token_bucket: ({ limit, capacity, windowUs }, elapsed) => capacity + (elapsed * limit) / windowUs,
  gcra: ({ limit, capacity, windowUs }, elapsed) => capacity + (elapsed * limit) / windowUs,
  // At most two windows meet in a span shorter than one: the known weakness of both.
  sliding_window_counter: ({ limit, windowUs }, elapsed) => (elapsed < windowUs ? 2 * limit : Number.POSITIVE_INFINITY),
  fixed_window: ({ limit, windowUs }, elapsed) => (elapsed < windowUs ? 2 * limit : Number.POSITIVE_INFINITY),
}

const cases = ALGORITHMS.flatMap(id =>
  SHAPES.map(shape => ({ id, shape: compile(id, shape), name: `${shape.limit} per ${shape.window}` })).map(
    ({ shape, ...rest }) => ({ ...rest, limit: shape, runs: shape.limit > 1000 ? 15 : 60 }),
  ),
)
const starts = fc.integer({ min: NOW, max: NOW + 1e12 })

describe.each(cases)('$id, $name (burst $limit.capacity)', ({ id, limit, runs }) => {
  const property = <T>(arbitrary: fc.Arbitrary<T>, check: (value: T, start: number) => void) =>
    fc.assert(fc.property(arbitrary, starts, check), { numRuns: runs })

  it('admits exactly what its rule says, refunds included', () => {
    property(moves(limit, true), (sequence, start) => {
      const run = drive(id, limit, start)
      const oracle = oracles[id](limit)
      for (const move of sequence) {
        const refunded = move.refund === undefined ? undefined : run.taken[move.refund % Math.max(1, run.taken.length)]
        const fits = run.play(move)
        if (refunded) oracle.refund(run.now, refunded)
        else if (move.refund === undefined) {
          expect(fits).toBe(oracle.available(run.now) >= move.cost)
          if (fits) oracle.take(run.now, move.cost)
        }
        expect(run.available()).toBe(Math.max(0, oracle.available(run.now)))
      }
    })
  })

  it('admits no more than it promises over any span of time', () => {
    property(moves(limit, false), (sequence, start) => {
      const run = drive(id, limit, start)
      for (const move of sequence) run.play(move)
      run.taken.forEach((first, i) => {
        let sum = 0
        for (const { at, cost } of run.taken.slice(i)) {
          sum += cost
          expect(sum).toBeLessThanOrEqual(bounds[id](limit, at - first.at) * (1 + 1e-9))
        }
      })
    })
  })

  it('admits a client that waits as long as it was told, and not a microsecond earlier', () => {
    property(fc.tuple(moves(limit, true), fc.integer({ min: 1, max: limit.maxCost })), ([sequence, cost], start) => {
      const run = drive(id, limit, start)
      for (const move of sequence) run.play(move)
      const wait = run.wait(cost)
      expect(Number.isInteger(wait) && wait >= 0).toBe(true)
      expect(wait === 0).toBe(run.available() >= cost)
      if (wait > 0) expect(run.available(wait - 1)).toBeLessThan(cost)
      expect(run.available(wait)).toBeGreaterThanOrEqual(cost)
      expect(run.available(Math.ceil(wait / 1000) * 1000)).toBeGreaterThanOrEqual(cost)
    })
  })

  it('can be asked anything at any time without a later answer changing', () => {
    property(moves(limit, true), (sequence, start) => {
      const [asked, left] = [drive(id, limit, start), drive(id, limit, start)]
      for (const move of sequence) {
        asked.now += Math.floor(move.step / 2)
        for (const cost of [1, move.cost, limit.maxCost]) asked.wait(cost)
        asked.available()
        asked.fullAfter()
        asked.now = left.now
        expect(asked.play(move)).toBe(left.play(move))
        expect(asked.wait(move.cost)).toBe(left.wait(move.cost))
        expect(asked.fullAfter()).toBe(left.fullAfter())
      }
    })
  })

  it('is as if never asked after a refund', () => {
    property(
      fc.tuple(moves(limit, true), moves(limit, false), fc.integer({ min: 1, max: limit.maxCost })),
      ([before, after, cost], start) => {
        const [refunded, spared] = [drive(id, limit, start), drive(id, limit, start)]
        for (const move of before) expect(refunded.play(move)).toBe(spared.play(move))
        if (refunded.available() < cost) return
        expect(refunded.refund(refunded.take(cost))).toBe(cost)
        expect(refunded.available()).toBe(spared.available())
        for (const move of after) {
          expect(refunded.play(move)).toBe(spared.play(move))
          expect(refunded.available()).toBe(spared.available())
        }
      },
    )
  })

  it('refunds two takes independently of each other, in either order', () => {
    property(fc.tuple(moves(limit, true), fc.boolean()), ([before, swapped], start) => {
      const run = drive(id, limit, start)
      for (const move of before) run.play(move)
      const all = run.available()
      const half = Math.min(limit.maxCost, Math.floor(all / 2))
      if (half === 0) return
      const receipts = [run.take(half), run.take(1)]
      const [first, second] = swapped ? receipts.reverse() : receipts
      expect(run.available()).toBe(all - half - 1)
      expect(run.refund(first!)).toBe(first!.cost)
      expect(run.available()).toBe(all - second!.cost)
      expect(run.refund(second!)).toBe(second!.cost)
      expect(run.available()).toBe(all)
    })
  })

  it('gives nothing for a refund of units that have expired', () => {
    property(moves(limit, false), (sequence, start) => {
      const run = drive(id, limit, start)
      for (const move of sequence) run.play(move)
      run.now += run.fullAfter()
      for (const receipt of run.taken) expect(run.refund(receipt)).toBe(0)
      expect(run.available()).toBe(limit.capacity)
    })
  })

  it('may be forgotten once fullAfter has passed, and a store keeps it that long', () => {
    property(fc.tuple(moves(limit, true), moves(limit, true)), ([before, after], start) => {
      const used = drive(id, limit, start)
      for (const move of before) used.play(move)
      const fullAfter = used.fullAfter()
      expect(fullAfter).toBeGreaterThanOrEqual(0)
      expect(fullAfter).toBeLessThanOrEqual(limit.forgetAfterUs)
      used.now += fullAfter
      used.taken.length = 0
      const fresh = drive(id, limit, used.now)
      expect(used.fullAfter()).toBe(0)
      for (const move of [{ step: 0, cost: 1, refund: undefined }, ...after]) {
        expect(used.play(move)).toBe(fresh.play(move))
        expect(used.available()).toBe(fresh.available())
      }
    })
  })

  it('clamps what is there when limit and burst change under it', () => {
    const other = fc.record({ limit: fc.integer({ min: 1, max: 1000 }), burst: fc.integer({ min: 1, max: 1000 }) })
    property(fc.tuple(moves(limit, true), other), ([sequence, { limit: units, burst }], start) => {
      const changed = compile(id, { limit: units, burst, window: `${limit.windowMs}ms` })
      const algorithm = algorithms[id]
      const state = algorithm.fresh(limit, start)
      let now = start
      for (const { step, cost } of sequence) {
        now += step
        if (algorithm.available(state, limit, now) >= cost) algorithm.take(state, limit, now, cost)
      }
      const available = algorithm.available(state, changed, now)
      expect(available).toBeGreaterThanOrEqual(0)
      expect(available).toBeLessThanOrEqual(changed.capacity)
      expect(algorithm.take(state, changed, now, 0)).toBe(available)
      expect(algorithm.take(state, changed, now, available + 1)).toBe(-1)
      if (available > 0) {
        expect(algorithm.take(state, changed, now, 1)).toBe(available - 1)
        expect(algorithm.next(state, changed, now, available - 1)).toBe(algorithm.wait(state, changed, now, available))
      }
      expect(algorithm.fullAfter(state, changed, now)).toBeLessThanOrEqual(changed.forgetAfterUs)
      const wait = algorithm.wait(state, changed, now, changed.maxCost)
      expect(algorithm.available(state, changed, now + wait)).toBeGreaterThanOrEqual(changed.maxCost)
    })
  })
})

it.each(['sliding_window', 'fixed_window', 'sliding_window_counter'] as const)(
  '%s gives nothing back for expired units while newer ones are counted',
  id => {
    const limit = compile(id, { limit: 5, window: '5s' })
    const run = drive(id, limit, NOW)
    const old = run.take(3)
    run.now += 2 * limit.windowUs + 1
    run.take(2)
    expect(run.refund(old)).toBe(0)
    expect(run.available()).toBe(3)
  },
)
