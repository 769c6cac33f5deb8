import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ALGORITHMS, type Block, type PolicyInput, penaltySchema, policySchema } from '../contracts/index.ts'
import { type CompiledPolicy, compilePenalty, compilePolicy, noPolicy } from '../policies/table.ts'
import type { BlockPlace, Check, Store, Verdict } from './store.ts'

/** A store on a clock that the tests turn. */
export interface StoreUnderTest {
  readonly store: Store
  /** Moves the store's time, and with it everything that expires. Real time may pass besides. */
  advance(ms: number): Promise<void> | void
  close(): Promise<void> | void
}

export interface StoreFixture {
  readonly name: string
  open(): Promise<StoreUnderTest>
}

const SECOND = 1000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR

/** How much real time may pass between two calls before a test is wrong about the store's time. */
const SLACK = 2 * SECOND

const DEFAULTS = { algorithm: 'sliding_window', failMode: 'open' } as const

/** As blocks and events tell it. */
const msOf = ({ now }: Pick<Verdict, 'now'>) => Math.floor(now / 1000)

const run = randomUUID().slice(0, 8)
let used = 0
/** Never used before, in this run or another one on the same store. */
const fresh = (name: string) => `${name}-${run}-${++used}`

const penaltyOf = (settings: Parameters<typeof penaltySchema.parse>[0], scope = '') =>
  compilePenalty(penaltySchema.parse(settings), scope)

const FIVE_THEN_15M = penaltyOf({})

/** A policy as the table compiles it; its id is fresh unless given. */
function policyOf(input: Partial<PolicyInput>, penalty: CompiledPolicy['penalty'] = undefined): CompiledPolicy {
  const source = policySchema.parse({ id: fresh('policy'), limits: [{ limit: 5, window: '1m' }], ...input })
  return compilePolicy(source, penalty, DEFAULTS)
}

/** One unit, then refusals for as long as a test of penalties lasts. */
const refusing = (penalty: CompiledPolicy['penalty'], input: Partial<PolicyInput> = {}) =>
  policyOf({ limits: [{ limit: 1, window: '31d' }], ...input }, penalty)

