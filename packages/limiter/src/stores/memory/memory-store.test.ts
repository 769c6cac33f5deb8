import fc from 'fast-check'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { type AlgorithmId, type PolicyInput, policySchema } from '../../contracts/index.ts'
import { compilePenalty, compilePolicy } from '../../policies/table.ts'
import { testStore } from '../conformance.ts'
import { MemoryStore, monotonicMicros } from './memory-store.ts'

const START = 1_700_000_000_000_000

testStore({
  name: 'the embedded store',
  open: async () => {
    let us = START
    // Every look at the clock takes a little time, as with a real one.
    const store = new MemoryStore({ clock: () => (us += 3) })
    return {
      store,
      advance: ms => {
        us += ms * 1000
      },
      close: () => store.close(),
    }
  },
})

const policyOf = (id: string, limits: PolicyInput['limits'], algorithm: AlgorithmId = 'sliding_window') =>
  compilePolicy(policySchema.parse({ id, limits }), undefined, { algorithm, failMode: 'open' })

/** A small store on a clock of its own, with ways to make clients of each kind. */
function small(maxClients: number, start = START) {
  const time = { us: start }
  const store = new MemoryStore({ maxClients, clock: () => time.us })
  const policy = policyOf('p', [{ limit: 4, window: '1h' }])
  const check = (client: string, times = 1) => {
    let verdict = store.check({ client, policy, cost: 1, route: 'GET /', penalise: true })
    for (let i = 1; i < times; i++) verdict = store.check({ client, policy, cost: 1, route: 'GET /', penalise: true })
    return verdict
  }
  return {
    store,
    time,
    check,
    advance: (ms: number) => {
      time.us += ms * 1000
    },
    block: (client: string, durationMs = 3_600_000) => store.block({ client, durationMs, reason: 'r', by: 'ann' }),
    left: (client: string) =>
      store.peek({ client, policy, cost: 1, route: '', penalise: false }).limits[0]?.remaining as number,
    isBlocked: (client: string) => store.client(client).block !== undefined,
    clients: () => store.health().clients as number,
    flood: (n: number) => {
      for (let i = 0; i < n; i++) {
        time.us += 1000
        check(`stranger-${i}`)
      }
    },
    names: (kind: string, n: number) => Array.from({ length: n }, (_, i) => `${kind}-${i}`),
  }
}

