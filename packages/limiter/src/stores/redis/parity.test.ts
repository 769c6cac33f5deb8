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

/** The script as it is, in a Redis whose time is what the test says: keys end by that time too, unless `ageless`. */
const virtual = ({ text }: Script): Script =>
  script(`local server = redis
local now = tonumber(server.call('GET', 'now'))
for _, key in ipairs(server.call('ZRANGEBYSCORE', 'ends', '-inf', now)) do
  server.call('DEL', key)
  server.call('ZREM', 'ends', key)
end
local function ends(key, ms) server.call('ZADD', 'ends', string.format('%.0f', now + math.floor(ms) * 1000), key) end
local redis = { call = function(command, key, ...)
  if command == 'TIME' then return { math.floor(now / 1000000), now % 1000000 } end
  if server.call('EXISTS', key) == 0 then server.call('ZREM', 'ends', key) end
  if command == 'PEXPIRE' then
    if server.call('EXISTS', 'ageless') == 1 then return 1 end
    if server.call('EXISTS', key) == 1 then ends(key, (...)) end
    return 1
  end
  if command == 'SET' then
    local value, px, ms = ...
    if px == 'PX' and server.call('EXISTS', 'ageless') == 0 then ends(key, ms) else server.call('ZREM', 'ends', key) end
    return server.call('SET', key, value)
  end
  return server.call(command, key, ...)
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
  [
    { limit: 5, window: '1s' },
    { limit: 7, window: '3s' },
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
  // Several to a short window.
  { weight: 6, arbitrary: fc.integer({ min: 100, max: 800 }).map(ms => ms * 1000) },
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

const steps = (...list: [ms: number, cost: number, refund?: boolean, shape?: number][]): Step[] =>
  list.map(([ms, cost, refund = false, shape = 0]) => ({
    ...{ pauseUs: ms * 1000, cost, refund, shape },
    ...{ client: 0, shadow: false, peek: false, alone: false },
  }))

/**
 * Found under load: a log whose oldest units went when nothing was taken, or came back, must outlive what it still holds. And
 * who is blocked, over a limit that was lowered, and asks for nothing has nothing to wait for but the block.
 */
const EXAMPLES: [number, Step[], boolean, boolean][] = [
  [0, steps([0, 1], [900, 3], [150, 4], [150, 1], [850, 5], [10, 1]), false, false],
  [0, steps([0, 1], [0, 0, true], [0, 1], [900, 1], [50, 0], [0, 3]), false, false],
  [0, steps([0, 1], [1000, 1], [1000, 1]), false, false],
  [0, steps([0, 1], [900, 1], [0, 0, true], [50, 3], [100, 2], [1000, 5], [10, 1]), false, false],
  [0, steps([0, 1], [1, 1], [1, 1], [1, 1], [1, 1, false, 1], [1, 2], [1, 1, false, 1], [1, 0, false, 1]), true, true],
]

/** What both must agree on, to the millisecond. */
const told = ({ outcome, now, limits, block, violations, taken }: Verdict) => ({
  outcome,
  now,
  limits,
  block,
  violations,
  taken,
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
        fc.array(step, { minLength: 1, maxLength: 80, size: 'max' }),
        fc.boolean(),
        fc.boolean(),
        async (base, steps, changing, penalise) => {
          await redis.flushall()
          // What has become full under a smaller limit is forgotten, and full under a greater one that comes later.
          if (changing) await redis.set('ageless', '1')
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
              const both = policies[2 * base + (changing ? shape : 0)] as (typeof policies)[number]
              const policy = shadow ? both.shadow : both.enforced
              const check: Check = { client: `c${client}`, policy, cost, route: 'GET /', penalise }
              const flagged = { ...check, peek }
              // A check alone is asked in another way than one among others.
              const bystander = { check: { ...check, client: 'bystander', peek: true } }
              const batch = alone ? [{ check: flagged }] : [bystander, { check: flagged }]
              const question = encodeBatch(batch, keys, 0)
              const reply = await evaluate(redis, virtual(question.script), question.keys, question.args)
              const theirs = decodeBatch(reply, batch).at(-1) as Verdict
              if (changing && theirs.outcome === 'blocked' && theirs.block && theirs.block.until <= now / 1000) {
                await redis.del(keys.block(check.client))
                // Redis has looked at the limits, which clamps what is owed under a lowered one.
                memory.peek(check)
                continue
              }
              const ours = peek ? memory.peek(check) : memory.check(check)
              expect(told(theirs)).toEqual(told(ours))
              if (ours.taken) last = { client: check.client, policy, cost, takenAt: ours.now }
            }
          } finally {
            memory.close()
          }
        },
      ),
      { numRuns: 100, examples: EXAMPLES },
    )
  })
})