/** What every Store must do, whatever it runs on. */
export function testStore({ name, open }: StoreFixture): void {
  describe(`${name} as a store`, () => {
    let opened: StoreUnderTest
    let store: Store
    beforeAll(async () => {
      opened = await open()
      store = opened.store
    })
    afterAll(() => opened?.close())

    const advance = (ms: number) => opened.advance(ms)
    const asked = (client: string, policy: CompiledPolicy, extra: Partial<Check> = {}): Check => ({
      client,
      policy,
      cost: policy.cost,
      route: 'GET /things',
      penalise: true,
      ...extra,
    })
    const check = async (client: string, policy: CompiledPolicy, extra?: Partial<Check>) =>
      store.check(asked(client, policy, extra))
    const refund = async (client: string, policy: CompiledPolicy, cost: number, { now }: Verdict) =>
      store.refund({ client, policy, cost, takenAt: now })
    const peek = async (client: string, policy: CompiledPolicy, extra?: Partial<Check>) =>
      store.peek(asked(client, policy, extra))
    const remaining = async (client: string, policy: CompiledPolicy) =>
      (await peek(client, policy)).limits.map(limit => limit.remaining)
    /** Checks `times` times, and what the last one said. */
    async function repeat(times: number, client: string, policy: CompiledPolicy, extra?: Partial<Check>) {
      for (let i = 1; i < times; i++) await check(client, policy, extra)
      return check(client, policy, extra)
    }
    /** Allowed requests until the first refusal. */
    async function exhaust(client: string, policy: CompiledPolicy) {
      for (let allowed = 0; ; allowed++) {
        const verdict = await check(client, policy)
        if (verdict.outcome !== 'allowed') return { allowed, verdict }
        expect(allowed).toBeLessThan(1000)
      }
    }
    /** Spends the one unit of a `refusing` policy, then violates `times` times. */
    async function violate(times: number, client: string, policy: CompiledPolicy) {
      if ((await peek(client, policy)).limits[0]?.remaining === 1) await check(client, policy)
      return repeat(times, client, policy)
    }

    describe.each(ALGORITHMS)('%s', algorithm => {
      const five = () => policyOf({ algorithm })

      test('counts down to the limit, then refuses', async () => {
        const [client, policy] = [fresh('client'), five()]
        for (const left of [4, 3, 2, 1, 0]) {
          const verdict = await check(client, policy)
          expect(verdict).toMatchObject({
            outcome: 'allowed',
            limits: [{ limit: 5, windowMs: MINUTE, remaining: left, retryAfterMs: 0 }],
          })
          expect(verdict.limits[0]?.resetAfterMs).toBeGreaterThan(0)
          expect(verdict.limits[0]?.resetAfterMs).toBeLessThanOrEqual(2 * MINUTE)
          expect(verdict.taken).toBe(true)
        }
        const refused = await check(client, policy)
        expect(refused).toMatchObject({ outcome: 'limited', limits: [{ limit: 5, windowMs: MINUTE, remaining: 0 }] })
        expect(refused.limits[0]?.retryAfterMs).toBeGreaterThan(0)
        expect(refused.limits[0]?.retryAfterMs).toBe(refused.limits[0]?.resetAfterMs)
        expect(refused.taken).toBeUndefined()
        expect(refused.block).toBeUndefined()
      })

      test('decides checks that are asked for at once one after the other', async () => {
        const [client, other, policy] = [fresh('client'), fresh('client'), five()]
        const verdicts = await Promise.all(
          Array.from({ length: 40 }, (_, i) => check(i % 2 === 0 ? client : other, policy)),
        )
        for (const parity of [0, 1]) {
          const outcomes = verdicts.filter((_, i) => i % 2 === parity).map(({ outcome }) => outcome)
          expect(outcomes).toEqual([...Array(5).fill('allowed'), ...Array(15).fill('limited')])
        }
      })

      test('a refused request consumes nothing: who backs off as told is admitted', async () => {
        const [client, policy] = [fresh('client'), five()]
        const { verdict: first } = await exhaust(client, policy)
        const last = await repeat(20, client, policy)
        expect(last.outcome).toBe('limited')
        expect(last.limits[0]?.retryAfterMs).toBeLessThanOrEqual(first.limits[0]?.retryAfterMs as number)
        await advance(last.limits[0]?.retryAfterMs as number)
        expect((await check(client, policy)).outcome).toBe('allowed')
      })

      test.each([1, 2, 3, 5])('for a cost of %i, retryAfterMs is when it fits, and not much earlier', async cost => {
        const [client, policy] = [fresh('client'), five()]
        for (const pause of [0, 7013, 11_117, 3001, 2003, 1009, 17]) {
          await advance(pause)
          await check(client, policy)
        }
        await exhaust(client, policy)
        const refused = await check(client, policy, { cost })
        const wait = refused.limits[0]?.retryAfterMs as number
        expect(refused.outcome).toBe('limited')
        expect(wait).toBeGreaterThan(0)
        expect((await peek(client, policy, { cost })).limits[0]?.retryAfterMs).toBeLessThanOrEqual(wait)
        if (wait > 2 * SLACK) {
          await advance(wait - SLACK)
          const early = await check(client, policy, { cost })
          expect(early.outcome).toBe('limited')
          await advance(early.limits[0]?.retryAfterMs as number)
        } else await advance(wait)
        expect((await check(client, policy, { cost })).outcome).toBe('allowed')
      })

      test.each([
        ['the narrow one first', ['1m', '1h']],
        ['the wide one first', ['1h', '1m']],
      ])('several limits: all allow or none is charged (%s)', async (_, windows) => {
        const limits = windows.map(window => ({ window, limit: window === '1m' ? 2 : 10 }))
        const [client, policy] = [fresh('client'), policyOf({ algorithm, limits })]
        const expected = (minute: number, hour: number) => windows.map(window => (window === '1m' ? minute : hour))
        expect(await remaining(client, policy)).toEqual(expected(2, 10))
        await repeat(2, client, policy)
        const refused = await repeat(5, client, policy)
        expect(refused.outcome).toBe('limited')
        expect(refused.limits.map(limit => limit.remaining)).toEqual(expected(0, 8))
        expect(refused.limits[windows.indexOf('1h')]?.retryAfterMs).toBe(0)
        expect(refused.limits[windows.indexOf('1m')]?.retryAfterMs).toBeGreaterThan(0)
      })

      test('limits that are reordered keep their counters; a changed window starts afresh', async () => {
        const [client, id] = [fresh('client'), fresh('policy')]
        const [minute, hour] = [
          { limit: 5, window: '1m' },
          { limit: 9, window: '1h' },
        ]
        const of = (...limits: PolicyInput['limits']) => policyOf({ id, algorithm, limits })
        await repeat(3, client, of(minute))
        expect(await remaining(client, of(hour, minute))).toEqual([9, 2])
        await check(client, of(hour, minute))
        expect(await remaining(client, of(minute, hour))).toEqual([1, 8])
        expect(await remaining(client, of({ limit: 5, window: '2m' }))).toEqual([5])
      })

      test('takes the cost, or nothing when it does not fit', async () => {
        const [client, policy] = [fresh('client'), five()]
        expect(await check(client, policy, { cost: 3 })).toMatchObject({
          outcome: 'allowed',
          limits: [{ remaining: 2 }],
        })
        expect(await check(client, policy, { cost: 3 })).toMatchObject({
          outcome: 'limited',
          limits: [{ remaining: 2 }],
        })
        expect(await check(client, policy, { cost: 2 })).toMatchObject({
          outcome: 'allowed',
          limits: [{ remaining: 0 }],
        })
      })

      test('a cost of 0 passes at the limit and takes nothing', async () => {
        const [client, policy] = [fresh('client'), five()]
        expect(await check(client, policy, { cost: 0 })).toMatchObject({
          outcome: 'allowed',
          limits: [{ remaining: 5 }],
        })
        expect((await exhaust(client, policy)).allowed).toBe(5)
        expect(await check(client, policy, { cost: 0 })).toMatchObject({
          outcome: 'allowed',
          limits: [{ remaining: 0 }],
        })
      })

      test('a cost above a limit is refused for good: no retryAfterMs, no violation, nothing taken', async () => {
        const limits = [
          { limit: 10, window: '1m' },
          { limit: 3, window: '1h' },
        ]
        const [client, policy] = [fresh('client'), policyOf({ algorithm, limits }, penaltyOf({ threshold: 2 }))]
        const refused = await repeat(5, client, policy, { cost: 5 })
        expect(refused.outcome).toBe('limited')
        expect(refused.limits).toMatchObject([
          { remaining: 10, retryAfterMs: 0 },
          { remaining: 3, resetAfterMs: 0 },
        ])
        expect(refused.limits[1]).not.toHaveProperty('retryAfterMs')
        expect(refused.violations).toBeUndefined()
        expect(await peek(client, policy, { cost: 5 })).toMatchObject({ outcome: 'limited', limits: refused.limits })
        expect(await check(client, policy, { cost: 3 })).toMatchObject({
          outcome: 'allowed',
          limits: [{ remaining: 7 }, { remaining: 0 }],
        })
      })

      test('peek changes nothing, and says what check would', async () => {
        const [client, policy] = [fresh('client'), policyOf({ algorithm }, penaltyOf({ threshold: 2 }))]
        for (let i = 0; i < 10; i++) {
          const verdict = await peek(client, policy)
          expect(verdict).toMatchObject({ outcome: 'allowed', limits: [{ limit: 5, remaining: 5, resetAfterMs: 0 }] })
          expect(verdict.taken).toBeUndefined()
        }
        await repeat(5, client, policy)
        for (let i = 0; i < 10; i++) {
          const verdict = await peek(client, policy)
          expect(verdict).toMatchObject({ outcome: 'limited', limits: [{ remaining: 0 }] })
          expect(verdict.limits[0]?.retryAfterMs).toBeGreaterThan(0)
          expect(verdict.violations).toBeUndefined()
        }
        expect(await store.client(client, [policy])).toEqual({ client, violations: {}, refusals: [], offences: 0 })
      })

      test('a refund gives back its own units and no others', async () => {
        const [client, policy] = [fresh('client'), five()]
        const mine = await check(client, policy, { cost: 2 })
        await advance(10)
        await check(client, policy)
        await advance(10)
        const later = await check(client, policy)
        expect(await refund(client, policy, 2, mine)).toBe(2)
        expect(await remaining(client, policy)).toEqual([3])
        expect(await refund(client, policy, 1, later)).toBe(1)
        expect(await remaining(client, policy)).toEqual([4])
        expect((await exhaust(client, policy)).allowed).toBe(4)
      })

      test('a refund covers every limit of the policy', async () => {
        const limits = [
          { limit: 5, window: '1m' },
          { limit: 9, window: '1h' },
        ]
        const [client, policy] = [fresh('client'), policyOf({ algorithm, limits })]
        await check(client, policy)
        const taken = await check(client, policy, { cost: 3 })
        expect(await remaining(client, policy)).toEqual([1, 5])
        expect(await refund(client, policy, 3, taken)).toBe(3)
        expect(await remaining(client, policy)).toEqual([4, 8])
      })

      test('a refund that comes too late gives nothing back, and never more than there was', async () => {
        const [client, policy] = [fresh('client'), five()]
        const taken = await check(client, policy, { cost: 2 })
        await advance(3 * MINUTE)
        expect(await refund(client, policy, 2, taken)).toBe(0)
        expect((await exhaust(client, policy)).allowed).toBe(5)
      })

      test('a refund leaves a counter that is gone alone', async () => {
        const [client, policy] = [fresh('client'), five()]
        const taken = await check(client, policy, { cost: 2 })
        await store.unblock(client, {}, [policy])
        expect(await refund(client, policy, 2, taken)).toBe(0)
        expect((await exhaust(client, policy)).allowed).toBe(5)
      })

      test('a lowered limit clamps what is there', async () => {
        const [client, id] = [fresh('client'), fresh('policy')]
        await repeat(2, client, policyOf({ id, algorithm, limits: [{ limit: 50, window: '1h' }] }))
        const lowered = policyOf({ id, algorithm, limits: [{ limit: 3, window: '1h' }] })
        const [left = Number.NaN] = await remaining(client, lowered)
        expect(left).toBeGreaterThanOrEqual(0)
        expect(left).toBeLessThanOrEqual(3)
        expect((await exhaust(client, lowered)).allowed).toBe(left)
        await advance(2 * HOUR + MINUTE)
        expect((await exhaust(client, lowered)).allowed).toBe(3)
      })

      test('when its windows are over, a client has its whole limit again', async () => {
        const [client, policy] = [fresh('client'), five()]
        await exhaust(client, policy)
        await advance(2 * MINUTE + SECOND)
        expect(await remaining(client, policy)).toEqual([5])
        expect((await exhaust(client, policy)).allowed).toBe(5)
      })

      test('clients never share a counter, nor do policies', async () => {
        const policy = policyOf({ algorithm, limits: [{ limit: 1, window: '1h' }] })
        const twin = policyOf({ algorithm, id: `${policy.id}.2`, limits: [{ limit: 1, window: '1h' }] })
        const base = fresh('user:a')
        const clients = [
          base,
          `${base} b`,
          `${base}%20b`,
          `${base} b%20`,
          `${base}:${policy.id}`,
          `${base}:${policy.id}:3600s`,
          `${base}%7bb%7d`,
          `${base}/64`,
          `2001:db8:${run}::/64`,
          `2001:db8:${run}::/65`,
          base.toUpperCase(),
        ]
        for (const under of [policy, twin]) {
          for (const client of clients)
            expect([client, (await check(client, under)).outcome]).toEqual([client, 'allowed'])
        }
        for (const client of clients)
          expect([client, (await check(client, policy)).outcome]).toEqual([client, 'limited'])
      })
    })

    test.each(['token_bucket', 'gcra'] as const)('%s admits its burst at once, then its rate', async algorithm => {
      const [client, policy] = [
        fresh('client'),
        policyOf({ algorithm, limits: [{ limit: 6, window: '1h', burst: 9 }] }),
      ]
      const { allowed, verdict } = await exhaust(client, policy)
      expect(allowed).toBe(9)
      expect(verdict.limits[0]).toMatchObject({ limit: 9 })
      await advance(10 * MINUTE)
      expect((await exhaust(client, policy)).allowed).toBe(1)
      await advance(5 * HOUR)
      expect((await exhaust(client, policy)).allowed).toBe(9)
    })

    test('time in verdicts is the store’s, and goes on with it', async () => {
      const [client, policy] = [fresh('client'), policyOf({})]
      const at = msOf(await check(client, policy))
      expect(Math.abs(at - store.now())).toBeLessThan(SLACK)
      await advance(MINUTE)
      const later = msOf(await check(client, policy))
      expect(later - at).toBeGreaterThanOrEqual(MINUTE)
      expect(later - at).toBeLessThan(MINUTE + SLACK)
    })

    describe('penalties', () => {
      test('the fifth violation within the window blocks, and is itself refused by the limit', async () => {
        const [client, policy] = [fresh('client'), refusing(FIVE_THEN_15M)]
        expect((await check(client, policy)).violations).toBeUndefined()
        for (const violations of [1, 2, 3, 4]) {
          const verdict = await check(client, policy)
          expect(verdict).toMatchObject({ outcome: 'limited', violations })
          expect(verdict.block).toBeUndefined()
        }
        const fifth = await check(client, policy)
        expect(fifth).toMatchObject({ outcome: 'limited', violations: 5 })
        expect(fifth.block).toMatchObject({ client, policy: policy.id, by: 'auto', offence: 1, since: msOf(fifth) })
        expect(fifth.block).toMatchObject({ until: msOf(fifth) + 15 * MINUTE, reason: '5 violations within 5m' })
        const next = await check(client, policy)
        expect(next).toMatchObject({ outcome: 'blocked', block: fifth.block })
        expect(next.violations).toBeUndefined()
        expect(await peek(client, policy)).toMatchObject({ outcome: 'blocked', block: fifth.block })
      })

      test('violations leave the window one by one', async () => {
        const [client, policy] = [fresh('client'), refusing(FIVE_THEN_15M)]
        await violate(1, client, policy)
        await advance(100 * SECOND)
        await repeat(3, client, policy)
        await advance(201 * SECOND)
        expect(await check(client, policy)).toMatchObject({ outcome: 'limited', violations: 4 })
        expect(await store.client(client, [policy])).toMatchObject({
          violations: { '': expect.toSatisfy(v => v.length === 4) },
        })
        await advance(100 * SECOND)
        expect(await check(client, policy)).toMatchObject({ outcome: 'limited', violations: 2 })
      })

      test('blocked requests extend nothing; the block ends on time, with its violations cleared', async () => {
        const [client, policy] = [fresh('client'), refusing(FIVE_THEN_15M)]
        const { block } = await violate(5, client, policy)
        await advance(10 * MINUTE)
        const last = await repeat(20, client, policy)
        expect(last.block).toEqual(block)
        await advance((block?.until as number) - msOf(last) - SLACK)
        const late = await check(client, policy)
        expect(late.outcome).toBe('blocked')
        await advance((block?.until as number) - msOf(late))
        expect(await check(client, policy)).toMatchObject({ outcome: 'limited', violations: 1 })
      })

      describe.each(ALGORITHMS)('%s', algorithm => {
        test.each([
          ['one limit', [{ limit: 2, window: '1h' }], 1],
          ['one limit, a cost of 2', [{ limit: 2, window: '1h' }], 2],
          [
            'several limits',
            [
              { limit: 50, window: '1m' },
              { limit: 2, window: '1h' },
            ],
            1,
          ],
        ])(
          'a blocked client hears when its limits come back, which may be after the block: %s',
          async (_, limits, cost) => {
            const penalty = penaltyOf({ threshold: 1, block: '15m' })
            const [client, policy] = [fresh('client'), policyOf({ algorithm, limits, cost }, penalty)]
            const other = policyOf({ algorithm, limits: [{ limit: 5, window: '1h' }] }, penalty)
            await check(client, other)
            await exhaust(client, policy)
            for (const pause of [0, 0, MINUTE, 0]) {
              await advance(pause)
              for (const asked of [policy, other]) {
                const blocked = await check(client, asked)
                const measured = await peek(client, asked)
                expect(blocked).toMatchObject({ outcome: 'blocked', block: { policy: policy.id } })
                expect(blocked.limits.map(({ remaining }) => remaining)).toEqual(
                  measured.limits.map(({ remaining }) => remaining),
                )
                for (const [i, limit] of measured.limits.entries()) {
                  const passed = msOf(measured) - msOf(blocked)
                  const told = blocked.limits[i] as typeof limit
                  expect(Math.abs(told.resetAfterMs - limit.resetAfterMs - passed)).toBeLessThan(50)
                  expect(
                    Math.abs((told.retryAfterMs as number) - (limit.retryAfterMs as number) - passed),
                  ).toBeLessThan(50)
                }
              }
            }
          },
        )
      })

      test('a block holds under every enforced policy, and where no policy applies', async () => {
        const [client, policy] = [fresh('client'), refusing(FIVE_THEN_15M)]
        const { block } = await violate(5, client, policy)
        expect(await check(client, policyOf({}))).toMatchObject({ outcome: 'blocked', block })
        expect(await check(client, noPolicy(DEFAULTS))).toMatchObject({ outcome: 'blocked', block })
        expect((await check(fresh('client'), noPolicy(DEFAULTS))).outcome).toBe('allowed')
      })

      test('repeat offenders are blocked for longer; when the offence is forgotten it starts over', async () => {
        const penalty = penaltyOf({ threshold: 2, block: ['1m', '1h', '4h'], memory: '1d' })
        const [client, policy] = [fresh('client'), refusing(penalty)]
        for (const [i, ms] of [MINUTE, HOUR, 4 * HOUR, 4 * HOUR].entries()) {
          const { block, now } = await violate(2, client, policy)
          const at = msOf({ now })
          expect(block).toMatchObject({ offence: i + 1, since: at, until: at + ms })
          expect((await store.client(client, [policy])).offences).toBe(i + 1)
          await advance(ms)
        }
        await advance(DAY - HOUR)
        expect((await violate(2, client, policy)).block).toMatchObject({ offence: 5 })
        await advance(4 * HOUR + DAY + SECOND)
        expect((await store.client(client, [policy])).offences).toBe(0)
        const { block, now } = await violate(2, client, policy)
        expect(block).toMatchObject({ offence: 1, until: msOf({ now }) + MINUTE })
      })

      test('policies without a penalty of their own count together', async () => {
        const client = fresh('client')
        const [one, two] = [refusing(FIVE_THEN_15M), refusing(FIVE_THEN_15M)]
        await violate(3, client, one)
        expect(await violate(2, client, two)).toMatchObject({ violations: 5, block: { policy: two.id } })
      })

      test('a penalty of a policy’s own counts alone', async () => {
        const client = fresh('client')
        const fleet = refusing(FIVE_THEN_15M)
        const own = refusing(undefined, { penalty: { threshold: 2, block: '1h' } })
        expect((await violate(4, client, fleet)).block).toBeUndefined()
        const first = await violate(1, client, own)
        expect(first.violations).toBe(1)
        expect(first.block).toBeUndefined()
        const { violations } = await store.client(client, [fleet, own])
        expect(Object.entries(violations).map(([scope, times]) => [scope, times.length])).toEqual(
          expect.arrayContaining([
            ['', 4],
            [own.id, 1],
          ]),
        )
        const second = await check(client, own)
        expect(second).toMatchObject({ violations: 2, block: { policy: own.id, until: msOf(second) + HOUR } })
      })

      test.each([
        ['a policy that has none', refusing(undefined), true],
        ['a policy with penalty: false', refusing(FIVE_THEN_15M, { penalty: false }), true],
        ['a client that is not to be penalised', refusing(FIVE_THEN_15M), false],
      ])('never blocks: %s', async (_, policy, penalise) => {
        const client = fresh('client')
        await check(client, policy)
        const last = await repeat(10, client, policy, { penalise })
        expect(last.outcome).toBe('limited')
        expect(last.violations).toBeUndefined()
        const record = await store.client(client, [policy])
        expect(record).toMatchObject({ violations: {}, offences: 0 })
        expect(record.refusals).toHaveLength(10)
      })

      test('a shadow policy counts on its own, never blocks and sees no block', async () => {
        const client = fresh('client')
        const shadow = policyOf({ mode: 'shadow', limits: [{ limit: 3, window: '1h' }] }, FIVE_THEN_15M)
        const enforced = refusing(FIVE_THEN_15M)
        const { block } = await violate(5, client, enforced)
        expect(block).toBeDefined()
        const { allowed } = await exhaust(client, shadow)
        expect(allowed).toBe(3)
        const last = await repeat(10, client, shadow)
        expect(last).toMatchObject({ outcome: 'limited', limits: [{ remaining: 0 }] })
        expect(last.violations).toBeUndefined()
        expect((await peek(client, shadow)).outcome).toBe('limited')
        const lifted = await store.unblock(client, { keepCounters: true }, [shadow, enforced])
        expect(lifted).toMatchObject({ block, violations: 0 })
        expect((await repeat(10, client, shadow)).block).toBeUndefined()
        const record = await store.client(client, [shadow, enforced])
        expect(record.violations).toEqual({})
        expect(record.refusals.map(({ policy }) => policy)).not.toContain(shadow.id)
      })
    })

    describe('unblocking', () => {
      test('lifts the block, the violations and the counters, and says what it lifted', async () => {
        const client = fresh('client')
        const [policy, untouched] = [policyOf({}, FIVE_THEN_15M), policyOf({}, FIVE_THEN_15M)]
        await exhaust(client, policy)
        await check(client, policy)
        const block = await store.block({ client, reason: 'looks odd', by: 'ann', durationMs: HOUR })
        expect(await store.unblock(client, {}, [policy, untouched])).toEqual({
          client,
          wasBlocked: true,
          block,
          violations: 2,
          counters: [policy.id],
        })
        expect(await remaining(client, policy)).toEqual([5])
        const { verdict } = await exhaust(client, policy)
        expect(verdict).toMatchObject({ outcome: 'limited', violations: 1 })
        expect((await store.blocks(1000)).blocks.map(blocked => blocked.client)).not.toContain(client)
      })

      test('covers several limits, shadow policies and penalties of a policy’s own', async () => {
        const client = fresh('client')
        const own = refusing(undefined, { penalty: { threshold: 9 } })
        const limits = [
          { limit: 5, window: '1m' },
          { limit: 9, window: '1h' },
        ]
        const [wide, shadow] = [policyOf({ limits }), policyOf({ mode: 'shadow' })]
        await violate(3, client, own)
        await check(client, wide)
        await check(client, shadow)
        const lifted = await store.unblock(client, {}, [own, wide, shadow])
        expect(lifted).toMatchObject({ wasBlocked: false, violations: 3 })
        expect([...lifted.counters].sort()).toEqual([own.id, wide.id, shadow.id].sort())
        expect(await remaining(client, wide)).toEqual([5, 9])
        expect(await remaining(client, shadow)).toEqual([5])
      })

      test('says so when there was nothing to lift', async () => {
        const [client, policy] = [fresh('client'), policyOf({}, FIVE_THEN_15M)]
        expect(await store.unblock(client, {}, [policy])).toEqual({
          client,
          wasBlocked: false,
          violations: 0,
          counters: [],
        })
      })

      test('does not count violations that the window has forgotten', async () => {
        const [client, policy] = [fresh('client'), refusing(FIVE_THEN_15M)]
        await violate(3, client, policy)
        await advance(5 * MINUTE + SECOND)
        expect((await store.client(client, [policy])).violations).toEqual({})
        expect((await store.unblock(client, {}, [policy])).violations).toBe(0)
      })

      test('with keepCounters the client stays at its limit', async () => {
        const [client, policy] = [fresh('client'), refusing(FIVE_THEN_15M)]
        await violate(5, client, policy)
        const lifted = await store.unblock(client, { keepCounters: true }, [policy])
        expect(lifted).toMatchObject({ wasBlocked: true, counters: [] })
        expect(await check(client, policy)).toMatchObject({ outcome: 'limited', violations: 1 })
      })

      test('with grace no violation counts until it is over', async () => {
        const [client, policy] = [fresh('client'), refusing(penaltyOf({ threshold: 2 }))]
        await violate(2, client, policy)
        await store.unblock(client, { grace: '10m', keepCounters: true }, [policy])
        const { graceUntil } = await store.client(client, [policy])
        expect(Math.abs((graceUntil as number) - store.now() - 10 * MINUTE)).toBeLessThan(SLACK)
        await advance(9 * MINUTE)
        const spared = await repeat(5, client, policy)
        expect(spared.outcome).toBe('limited')
        expect(spared.violations).toBeUndefined()
        await advance(MINUTE)
        expect((await store.client(client, [policy])).graceUntil).toBeUndefined()
        expect(await check(client, policy)).toMatchObject({ outcome: 'limited', violations: 1 })
        expect(await check(client, policy)).toMatchObject({ block: { by: 'auto' } })
      })

      test('can give grace to a client never seen', async () => {
        const [client, policy] = [fresh('client'), refusing(penaltyOf({ threshold: 1 }))]
        await store.unblock(client, { grace: '1h' }, [policy])
        const spared = await violate(3, client, policy)
        expect(spared.outcome).toBe('limited')
        expect(spared.block).toBeUndefined()
      })

      test('forgives: the next block is a first offence again', async () => {
        const penalty = penaltyOf({ threshold: 1, block: ['1m', '1h'] })
        const [client, policy] = [fresh('client'), refusing(penalty)]
        expect((await violate(1, client, policy)).block).toMatchObject({ offence: 1 })
        await store.unblock(client, {}, [policy])
        expect((await violate(1, client, policy)).block).toMatchObject({ offence: 1 })
      })
    })

    describe('blocks of an operator', () => {
      test('hold for as long as they say, and a newer one replaces them', async () => {
        const [client, policy] = [fresh('client'), policyOf({})]
        await store.block({ client, reason: 'scraping', by: 'ann', durationMs: DAY })
        const block = await store.block({ client, reason: 'on second thoughts', by: 'bob', durationMs: MINUTE })
        expect(block).toMatchObject({ client, reason: 'on second thoughts', by: 'bob', until: block.since + MINUTE })
        expect(block.policy).toBeUndefined()
        expect(Math.abs(block.since - store.now())).toBeLessThan(SLACK)
        const refused = await check(client, policy)
        expect(refused).toMatchObject({ outcome: 'blocked', block })
        expect((await store.client(client, [policy])).block).toEqual(block)
        await advance(block.until - msOf(refused))
        expect((await check(client, policy)).outcome).toBe('allowed')
        expect((await store.client(client, [policy])).block).toBeUndefined()
      })

      test('are listed while they hold, soonest to end first', async () => {
        const clients = [3, 1, 2].map(hours => ({ client: fresh('client'), durationMs: hours * HOUR }))
        for (const { client, durationMs } of clients) await store.block({ client, durationMs, reason: 'r', by: 'ann' })
        const mine = async () => {
          const { blocks } = await store.blocks(1000)
          expect(blocks.map(({ until }) => until)).toEqual(blocks.map(({ until }) => until).sort((a, b) => a - b))
          return blocks.filter(({ client }) => clients.some(one => one.client === client)).map(({ client }) => client)
        }
        const [three, one, two] = clients.map(({ client }) => client)
        expect(await mine()).toEqual([one, two, three])
        await advance(HOUR)
        expect(await mine()).toEqual([two, three])
        await store.unblock(three as string, {}, [])
        expect(await mine()).toEqual([two])
      })
    })

    test('lists blocks by pages that miss none and tell none twice, and counts them all', async () => {
      const clients = Array.from({ length: 7 }, () => fresh('client'))
      // Several end in one millisecond, where the clock stands still or is quick.
      await Promise.all(clients.map(client => store.block({ client, durationMs: DAY, reason: 'r', by: 'ann' })))
      const { total } = await store.blocks(1)
      const told: Block[] = []
      for (let after: BlockPlace | undefined; ; ) {
        const page = await store.blocks(2, after)
        expect(page.blocks.length).toBeLessThanOrEqual(2)
        expect(page.total).toBe(total)
        told.push(...page.blocks)
        if (!page.next) break
        after = page.next
      }
      expect(told).toHaveLength(total)
      expect(new Set(told.map(({ client }) => client)).size).toBe(total)
      expect(told.map(({ until }) => until)).toEqual(told.map(({ until }) => until).sort((a, b) => a - b))
      expect(told.map(({ client }) => client)).toEqual(expect.arrayContaining(clients))
      expect((await store.blocks(1000)).blocks).toEqual(told)
    })

    test('remembers the last ten refusals of a client, newest first', async () => {
      const [client, policy] = [fresh('client'), refusing(undefined, { limits: [{ limit: 1, window: '1h' }] })]
      await check(client, policy, { route: 'GET /allowed' })
      for (let i = 1; i <= 12; i++) await check(client, policy, { route: `GET /refused/${i}` })
      const { refusals } = await store.client(client, [policy])
      expect(refusals.map(({ route }) => route)).toEqual(
        [12, 11, 10, 9, 8, 7, 6, 5, 4, 3].map(i => `GET /refused/${i}`),
      )
      for (const refusal of refusals) {
        expect(refusal).toMatchObject({ policy: policy.id, limit: '1 per 1h' })
        expect(Math.abs(refusal.at - store.now())).toBeLessThan(SLACK)
      }
    })

    test('names the limit that refused', async () => {
      const limits = [
        { limit: 50, window: '1m' },
        { limit: 2, window: '1h', burst: 3 },
      ]
      const [client, policy] = [fresh('client'), policyOf({ limits, algorithm: 'gcra' })]
      await exhaust(client, policy)
      expect((await store.client(client, [policy])).refusals).toMatchObject([{ limit: '2 per 1h (burst 3)' }])
    })

    test('knows nothing of a client never seen', async () => {
      const client = fresh('client')
      expect(await store.client(client, [])).toEqual({ client, violations: {}, refusals: [], offences: 0 })
    })
  })
}
