import fc from 'fast-check'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ALGORITHMS, policySchema } from '../../contracts/index.ts'
import { compilePenalty, compilePolicy } from '../../policies/table.ts'
import { MemoryStore } from '../memory/memory-store.ts'
import type { Check, Receipt, Verdict } from '../store.ts'
import { decodeBatch, encodeBatch, refundArgs } from './encode.ts'
import { evaluate } from './evaluate.ts'
import { createKeys } from './keys.ts'
import { RedisServer } from './redis-server.fixture.ts'
import { composeScript, type Script, script } from './scripts.ts'

const START = 1_795_000_000_000_000

let server: RedisServer
let redis: Redis
beforeAll(async () => {
  server = await RedisServer.start()
  redis = new Redis({ host: '127.0.0.1', port: server.port })
})
afterAll(async () => {
  redis.disconnect()
  await server.stop()
})

/** The script as it is, in a Redis whose time is what the test says, and where nothing expires by itself. */
const virtual = ({ text }: Script): Script =>
  script(`local server = redis
local redis = { call = function(command, ...)
  if command == 'TIME' then
    local us = tonumber(server.call('GET', 'now'))
    return { math.floor(us / 1000000), us % 1000000 }
  end
  if command == 'PEXPIRE' then return 1 end
  local given = { ... }
  if command == 'SET' then return server.call('SET', given[1], given[2]) end
  return server.call(command, ...)
end }
${text}`)

const penalty = compilePenalty({ threshold: 3, window: '1m', block: ['2s', '1m', '1h'], memory: '1d' })
const keys = createKeys('parity', 0)

/** Odd windows, tenths of a µs a unit, bursts above and below the limit, three limits at once. */
const SHAPES: { limit: number; window: string; burst?: number }[][] = [
  [{ limit: 5, window: '1s' }],
  [{ limit: 7, window: '60s', burst: 10 }],
  [{ limit: 1_000_000, window: '100ms' }],
  [{ limit: 100, window: '1h', burst: 3 }],
  [
    { limit: 2, window: '250ms' },
    { limit: 11, window: '7s' },
    { limit: 40, window: '1h' },
  ],
]

interface Step {
  readonly pauseUs: number
  readonly cost: number
  readonly shape: number
  readonly client: number
  readonly shadow: boolean
  readonly peek: boolean
  readonly refund: boolean
  readonly alone: boolean
}

const pause = fc.oneof(
  fc.constant(0),
  fc.integer({ min: 1, max: 999 }),
  fc.integer({ min: 1000, max: 2_000_000 }),
  fc.integer({ min: 1_000_000, max: 90_000_000 }),
  fc.constantFrom(60_000_000, 1_000_000, 250_000, 3_600_000_000),
)
const step: fc.Arbitrary<Step> = fc.record({
  pauseUs: pause,
  cost: fc.oneof({ weight: 6, arbitrary: fc.constant(1) }, { weight: 3, arbitrary: fc.integer({ min: 0, max: 8 }) }),
  shape: fc.integer({ min: 0, max: 1 }),
  client: fc.integer({ min: 0, max: 1 }),
  shadow: fc.oneof({ weight: 5, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }),
  peek: fc.oneof({ weight: 5, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }),
  alone: fc.boolean(),
  refund: fc.oneof({ weight: 4, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }),
})

/** What both must agree on, to the millisecond. */
const told = ({ outcome, at, limits, block, violations, takenAt }: Verdict) => ({
  outcome,
  at,
  limits,
  block,
  violations,
  takenAt,
})

describe.each(ALGORITHMS)('%s in Lua and in TypeScript', algorithm => {
  const policies = SHAPES.flatMap((limits, i) =>
    // The same id with and without a lower limit: what is there is clamped.
    [
      limits,
      limits.map(limit => ({
        ...limit,
        limit: Math.ceil(limit.limit / 2),
        burst: Math.ceil((limit.burst ?? limit.limit) / 2),
      })),
    ].map(variant => {
      const capped =
        algorithm === 'sliding_window' ? variant.map(one => ({ ...one, limit: Math.min(one.limit, 20_000) })) : variant
      const enforced = policySchema.parse({ id: `p${i}`, algorithm, limits: capped })
      const defaults = { algorithm, failMode: 'open' } as const
      return {
        enforced: compilePolicy(enforced, penalty, defaults),
        shadow: compilePolicy({ ...enforced, mode: 'shadow' }, penalty, defaults),
      }
    }),
  )

  test('decide the same sequence alike: outcomes, what is left, every delta, violations, blocks, refunds', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 0, max: SHAPES.length - 1 }),
        fc.array(step, { minLength: 1, maxLength: 60 }),
        async (base, steps) => {
          await redis.flushall()
          let now = START
          const memory = new MemoryStore({ clock: () => now })
          try {
            let last: Receipt | undefined
            for (const { pauseUs, cost, shape, client, shadow, peek, refund, alone } of steps) {
              now += pauseUs
              await redis.set('now', String(now))
              if (refund && last) {
                const { keys: counters, args } = refundArgs(last, keys, now)
                const reply = await evaluate(redis, virtual(composeScript('refund', [algorithm])), counters, args)
                expect(reply[1]).toBe(memory.refund(last))
                last = undefined
                continue
              }
              const both = policies[2 * base + shape] as (typeof policies)[number]
              const policy = shadow ? both.shadow : both.enforced
              const check: Check = { client: `c${client}`, policy, cost, route: 'GET /', penalise: true }
              const flagged = { ...check, peek }
              // A check alone is asked in another way than one among others.
              const bystander = { check: { ...check, client: 'bystander', peek: true } }
              const batch = alone ? [{ check: flagged }] : [bystander, { check: flagged }]
              const question = encodeBatch(batch, keys, 0)
              const reply = await evaluate(redis, virtual(question.script), question.keys, question.args)
              const theirs = decodeBatch(reply, batch).at(-1) as Verdict
              if (theirs.outcome === 'blocked' && theirs.block && theirs.block.until <= now / 1000) {
                // Nothing expires by itself here: do what the TTL would.
                await redis.del(keys.block(check.client))
                continue
              }
              const ours = peek ? memory.peek(check) : memory.check(check)
              expect(told(theirs)).toEqual(told(ours))
              if (ours.takenAt !== undefined) last = { client: check.client, policy, cost, takenAt: ours.takenAt }
            }
          } finally {
            memory.close()
          }
        },
      ),
      { numRuns: 60 },
    )
  })
})
