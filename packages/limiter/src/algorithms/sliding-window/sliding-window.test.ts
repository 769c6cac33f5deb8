import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import { policySchema } from '../../contracts/index.ts'
import { compilePolicy } from '../../policies/table.ts'
import { Log, memoryOf } from './log.ts'
import { Slabs } from './slabs.ts'
import { slidingWindow } from './sliding-window.ts'

const NOW = 1.8e15
const SECOND = 1_000_000
const limit = compilePolicy(policySchema.parse({ id: 'p', limits: [{ limit: 100, window: '1m' }] }), undefined, {
  algorithm: 'sliding_window',
  failMode: 'open',
}).limits[0]!

describe('sliding_window, 100 a minute', () => {
  it('still counts at +60 s sharp what was allowed at 0, and no longer at +61 s', () => {
    const log = slidingWindow.fresh(limit, NOW)
    const asked = [
      { at: 0, units: 1, left: 99 },
      { at: 30, units: 49, left: 50 },
      { at: 59, units: 50, left: 0 },
    ]
    for (const { at, units, left } of asked) {
      for (let i = 0; i < units; i++) slidingWindow.take(log, limit, NOW + at * SECOND, 1)
      expect(slidingWindow.available(log, limit, NOW + at * SECOND)).toBe(left)
    }
    expect(slidingWindow.available(log, limit, NOW + 60 * SECOND)).toBe(0)
    expect(slidingWindow.wait(log, limit, NOW + 60 * SECOND, 1)).toBe(1)
    expect(slidingWindow.available(log, limit, NOW + 61 * SECOND)).toBe(1)
    slidingWindow.take(log, limit, NOW + 61 * SECOND, 1)
    // The next to leave are the 49 of 30 s, then the 50 of 59 s.
    expect(slidingWindow.wait(log, limit, NOW + 61 * SECOND, 1)).toBe(29 * SECOND + 1)
    expect(slidingWindow.wait(log, limit, NOW + 61 * SECOND, 50)).toBe(58 * SECOND + 1)
  })

  it('admits no burst across a minute boundary', () => {
    const log = slidingWindow.fresh(limit, NOW)
    slidingWindow.take(log, limit, NOW + 59 * SECOND, 100)
    expect(slidingWindow.available(log, limit, NOW + 61 * SECOND)).toBe(0)
  })
})

