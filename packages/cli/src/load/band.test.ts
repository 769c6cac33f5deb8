import { ALGORITHMS, type BouncerOptions, createBouncer, isAllowed, type PolicyInput } from '@api-bouncer/limiter'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Band, band, bandOfAnswered, type Requests } from './band.ts'
import { lawOf } from './oracle.ts'

const START = 1_702_483_200_000_000

interface Arrival {
  /** µs after the one before. */
  readonly gap: number
  /** How long before it took effect it was sent, and how long after it was answered, µs. */
  readonly early: number
  readonly late: number
}

type World = Pick<BouncerOptions, 'penalty'> & { policy: Omit<PolicyInput, 'id'> }

/** Sends the arrivals through a bouncer of its own in virtual time; tells which were admitted, and their times. */
async function drive({ penalty = false, policy }: World, arrivals: readonly Arrival[]) {
  let now = START
  const bouncer = createBouncer({
    policies: [{ id: 'p', ...policy }],
    penalty,
    clock: () => now,
  })
  const peer = { headers: {}, socket: { remoteAddress: '198.18.0.1' } } as never
  const admitted: boolean[] = []
  const times: number[] = []
  for (const { gap } of arrivals) {
    now += gap
    times.push(now)
    admitted.push(isAllowed(await bouncer.check({ peer, method: 'GET', path: '/' })))
  }
  const law = lawOf({ state: await bouncer.control.state(), algorithms: {} }, 'GET', '/', START / 1000, now / 1000)
  await bouncer.close()
  if (!law?.policy) throw new Error('no policy')
  return { admitted, times, compiled: law.policy }
}

const up = (a: number, b: number) => a - b
const boundsOf = (times: readonly number[], arrivals: readonly Arrival[]): Requests => ({
  from: times.map((time, i) => time - (arrivals[i]?.early ?? 0)).sort(up),
  to: times.map((time, i) => time + (arrivals[i]?.late ?? 0)).sort(up),
})

const inside = (admitted: number, { least, most }: Band) => least <= admitted && admitted <= most

const arrival = (most: number, blur: number) =>
  fc.record({
    // Many come at once, or exactly a window apart.
    gap: fc.oneof(fc.constant(0), fc.constant(500_000), fc.constant(1_000_000), fc.integer({ min: 0, max: most })),
    early: fc.integer({ min: 0, max: blur }),
    late: fc.integer({ min: 0, max: blur }),
  })

const world = fc.record({
  algorithm: fc.constantFrom(...ALGORITHMS),
  limits: fc.constantFrom<PolicyInput['limits'][]>(
    [{ limit: 5, window: '1s' }],
    [{ limit: 3, window: '500ms', burst: 7 }],
    [{ limit: 12, window: '2s', burst: 3 }],
    [
      { limit: 4, window: '500ms' },
      { limit: 9, window: '3s', burst: 10 },
    ],
  ),
  cost: fc.constantFrom(1, 1, 2, 3),
})

const penalty = fc.constantFrom(
  false as const,
  false as const,
  { threshold: 5, window: '5m', block: '15m' },
  { threshold: 3, window: '1s', block: '15m' },
  { threshold: 4, window: '2s', block: '1s' },
)

