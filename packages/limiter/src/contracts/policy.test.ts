import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { formatDuration, formatRemaining, parseDuration } from './duration.ts'
import {
  ALGORITHMS,
  builtInPolicies,
  FAIL_MODES,
  MODES,
  penaltySchema,
  policySchema,
  settingsSchema,
} from './policy.ts'
import { describeIssues } from './strict.ts'

const LIMITS = [{ limit: 10, window: '1m' }]

/** What is wrong with a policy, on one line; `undefined` when nothing is. */
function faultOf(policy: object): string | undefined {
  const { error } = policySchema.safeParse({ id: 'p', limits: LIMITS, ...policy })
  return error && describeIssues(error)
}

describe('a duration', () => {
  it.each([
    ['250ms', 250],
    ['90s', 90_000],
    ['15m', 900_000],
    ['4h', 14_400_000],
    ['7d', 604_800_000],
    ['1.5h', 5_400_000],
    [' 10 s ', 10_000],
    ['30', 30_000],
    [30, 30_000],
    [0.5, 500],
    ['0.25', 250],
  ])('%j is %i ms', (text, ms) => expect(parseDuration(text)).toBe(ms))

  it.each([
    '',
    's',
    '-1s',
    '+1s',
    '1w',
    '1 fortnight',
    '1h30m',
    '1e3',
    '0x10',
    '.5s',
    '1.s',
    '0.1ms',
    '1,5s',
    'NaN',
    Number.NaN,
    -1,
    1e21,
  ])('%j is none', text => expect(parseDuration(text)).toBeUndefined())

  it('is spelled as short as it can be without loss', () => {
    expect([0, 250, 1000, 60_000, 90_000, 3_600_000, 86_400_000, 1001].map(formatDuration)).toEqual([
      '0s',
      '250ms',
      '1s',
      '1m',
      '90s',
      '1h',
      '1d',
      '1001ms',
    ])
    fc.assert(
      fc.property(fc.nat(), ms => {
        expect(parseDuration(formatDuration(ms))).toBe(ms)
      }),
    )
  })

  it.each([
    [0, '0s'],
    [1, '1s'],
    [12_000, '12s'],
    [781_001, '13m 02s'],
    [3_600_000, '1h 00m'],
    [187_200_000, '2d 4h'],
    [-5, '0s'],
  ])('of which %i ms are left is told to people as %s', (ms, text) => expect(formatRemaining(ms)).toBe(text))
})

