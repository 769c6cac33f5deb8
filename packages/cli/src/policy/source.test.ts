import { policySchema } from '@api-bouncer/limiter/contracts'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { commented, policyYaml, policyYamlWithHelp } from './print.ts'
import { readPolicies } from './source.ts'

const ids = (text: string) => readPolicies(text).policies.map(({ policy }) => policy.id)
const problems = (text: string) =>
  readPolicies(text).problems.map(({ line, column, message }) => `${line}:${column}: ${message}`)

const LIMITS = 'limits: [{ limit: 1, window: 1m }]'

describe('reading policies', () => {
  it.each([
    ['one policy', `id: a\n${LIMITS}\n`, ['a']],
    ['several documents, some of them empty', `---\nid: a\n${LIMITS}\n---\n---\nid: b\n${LIMITS}\n`, ['a', 'b']],
    ['a list', `- { id: a, ${LIMITS} }\n- { id: b, ${LIMITS} }\n`, ['a', 'b']],
    ["a server's policies file", `penalty: false\nallow: []\npolicies:\n  - { id: a, ${LIMITS} }\n`, ['a']],
    ['JSON', `{"policies":[{"id":"a","limits":[{"limit":1,"window":60}]}]}`, ['a']],
    ['records, as they are printed', `[{"version":3,"policy":{"id":"a","limits":[{"limit":1,"window":60}]}}]`, ['a']],
    ['an alias', '- { id: a, limits: &tight [{ limit: 1, window: 1m }] }\n- { id: b, limits: *tight }\n', ['a', 'b']],
  ])('%s', (_, text, expected) => {
    expect(ids(text)).toEqual(expected)
  })

  it('tells what it leaves alone', () => {
    expect(readPolicies(`deny: []\npolicies: [{ id: a, ${LIMITS} }]`).otherFields).toEqual(['deny'])
  })

  it.each([
    ['', ['1:1: there is no policy in it']],
    ['# only a comment\n', ['1:1: there is no policy in it']],
    ['policies: []\n', ['1:1: there is no policy in it']],
    ['policies: 3\n', ['1:11: policies: expected a list of policies']],
    ['id: a\n  limits: [', [expect.stringMatching(/^\d+:\d+: is neither YAML nor JSON: /)]],
    ['[{ "id": "a"\n  "limits": [] }]', ["2:3: is not JSON: Expected ',' or '}' after property value"]],
    ['match: *\n', [expect.stringContaining('Write what begins with * in quotes')]],
    [
      'id: auth\nlimits:\n  - { limit: 30, windw: 1m }\n',
      ['3:18: limits.0: unknown field "windw", did you mean "window"?'],
    ],
    [
      'id: auth\nlimits:\n  - { limit: 30, window: 1 fortnight }\n',
      ['3:26: limits.0.window: "1 fortnight" is not a duration (write 250ms, 90s, 15m, 4h or 7d)'],
    ],
    ['id: auth\n', ['1:1: limits: is missing']],
    [`id: a\n${LIMITS}\n---\nid: a\n${LIMITS}\n`, ['4:1: a second policy called "a"; the first is on line 1']],
    [`polices: []\npolicies:\n  - { id: a, ${LIMITS} }\n`, ['1:1: unknown field "polices", did you mean "policies"?']],
    [
      `id: a\nmod: shadow\nlimits:\n  - { limit: x, window: 1m }\n`,
      ['2:1: unknown field "mod", did you mean "mode"?', '4:14: limits.0.limit: expected a number, not a string'],
    ],
    ['just text\n', [expect.stringMatching(/^1:1: expected an object, not a string/)]],
  ])('says line and column of what is wrong in %j', (text, expected) => {
    expect(problems(text)).toEqual(expected)
  })
})

describe('printing a policy', () => {
  const arbitrary = fc
    .record(
      {
        id: fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,20}$/),
        description: fc.string({ maxLength: 60 }),
        match: fc.array(fc.constantFrom('*', '/auth/*', 'POST /a/:b', '/x#y', "/it's", '/a: b', '/{opt}'), {
          minLength: 1,
          maxLength: 3,
        }),
        algorithm: fc.constantFrom('gcra', 'token_bucket'),
        limits: fc.uniqueArray(
          fc.record(
            {
              limit: fc.integer({ min: 10, max: 1000 }),
              window: fc.constantFrom('1m', '90s', '250ms', '1d'),
              burst: fc.integer({ min: 10, max: 1000 }),
            },
            { requiredKeys: ['limit', 'window'] },
          ),
          { minLength: 1, maxLength: 4, selector: ({ window }) => window },
        ),
        cost: fc.integer({ min: 1, max: 10 }),
        mode: fc.constantFrom('enforce', 'shadow', 'off'),
        failMode: fc.constantFrom('open', 'closed', 'local'),
        penalty: fc.constantFrom(false, { threshold: 3 }, { block: ['15m', '1h'], memory: '2d' }),
      },
      { requiredKeys: ['id', 'limits'] },
    )
    .map(input => policySchema.safeParse(input))
    .filter(parsed => parsed.success)
    .map(({ data }) => data)

  it('reads back as the same policy, with and without help', () => {
    fc.assert(
      fc.property(arbitrary, policy => {
        expect(readPolicies(policyYaml(policy))).toMatchObject({ policies: [{ policy }], problems: [] })
        expect(readPolicies(commented('said\n\nbefore') + policyYamlWithHelp(policy)).policies[0]?.policy).toEqual(
          policy,
        )
      }),
    )
  })

  it('is short, and its help names every field', () => {
    const policy = policySchema.parse({ id: 'auth', match: '/auth/*', limits: [{ limit: 30, window: '1m' }] })
    expect(policyYaml(policy)).toBe('id: auth\nmatch: /auth/*\nlimits:\n  - { limit: 30, window: 1m }\nmode: enforce\n')
    for (const field of Object.keys(policySchema.shape)) {
      if (field !== 'description') expect(policyYamlWithHelp(policy)).toMatch(new RegExp(`^(# )?${field}:`, 'm'))
    }
  })
})