describe('the embedded store’s memory', () => {
  const opened: MemoryStore[] = []
  const open = (maxClients: number, start?: number) => {
    const made = small(maxClients, start)
    opened.push(made.store)
    return made
  }
  afterEach(() => {
    for (const store of opened.splice(0)) store.close()
    vi.useRealTimers()
  })

  test('however strangers come, it never holds more clients than it may, and forgets no block and nobody near a limit', () => {
    const arrival = fc.constantFrom('block', 'busy', 'light', 'stranger')
    fc.assert(
      fc.property(fc.array(arrival, { maxLength: 150 }), arrivals => {
        const { store, check, block, left, isBlocked, clients, advance } = small(12)
        const made = { block: 0, busy: 0, light: 0, stranger: 0 }
        for (const kind of arrivals) {
          advance(7)
          // Never more of those that matter than there is room for besides one newcomer.
          const kept = kind === 'block' || kind === 'busy'
          if (kept && made.block + made.busy >= 11) continue
          const client = `${kind}-${made[kind]++}`
          if (kind === 'block') block(client)
          else check(client, kind === 'busy' ? 3 : 1)
          expect(clients()).toBeLessThanOrEqual(12)
        }
        for (let i = 0; i < made.block; i++) expect([i, isBlocked(`block-${i}`)]).toEqual([i, true])
        for (let i = 0; i < made.busy; i++) expect([i, left(`busy-${i}`)]).toEqual([i, 1])
        store.close()
      }),
      { numRuns: 200 },
    )
  })

  test('forgets the least recently used first', () => {
    const { check, left, names, clients } = open(10)
    const light = names('light', 10)
    for (const client of light) check(client)
    check('light-0')
    check('newcomer')
    expect(clients()).toBe(10)
    expect(light.map(left)).toEqual([2, 4, 3, 3, 3, 3, 3, 3, 3, 3])
  })

  test('when only blocks and clients near a limit are left, one of the latter goes, and a flood displaces no more', () => {
    const { check, block, left, isBlocked, names, flood } = open(10)
    const [blocked, busy] = [names('blocked', 5), names('busy', 5)]
    for (const client of busy) check(client, 4)
    for (const client of blocked) block(client)
    flood(500)
    expect(blocked.map(isBlocked)).toEqual(Array(5).fill(true))
    expect(busy.map(left)).toEqual([4, 0, 0, 0, 0])
  })

  test('full of blocks it still admits, and the oldest block goes', () => {
    const { check, block, isBlocked, names, flood } = open(10)
    const blocked = names('blocked', 10)
    for (const client of blocked) block(client)
    expect(check('newcomer').outcome).toBe('allowed')
    flood(100)
    expect(blocked.map(isBlocked)).toEqual([false, ...Array(9).fill(true)])
  })

  const offenders = (maxClients: number) => {
    const made = open(maxClients)
    const penalised = compilePolicy(
      policySchema.parse({ id: 'p', limits: [{ limit: 4, window: '1h' }] }),
      compilePenalty({ threshold: 1, window: '5m', block: ['15m'], memory: '1d' }),
      { algorithm: 'sliding_window', failMode: 'open' },
    )
    const offend = (client: string) => {
      made.time.us += 1000
      for (let i = 0; i < 5; i++)
        made.store.check({ client, policy: penalised, cost: 1, route: 'GET /', penalise: true })
    }
    return { ...made, offend }
  }

  test('full of offenders, a tenth of the places is for newcomers, whose limits hold', () => {
    const { check, block, isBlocked, names, offend, store } = offenders(100)
    for (const client of names('banned', 5)) block(client)
    for (const client of names('offender', 95)) offend(client)
    const allowed = new Map<string, number>()
    for (let round = 0; round < 10; round++) {
      for (const client of names('newcomer', 9)) {
        if (check(client).outcome === 'allowed') allowed.set(client, (allowed.get(client) ?? 0) + 1)
      }
    }
    expect([...allowed.values()]).toEqual(Array(9).fill(4))
    expect(names('banned', 5).every(isBlocked)).toBe(true)
    expect(names('offender', 95).filter(isBlocked)).toHaveLength(86)
    expect(store.health().forgotten).toBe(9)
  })

  test.each([
    ['says so of each that still counted, when more are active than it has places', 20, 0, 190],
    ['says nothing of those whose windows are over', 20, 3_602_000, 0],
  ])('%s', (_, active, pauseMs, forgotten) => {
    const { check, names, advance, store } = open(10)
    const clients = names('client', active)
    for (let round = 0; round < 10; round++) {
      for (const client of clients.slice(0, 10)) check(client)
      advance(pauseMs)
      for (const client of clients.slice(10)) check(client)
      advance(pauseMs)
    }
    expect(store.health().forgotten).toBe(forgotten)
  })

  test('says nothing of one whose units have all come back, whatever else it asked for since', () => {
    const { store, time, advance, names } = open(10)
    const ask = (clients: string[], window: string) => {
      for (const client of clients)
        store.check({ client, policy: policyOf(window, [{ limit: 2, window }]), cost: 1, route: '', penalise: false })
    }
    ask(names('client', 10), '10m')
    advance(570_000)
    ask(names('client', 10), '1m')
    advance(70_000)
    time.us += 1
    ask(names('newcomer', 10), '1m')
    expect(store.health().forgotten).toBe(0)
  })

  test('whoever is idle goes before whom something counts of, whichever was used first', () => {
    const { store, time, block, isBlocked, names, advance } = open(100)
    const windowOf = (window: string) => policyOf(window, [{ limit: 2, window }])
    const [hour, second] = [windowOf('1h'), windowOf('1s')]
    const check = (client: string, policy: typeof hour) =>
      store.check({ client, policy, cost: 1, route: '', penalise: false }).outcome
    for (let i = 0; i < 3; i++) check('victim', hour)
    for (const client of names('blocked', 5)) block(client)
    for (const client of names('idle', 94)) for (let i = 0; i < 2; i++) check(client, second)
    advance(5000)
    for (let round = 0; round < 3; round++) {
      for (const client of names(`newcomer-${round}`, 90)) {
        time.us += 1000
        check(client, second)
      }
      advance(5000)
    }
    expect(check('victim', hour)).toBe('limited')
    expect(names('blocked', 5).every(isBlocked)).toBe(true)
    expect(store.health().forgotten).toBe(0)
  })

  test.each(['1938', '2023', '2042', '2115'])('finds who is idle since a window ended, in %s', year => {
    const { store, check, names, advance, left } = open(20, Date.parse(year) * 1000)
    const minute = policyOf('m', [{ limit: 1, window: '1m' }])
    for (const client of names('kept', 10)) check(client, 4)
    for (const client of [...names('refused', 10), ...names('refused', 10)])
      store.check({ client, policy: minute, cost: 1, route: '', penalise: true })
    check('first')
    expect(store.health().forgotten).toBe(1)
    advance(300_000)
    for (const client of names('more', 9)) check(client)
    expect(store.health().forgotten).toBe(1)
    expect(names('kept', 10).map(left)).toEqual([4, 0, 0, 0, 0, 0, 0, 0, 0, 0])
  })

  test('finds who is idle since a block ended, or an unblock', () => {
    const { store, check, block, names, advance, left } = open(20)
    for (const client of names('kept', 10)) check(client, 3)
    for (const client of names('blocked', 10)) block(client, 60_000)
    check('first')
    expect(store.health().forgotten).toBe(1)
    advance(61_000)
    for (const client of names('more', 10)) check(client)
    store.unblock('kept-5', {})
    check('last')
    expect(store.health().forgotten).toBe(1)
    expect(names('kept', 10).map(left)).toEqual([4, 1, 1, 1, 1, 4, 1, 1, 1, 1])
  })

  test('an operator’s own block goes last of all', () => {
    const { block, isBlocked, names, offend, check, store } = offenders(10)
    for (const client of names('banned', 9)) block(client)
    for (const client of names('offender', 30)) offend(client)
    for (const client of names('light', 30)) check(client)
    expect(names('banned', 9).map(isBlocked)).toEqual(Array(9).fill(true))
    for (const client of names('more', 3)) block(client)
    expect(names('banned', 9).map(isBlocked)).toEqual([false, false, ...Array(7).fill(true)])
    expect(store.health().forgotten).toBeGreaterThan(30)
  })

  test('lets go of what has expired in who is remembered for longer', () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
    const { store, offend, advance, isBlocked } = offenders(10)
    offend('offender')
    expect([...store.entries()].map(({ key }) => key)).toHaveLength(2)
    expect(store.client('offender')).toMatchObject({ offences: 1, refusals: [{ route: 'GET /' }] })
    advance(2 * 3_600_000 + 2000)
    vi.advanceTimersByTime(1000)
    expect(isBlocked('offender')).toBe(false)
    expect([...store.entries()]).toEqual([])
    expect(store.client('offender')).toMatchObject({ offences: 1, refusals: [] })
    advance(86_400_000)
    vi.advanceTimersByTime(1000)
    expect(store.health().clients).toBe(0)
  })

  test('who is unblocked leaves what can be asked about for an hour, and a place for whoever wants it', () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
    const { store, offend, advance, names, check } = offenders(10)
    for (const client of names('offender', 5)) offend(client)
    for (const client of names('offender', 5)) store.unblock(client, {})
    advance(3_599_000)
    vi.advanceTimersByTime(1000)
    expect(store.client('offender-0')).toMatchObject({ offences: 0, refusals: [{ route: 'GET /' }] })
    for (const client of names('near', 9)) check(client, 4)
    expect(store.health()).toMatchObject({ clients: 10, forgotten: 0 })
    offend('another')
    store.unblock('another', {})
    advance(3_601_000)
    vi.advanceTimersByTime(1000)
    expect(store.client('another').refusals).toEqual([])
  })

  test('blocks that have ended make room for new ones', () => {
    const { block, isBlocked, names, advance, check } = open(10)
    for (const client of names('ended', 8)) block(client, 60_000)
    for (const client of names('holding', 2)) block(client)
    advance(60_000)
    for (const client of names('newcomer', 8)) check(client, 4)
    expect(names('holding', 2).map(isBlocked)).toEqual([true, true])
    expect(check('newcomer-0').outcome).toBe('limited')
  })

  test('a client that is unblocked with its counters kept is still near its limit', () => {
    const { store, check, block, left, flood } = open(10)
    check('forgiven', 4)
    block('forgiven')
    store.unblock('forgiven', { keepCounters: true })
    flood(100)
    expect(left('forgiven')).toBe(0)
  })

  test('a shadow check of a blocked client does not make its block forgettable', () => {
    const { store, block, isBlocked, flood } = open(10)
    const shadow = compilePolicy(
      policySchema.parse({ id: 's', mode: 'shadow', limits: [{ limit: 100, window: '1m' }] }),
      undefined,
      { algorithm: 'gcra', failMode: 'open' },
    )
    block('blocked')
    store.check({ client: 'blocked', policy: shadow, cost: 1, route: '', penalise: false })
    flood(100)
    expect(isBlocked('blocked')).toBe(true)
  })

  test('sweeps idle clients away every second, and nobody else', () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
    const { check, block, advance, clients, isBlocked, names } = open(100)
    for (const client of names('light', 50)) check(client)
    block('short', 60_000)
    block('long', 86_400_000)
    advance(3_600_000)
    vi.advanceTimersByTime(1000)
    // To the second in which its window ends a client may still be counted.
    expect(clients()).toBe(51)
    advance(3_602_000)
    vi.advanceTimersByTime(1000)
    expect(clients()).toBe(1)
    expect(isBlocked('long')).toBe(true)
  })

  test('what is no log is kept beside rows of logs, wherever, and not for whoever has the row next', () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
    const { store, names, advance, clients } = open(10_000)
    const logged = policyOf('l', [{ limit: 2, window: '1s' }])
    const counted = policyOf('c', [{ limit: 2, window: '1m' }], 'token_bucket')
    const outcomes = (client: string, policy: typeof logged, times = 3) =>
      Array.from({ length: times }, () => store.check({ client, policy, cost: 1, route: '', penalise: false }).outcome)
    for (const client of names('logged', 3000)) outcomes(client, logged, 1)
    expect(outcomes('counted', counted)).toEqual(['allowed', 'allowed', 'limited'])
    advance(10_000)
    vi.advanceTimersByTime(1000)
    expect(clients()).toBe(1)
    expect(outcomes('counted', counted, 1)).toEqual(['limited'])
    for (const client of names('counted', 3000)) {
      expect(outcomes(client, counted)).toEqual(['allowed', 'allowed', 'limited'])
    }
    advance(3_700_000)
    vi.advanceTimersByTime(1000)
    expect(clients()).toBe(0)
    for (const client of names('counted', 100))
      expect(outcomes(client, logged)).toEqual(['allowed', 'allowed', 'limited'])
    for (const client of names('counted', 100)) expect(outcomes(client, counted, 1)).toEqual(['allowed'])
  })

  test('each log of a client counts for itself, whichever lies in the client itself and whichever is forgotten first', () => {
    const WINDOWS = { '1m': 60_000_000, '1h': 3_600_000_000, '2h': 7_200_000_000 }
    const counters = ['a:1m:3', 'b:1m:4', 'b:2h:6', 'c:1h:5'].map(text => {
      const [policy, window, limit] = text.split(':') as [string, keyof typeof WINDOWS, string]
      return { policy, window, limit: Number(limit), windowUs: WINDOWS[window] }
    })
    const compiled = new Map(
      ['a', 'b', 'c'].map(id => {
        const limits = counters.filter(({ policy }) => policy === id).map(({ limit, window }) => ({ limit, window }))
        return [id, policyOf(id, limits)] as const
      }),
    )
    const moves = fc.array(
      fc.oneof(
        { weight: 8, arbitrary: fc.record({ check: fc.constantFrom('a', 'b', 'c') }) },
        { weight: 1, arbitrary: fc.record({ forget: fc.nat(3) }) },
        { weight: 1, arbitrary: fc.record({ unblock: fc.constant(true) }) },
        { weight: 2, arbitrary: fc.record({ advance: fc.constantFrom(1, 20_000_000, 60_000_001, 3_600_000_001) }) },
      ),
      { maxLength: 120 },
    )
    fc.assert(
      fc.property(moves, moves => {
        let now = START
        const store = new MemoryStore({ clock: () => now })
        const model = counters.map(() => [] as number[])
        for (const move of moves) {
          if ('advance' in move) now += move.advance
          else if ('unblock' in move) {
            store.unblock('x', {})
            for (const times of model) times.length = 0
          } else if ('forget' in move) {
            const { policy, windowUs } = counters[move.forget] as (typeof counters)[number]
            const times = model[move.forget] as number[]
            const key = `sliding_window:{x}:${policy}:${windowUs / 1_000_000}s`
            if (times.length > 0) expect(store.deleteEntry(key)).toBe(true)
            else store.deleteEntry(key)
            times.length = 0
          } else {
            const policy = compiled.get(move.check) as NonNullable<ReturnType<(typeof compiled)['get']>>
            const its = counters.flatMap((counter, i) =>
              counter.policy === move.check ? [{ ...counter, times: model[i] as number[] }] : [],
            )
            for (const { times, windowUs } of its) times.splice(0, times.filter(time => time < now - windowUs).length)
            const fits = its.every(({ times, limit }) => times.length < limit)
            if (fits) for (const { times } of its) times.push(now)
            const verdict = store.check({ client: 'x', policy, cost: 1, route: '', penalise: false })
            expect(verdict.outcome).toBe(fits ? 'allowed' : 'limited')
            expect(verdict.limits.map(({ remaining }) => remaining)).toEqual(
              its.map(({ times, limit }) => limit - times.length),
            )
          }
        }
        store.close()
      }),
      { numRuns: 300 },
    )
  })

  test('hundreds of clients come, are blocked, let in and forgotten, and each has only what is its own', () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
    const policies = (['sliding_window', 'fixed_window'] as const).map(id =>
      policyOf(id, [{ limit: 3, window: '1m' }], id),
    )
    const moves = fc.array(
      fc.oneof(
        { weight: 6, arbitrary: fc.record({ come: fc.nat(1), first: fc.nat(300), many: fc.nat(150) }) },
        { weight: 2, arbitrary: fc.record({ block: fc.nat(300) }) },
        { weight: 2, arbitrary: fc.record({ unblock: fc.nat(300) }) },
        { weight: 2, arbitrary: fc.record({ advanceMs: fc.constantFrom(1, 20_000, 61_000, 200_000) }) },
      ),
      { maxLength: 40 },
    )
    fc.assert(
      fc.property(moves, moves => {
        let now = START
        const store = new MemoryStore({ clock: () => now })
        const logs = new Map<string, number[]>()
        const windows = new Map<string, { start: number; count: number }>()
        const blocks = new Map<string, number>()
        for (const move of moves) {
          if ('advanceMs' in move) {
            now += move.advanceMs * 1000
            vi.advanceTimersByTime(1000)
          } else if ('block' in move) {
            store.block({ client: `c${move.block}`, durationMs: 90_000, reason: 'r', by: 'ann' })
            blocks.set(`c${move.block}`, now + 90_000_000)
          } else if ('unblock' in move) {
            store.unblock(`c${move.unblock}`, {})
            for (const kept of [logs, windows, blocks]) kept.delete(`c${move.unblock}`)
          } else {
            for (let i = move.first; i < move.first + move.many; i++) {
              const client = `c${i}`
              const policy = policies[move.come] as (typeof policies)[number]
              const { outcome } = store.check({ client, policy, cost: 1, route: '', penalise: false })
              if ((blocks.get(client) ?? 0) > now) {
                expect([client, outcome]).toEqual([client, 'blocked'])
              } else if (move.come === 0) {
                const log = (logs.get(client) ?? []).filter(time => time >= now - 60_000_000)
                expect([client, outcome]).toEqual([client, log.length < 3 ? 'allowed' : 'limited'])
                logs.set(client, log.length < 3 ? [...log, now] : log)
              } else {
                const known = windows.get(client)
                const window = known && now - known.start < 60_000_000 ? known : { start: now, count: 0 }
                expect([client, outcome]).toEqual([client, window.count < 3 ? 'allowed' : 'limited'])
                windows.set(client, { ...window, count: Math.min(3, window.count + 1) })
              }
            }
          }
        }
        now += 86_400_000_000
        vi.advanceTimersByTime(1000)
        expect(store.health().clients).toBe(0)
        store.close()
      }),
      { numRuns: 100 },
    )
  })

  test('a client that is never idle loses the counters of windows that nobody counts by any more', () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
    const { store, advance, names } = open(100)
    const algorithms = ['sliding_window', 'gcra', 'fixed_window'] as const
    const ask = (seconds: number, algorithm?: AlgorithmId) => {
      const policy = policyOf('p', [{ limit: 1000, window: `${seconds}s` }], algorithm)
      for (const client of names('busy', 3)) store.check({ client, policy, cost: 1, route: '', penalise: false })
    }
    for (let seconds = 1; seconds <= 60; seconds++) ask(seconds, algorithms[seconds % 3])
    expect([...store.entries()]).toHaveLength(3 * 60)
    for (let i = 0; i < 61; i++) {
      advance(1000)
      ask(60)
      vi.advanceTimersByTime(1000)
    }
    expect([...store.entries()].map(({ value }) => value)).toEqual(
      Array(3).fill(expect.objectContaining({ units: 61 })),
    )
  })

  test.each(['1m', '1h'])(
    'a client at its limit stays among the last to go, though it counts by %s besides, and is swept',
    window => {
      vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
      const { check, left, store, flood } = open(10)
      check('x', 4)
      store.check({ client: 'x', policy: policyOf('q', [{ limit: 100, window }]), cost: 1, route: '', penalise: false })
      vi.advanceTimersByTime(1000)
      store.check({ client: 'x', policy: policyOf('q', [{ limit: 100, window }]), cost: 1, route: '', penalise: false })
      flood(100)
      expect(left('x')).toBe(0)
    },
  )

  test('remembers what takes longer to come back than a tick can tell', () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
    const { store, advance } = open(10)
    for (const burst of [800, 1000, 2000, 1_000_000]) {
      const policy = policyOf(`p${burst}`, [{ limit: 1, window: '31d', burst }], 'gcra')
      const ask = () => store.check({ client: `c${burst}`, policy, cost: 1, route: '', penalise: false }).limits[0]
      ask()
      advance(2000)
      vi.advanceTimersByTime(1000)
      expect([burst, ask()?.remaining]).toEqual([burst, burst - 2])
    }
  })

  test('whose block was deleted by its key goes before whose block holds', () => {
    const { block, check, isBlocked, names, store } = open(4)
    check('blocked-3')
    for (const client of names('blocked', 4)) block(client)
    expect(store.deleteEntry('block:{blocked-3}')).toBe(true)
    block('another')
    expect(names('blocked', 4).map(isBlocked)).toEqual([true, true, true, false])
  })

  test('the longest of its windows decides how long a client is remembered, in whatever order it asks within a second', () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
    const { store, advance, clients } = open(10)
    const [minute, hour] = ['1m', '1h'].map(window => policyOf(window, [{ limit: 9, window }]))
    const check = (client: string, policy: typeof minute) =>
      store.check({ client, policy: policy as NonNullable<typeof policy>, cost: 1, route: '', penalise: false })
    for (const policy of [minute, hour]) check('longer last', policy)
    for (const policy of [hour, minute]) check('longer first', policy)
    check('never longer', minute)
    advance(120_000)
    vi.advanceTimersByTime(1000)
    expect(clients()).toBe(2)
    for (const client of ['longer last', 'longer first']) expect(check(client, hour).limits[0]?.remaining).toBe(7)
    advance(3_700_000)
    vi.advanceTimersByTime(1000)
    expect(clients()).toBe(0)
  })

  test('asking about clients remembers none', () => {
    const { store, left, isBlocked, clients, names } = open(10)
    for (const client of names('asked', 50)) {
      left(client)
      isBlocked(client)
      store.unblock(client, {})
    }
    expect(clients()).toBe(0)
  })

  test.each([
    ['runs backwards', -3_600_000_000],
    ['is no number any more', Number.NaN],
  ])('time stands still while its clock %s', (_, by) => {
    const { store, time, check } = open(10)
    check('client', 4)
    time.us += 1000
    const before = check('client')
    time.us += by
    expect(store.now()).toBe(before.now / 1000)
    expect(check('client')).toEqual(before)
    time.us = START + 3_600_001_000
    expect(check('client').outcome).toBe('allowed')
  })

  test('reads its time from the clock it is given, in whole milliseconds', () => {
    const { store, time } = open(10)
    time.us = START + 1999
    expect(store.now()).toBe(START / 1000 + 1)
  })
})

test('the default clock is the one that a test with fake timers moves', () => {
  vi.useFakeTimers()
  const store = new MemoryStore()
  const policy = policyOf('p', [{ limit: 1, window: '1m' }])
  const ask = () => store.check({ client: 'c', policy, cost: 1, route: '', penalise: false }).outcome
  expect([ask(), ask()]).toEqual(['allowed', 'limited'])
  vi.advanceTimersByTime(60_001)
  expect(ask()).toBe('allowed')
  store.close()
  vi.useRealTimers()
})

test('the default clock is whole microseconds near the wall clock, and never runs backwards', () => {
  let last = monotonicMicros()
  expect(Math.abs(last / 1000 - Date.now())).toBeLessThan(5000)
  for (let i = 0; i < 1000; i++) {
    const next = monotonicMicros()
    expect(Number.isSafeInteger(next)).toBe(true)
    expect(next).toBeGreaterThanOrEqual(last)
    last = next
  }
})