describe('a policy', () => {
  it('needs an id and a limit; the rest has defaults', () => {
    expect(policySchema.parse({ id: 'p', limits: [{ limit: 10, window: 60 }] })).toEqual({
      id: 'p',
      match: ['*'],
      limits: [{ limit: 10, window: '1m' }],
      cost: 1,
      mode: 'enforce',
    })
    expect(policySchema.parse({ id: 'p', limits: LIMITS, penalty: {} }).penalty).toEqual({
      threshold: 5,
      window: '5m',
      block: ['15m'],
      memory: '1d',
    })
  })

  it('may cost more than a burst that its algorithm does not know', () => {
    const asked = { id: 'p', cost: 3, limits: [{ limit: 10, window: '1m', burst: 2 }] }
    expect(policySchema.safeParse({ ...asked, algorithm: 'sliding_window' }).success).toBe(true)
    expect(policySchema.safeParse({ ...asked, algorithm: 'gcra' }).success).toBe(false)
  })

  it('keeps what a person wrote, in its canonical spelling', () => {
    const policy = policySchema.parse({
      id: 'p',
      match: 'POST /auth/*',
      limits: [{ limit: 10, window: '3600' }],
      penalty: { block: '900', window: '0.5h' },
    })
    expect(policy.match).toEqual(['POST /auth/*'])
    expect(policy.limits[0]?.window).toBe('1h')
    expect(policy.penalty).toMatchObject({ block: ['15m'], window: '30m' })
  })

  it.each<[string, object, string]>([
    ['an unknown field', { limts: [] }, 'unknown field "limts", did you mean "limits"?'],
    [
      'an unknown field of a limit',
      { limits: [{ limit: 1, windw: '1m', window: '1m' }] },
      'limits.0: unknown field "windw", did you mean "window"?',
    ],
    ['a field in another case', { failmode: 'open' }, 'did you mean "failMode"?'],
    ['a field like nothing', { xyzzy: 1 }, 'unknown field "xyzzy" (known: id, description, match,'],
    ['no limit', { limits: [] }, 'limits:'],
    ['nine limits', { limits: Array.from({ length: 9 }, (_, i) => ({ limit: 1, window: `${i + 1}s` })) }, 'limits:'],
    ['a limit of 0', { limits: [{ limit: 0, window: '1m' }] }, 'limits.0.limit:'],
    ['half a unit', { limits: [{ limit: 1.5, window: '1m' }] }, 'limits.0.limit:'],
    ['a limit above a million', { limits: [{ limit: 1_000_001, window: '1m' }] }, 'limits.0.limit:'],
    ['a burst of 0', { limits: [{ limit: 1, window: '1m', burst: 0 }] }, 'limits.0.burst:'],
    [
      'a window that is none',
      { limits: [{ limit: 1, window: '1 fortnight' }] },
      'limits.0.window: "1 fortnight" is not a duration',
    ],
    ['a window of 0', { limits: [{ limit: 1, window: '0s' }] }, 'limits.0.window: "0s" is out of range (100ms to 31d)'],
    ['a window too short', { limits: [{ limit: 1, window: '99ms' }] }, 'limits.0.window: "99ms" is out of range'],
    ['a window too long', { limits: [{ limit: 1, window: '32d' }] }, 'limits.0.window: "32d" is out of range'],
    [
      'one window twice, however it is spelled',
      {
        limits: [
          { limit: 1, window: '60s' },
          { limit: 2, window: '1m' },
        ],
      },
      'limits.1.window: a second limit over 1m',
    ],
    ['a cost that never fits', { cost: 11 }, 'cost: a cost of 11 never fits into 10 per 1m'],
    [
      'a cost above one of the limits',
      { cost: 3, limits: [...LIMITS, { limit: 2, window: '1s' }] },
      'never fits into 2 per 1s',
    ],
    [
      'a cost above the burst',
      { cost: 3, limits: [{ limit: 10, window: '1m', burst: 2 }] },
      'cost: a cost of 3 never fits into a burst of 2',
    ],
    ['a cost of 0', { cost: 0 }, 'cost:'],
    ['an unknown algorithm', { algorithm: 'leaky_bucket' }, 'algorithm:'],
    ['an unknown mode', { mode: 'on' }, 'mode:'],
    ['an id with a space', { id: 'a b' }, 'id: a policy id is'],
    ['an id that could shape a key', { id: 'a:b' }, 'id: a policy id is'],
    [
      'an id that every object has',
      { id: 'constructor' },
      'id: "constructor" is a name that every JavaScript object has',
    ],
    ['another one', { id: 'hasOwnProperty' }, 'choose another id'],
    ['an empty id', { id: '' }, 'id: a policy id is'],
    ['a pattern without a slash', { match: 'auth' }, 'match: expected "PATH" or "METHOD PATH"'],
    ['a method in lower case', { match: 'post /auth' }, 'match: expected'],
    ['three words', { match: 'POST /auth x' }, 'match: expected'],
    ['a bad pattern among good ones', { match: ['/a', 'b'] }, 'match.1: expected'],
    ['no pattern', { match: [] }, 'match:'],
    ['a threshold of 0', { penalty: { threshold: 0 } }, 'penalty.threshold:'],
    ['a block too short', { penalty: { block: ['15m', '1ms'] } }, 'penalty.block.1: "1ms" is out of range'],
    [
      'an unknown field of a penalty',
      { penalty: { treshold: 3 } },
      'penalty: unknown field "treshold", did you mean "threshold"?',
    ],
    ['penalty: true', { penalty: true }, 'penalty:'],
  ])('with %s is refused, and told why', (_fault, policy, message) => expect(faultOf(policy)).toContain(message))

  it('tells all its faults at once', () => {
    const fault = faultOf({ id: '!', cost: 0, limits: [{ limit: 0, window: 'x' }] }) as string
    for (const field of ['id:', 'cost:', 'limits.0.limit:', 'limits.0.window:']) expect(fault).toContain(field)
  })

  it('reads the same when it is read again', () => {
    const duration = (min: number, max: number) =>
      fc
        .integer({ min, max })
        .chain(seconds =>
          fc.constantFrom<string | number>(
            seconds,
            `${seconds}`,
            `${seconds}s`,
            `${seconds * 1000}ms`,
            ` ${seconds} s`,
          ),
        )
    const limit = fc.record(
      {
        limit: fc.integer({ min: 5, max: 1e6 }),
        window: duration(1, 2_678_400),
        burst: fc.integer({ min: 5, max: 1e6 }),
      },
      { requiredKeys: ['limit', 'window'] },
    )
    const steps = fc.array(duration(1, 1e6), { minLength: 1, maxLength: 10 })
    const block = fc.oneof(
      duration(1, 1e6),
      steps.map(list => list.sort((a, b) => (parseDuration(a) as number) - (parseDuration(b) as number))),
    )
    const penalty = fc.record(
      { threshold: fc.integer({ min: 1, max: 1000 }), window: duration(1, 604_800), block, memory: duration(1, 1e6) },
      { requiredKeys: [] },
    )
    const match = fc.constantFrom('*', '/a', 'POST /a/*', 'M-SEARCH /:x')
    const policy = fc.record(
      {
        id: fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/),
        description: fc.string({ maxLength: 500 }),
        match: fc.oneof(match, fc.array(match, { minLength: 1, maxLength: 5 })),
        algorithm: fc.constantFrom(...ALGORITHMS),
        limits: fc.uniqueArray(limit, { minLength: 1, maxLength: 8, selector: ({ window }) => parseDuration(window) }),
        cost: fc.integer({ min: 1, max: 5 }),
        mode: fc.constantFrom(...MODES),
        failMode: fc.constantFrom(...FAIL_MODES),
        penalty: fc.oneof(fc.constant(false as const), penalty),
      },
      { requiredKeys: ['id', 'limits'] },
    )
    fc.assert(
      fc.property(policy, written => {
        const once = policySchema.parse(written)
        expect(policySchema.parse(once)).toEqual(once)
        expect(policySchema.parse(JSON.parse(JSON.stringify(once)))).toEqual(once)
      }),
    )
  })
})

describe('what stands when nobody said otherwise', () => {
  it('is 100 a minute with a burst of 120, and 30 a minute on /auth', () => {
    expect(builtInPolicies()).toEqual([
      { id: 'default', match: ['*'], limits: [{ limit: 100, window: '1m', burst: 120 }], cost: 1, mode: 'enforce' },
      { id: 'auth', match: ['/auth/*'], limits: [{ limit: 30, window: '1m' }], cost: 1, mode: 'enforce' },
    ])
  })

  it('is a block of 15 minutes for the 5th violation in 5, and IPv6 by /64', () => {
    expect(settingsSchema.parse({})).toEqual({ penalty: penaltySchema.parse({}), ipv6Prefix: 64 })
    expect(penaltySchema.parse({})).toEqual({ threshold: 5, window: '5m', block: ['15m'], memory: '1d' })
    expect(settingsSchema.parse({ penalty: false }).penalty).toBe(false)
  })
})