describe('the log', () => {
  const timesOf = (log: Log) => Array.from({ length: log.size }, (_, i) => log.at(i))

  /** A window whose times are kept by their last 32 bits, the longest such, and the shortest of which they are kept whole. */
  const windows = [60 * SECOND, 2 ** 32 - 1, 2 ** 32]

  it.each(windows.flatMap(windowUs => [4, 100, 5000].map(most => [windowUs, most] as const)))(
    'over %i µs keeps its order while it grows to %i, its head wanders and units are given back',
    (windowUs, most) => {
      const log = new Log().begin(most, windowUs)
      const step = Math.floor(windowUs / most)
      let model: number[] = []
      for (let i = 0; i < most * 4; i++) {
        const time = NOW + i * step
        if (i % 7 === 0 || model.length === most) {
          const expired = time - Math.floor(most * 0.9) * step
          log.expire(expired)
          model = model.filter(entry => entry >= expired)
        }
        log.add(time, 1, most)
        model.push(time)
        if (i % 11 === 0) {
          const gone = model[i % 2 === 0 ? 0 : Math.floor(model.length / 2)] as number
          expect(log.remove(gone, 2)).toBe(1)
          model = model.filter(entry => entry !== gone)
        }
        if (most <= 100 || i % 97 === 0) expect(timesOf(log)).toEqual(model)
      }
    },
  )

  it('gives back no more than was taken at a time', () => {
    const log = new Log().begin(5, SECOND)
    for (const time of [1, 2, 2, 2, 3]) log.add(time, 1, 5)
    expect([log.remove(2, 2), log.remove(2, 2), log.remove(2, 2), log.remove(4, 1)]).toEqual([2, 1, 0, 0])
    expect(timesOf(log)).toEqual([1, 3])
  })

  it.each(windows)('over %i µs tells the oldest and the newest apart that a window can hold', windowUs => {
    const log = new Log().begin(3, windowUs)
    for (const time of [NOW, NOW + 1, NOW + windowUs]) log.add(time, 1, 3)
    expect(timesOf(log)).toEqual([NOW, NOW + 1, NOW + windowUs])
    log.expire(NOW + 1)
    expect(timesOf(log)).toEqual([NOW + 1, NOW + windowUs])
  })

  it('shares memory with others, and never their times', () => {
    /** 300 of them are 65 minutes. */
    const STEP = 13 * SECOND
    const MOST = 300 * 40
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            log: fc.nat(9),
            does: fc.constantFrom('push', 'push', 'push', 'expire', 'clear'),
            n: fc.nat(40),
          }),
          {
            maxLength: 300,
          },
        ),
        moves => {
          // Some keep times whole, some do not.
          const slabs = new Slabs()
          const logs = Array.from({ length: 10 }, (_, i) => ({
            log: new Log(slabs).begin(MOST, windows[i % 3] as number),
            model: [] as number[],
          }))
          moves.forEach(({ log: i, does, n }, moved) => {
            const now = NOW + moved * STEP
            const one = logs[i] as (typeof logs)[number]
            if (does === 'clear') {
              one.log.end()
              one.model = []
            } else if (does === 'expire') {
              one.log.expire(now - n * STEP)
              one.model = one.model.filter(time => time >= now - n * STEP)
            } else {
              for (let unit = 0; unit < n; unit++) one.log.add(now, 1, MOST)
              one.model.push(...Array<number>(n).fill(now))
            }
            for (const { log, model } of logs) expect(timesOf(log)).toEqual(model)
          })
        },
      ),
      { numRuns: 200 },
    )
  })

  it('leaves its place to the next: churn takes no more memory than who is there, and little stays when nobody is', async () => {
    setFlagsFromString('--expose-gc')
    const collect = runInNewContext('gc') as () => void
    const taken = () => {
      collect()
      return process.memoryUsage().arrayBuffers
    }
    const slabs = new Slabs()
    const rows = memoryOf(111_000 * 6)
    let made = 0
    const logOf = () => new Log(slabs, rows, made++ * 6)
    const filled = (length: number) => {
      const logs = Array.from({ length }, () => logOf().begin(100, SECOND))
      for (const log of logs) for (let unit = 0; unit < 100; unit++) log.add(unit, 1, 100)
      return logs
    }
    let empty = taken()
    // The tests before left slabs, which go when the collector's threads come to them.
    await vi.waitFor(() => {
      const before = empty
      empty = taken()
      expect(empty).toBe(before)
    }, 10_000)
    const logs = filled(10_000)
    const full = taken() - empty
    expect(full).toBeGreaterThan(2_000_000)
    for (let round = 0; round < 20; round++) {
      for (const log of logs.splice(0, 5000)) log.end()
      logs.push(...filled(5000))
    }
    await vi.waitFor(() => expect((taken() - empty) / full).toBeLessThan(1.1), 10_000)
    expect(logs.every(log => log.size === 100)).toBe(true)
    for (const log of logs) log.end()
    await vi.waitFor(() => expect((taken() - empty) / full).toBeLessThan(0.1), 10_000)
    // However many limits there have been, each with places of its own size.
    for (let most = 1000; most < 2000; most++) {
      const log = logOf().begin(most, SECOND)
      for (let unit = 0; unit < most; unit++) log.add(unit, 1, most)
      log.end()
    }
    await vi.waitFor(() => expect((taken() - empty) / full).toBeLessThan(0.1), 10_000)
  })
})