describe('the band', () => {
  it('holds what the embedded store admits, whatever the arrivals, the limits, the algorithm and the penalty', async () => {
    const widths: number[] = []
    await fc.assert(
      fc.asyncProperty(
        world,
        penalty,
        fc.oneof(
          fc.array(arrival(300_000, 3000), { maxLength: 150 }),
          fc.array(arrival(40_000, 400_000), { maxLength: 150 }),
        ),
        async (policy, penalty, arrivals) => {
          const { admitted, times, compiled } = await drive({ policy, penalty }, arrivals)
          const found = band(compiled, boundsOf(times, arrivals))
          const count = admitted.filter(Boolean).length
          expect({ count, ...found, inside: inside(count, found) }).toMatchObject({ inside: true })
          widths.push(found.most - found.least)
        },
      ),
      { numRuns: 1500 },
    )
    expect(widths.filter(width => width === 0).length).toBeGreaterThan(widths.length / 10)
  }, 120_000)

  it('holds it too when some were never answered, whether they took effect or not', async () => {
    const some = fc.array(fc.tuple(arrival(100_000, 20_000), fc.constantFrom('ok', 'ok', 'ok', 'mute', 'lost')), {
      maxLength: 120,
    })
    await fc.assert(
      fc.asyncProperty(world, penalty, some, async (policy, penalty, arrivals) => {
        // Those lost on the way are sent, but the limiter never sees them.
        let carried = 0
        const seen = arrivals.flatMap(([one, fate]) => {
          if (fate === 'lost') carried += one.gap
          const gap = one.gap + (fate === 'lost' ? 0 : carried)
          if (fate === 'lost') return []
          carried = 0
          return [{ ...one, gap, fate }]
        })
        const { admitted, times, compiled } = await drive({ policy, penalty }, seen)
        const answered = seen.map((_, i) => i).filter(i => seen[i]?.fate === 'ok')
        let now = START
        const sent = arrivals.map(([{ gap }]) => {
          now += gap
          return now
        })
        const unanswered = sent
          .map((at, i) => at - (arrivals[i]?.[0].early ?? 0))
          .filter((_, i) => arrivals[i]?.[1] !== 'ok')
        const found = bandOfAnswered(
          compiled,
          boundsOf(
            answered.map(i => times[i] as number),
            answered.map(i => seen[i] as Arrival),
          ),
          unanswered,
          now + 1_000_000,
        )
        const count = answered.filter(i => admitted[i]).length
        expect({ count, ...found, inside: inside(count, found) }).toMatchObject({ inside: true })
      }),
      { numRuns: 500 },
    )
  }, 120_000)

  it.each(ALGORITHMS)('is one number when the times are exact: %s', async algorithm => {
    const arrivals = Array.from({ length: 200 }, () => ({ gap: 17_000, early: 0, late: 0 }))
    const policy = { algorithm, limits: [{ limit: 10, window: '1s' }] }
    const { admitted, times, compiled } = await drive({ policy }, arrivals)
    const count = admitted.filter(Boolean).length
    expect(band(compiled, boundsOf(times, arrivals))).toEqual({ least: count, most: count })
  })

  it.each(ALGORITHMS)('catches a limiter that admits one too many or one too few: %s', async algorithm => {
    // 200 requests a second for 3 s, each known to 2 ms; the window ends long after.
    const arrivals = Array.from({ length: 600 }, () => ({ gap: 5000, early: 1000, late: 1000 }))
    const limits = (limit: number) => ({ algorithm, limits: [{ limit, window: '1h' }] })
    const truth = await drive({ policy: limits(100) }, arrivals)
    const found = band(truth.compiled, boundsOf(truth.times, arrivals))
    expect(found).toEqual({ least: 100, most: 100 })
    for (const wrong of [99, 101]) {
      const { admitted } = await drive({ policy: limits(wrong) }, arrivals)
      expect(inside(admitted.filter(Boolean).length, found)).toBe(false)
    }
  })

  it('knows that a penalty ends it: what comes after the block is refused', async () => {
    const arrivals = Array.from({ length: 400 }, () => ({ gap: 10_000, early: 1000, late: 1000 }))
    const policy = { limits: [{ limit: 10, window: '1s' }] }
    const blocked = await drive({ policy, penalty: { threshold: 5, window: '5m', block: '15m' } }, arrivals)
    expect(blocked.admitted.filter(Boolean).length).toBe(10)
    expect(band(blocked.compiled, boundsOf(blocked.times, arrivals))).toEqual({ least: 10, most: 10 })
    const free = await drive({ policy }, arrivals)
    expect(free.admitted.filter(Boolean).length).toBe(40)
    expect(inside(40, band(blocked.compiled, boundsOf(blocked.times, arrivals)))).toBe(false)
    expect(inside(10, band(free.compiled, boundsOf(free.times, arrivals)))).toBe(false)
  })

  it('stays small over many windows of a fixed window, and quick', async () => {
    const arrivals = Array.from({ length: 20_000 }, () => ({ gap: 5000, early: 1500, late: 1500 }))
    const policy = { algorithm: 'fixed_window' as const, limits: [{ limit: 20, window: '1s' }] }
    const { admitted, times, compiled } = await drive({ policy }, arrivals)
    const found = band(compiled, boundsOf(times, arrivals))
    expect(inside(admitted.filter(Boolean).length, found)).toBe(true)
    expect(found.most - found.least).toBeLessThanOrEqual(40)
  })
})
