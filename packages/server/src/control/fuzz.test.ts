import { request } from 'node:http'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Json, type TestServer, TOKEN, testServer } from '../testing.ts'

/** Again with what a failing run has printed: FUZZ_SEED=… npx vitest run packages/server/src/control/fuzz.test.ts */
const CASES = Number(process.env.FUZZ_CASES ?? 10_000)
const SEED = Number(process.env.FUZZ_SEED ?? Date.now() % 2 ** 31)
const AT_ONCE = 8

let server: TestServer
let routes: { method: string; path: string }[]

beforeAll(async () => {
  server = await testServer()
  const { paths } = (await server.admin('GET', '/admin/openapi.json')).body as Json
  routes = Object.entries(paths as Record<string, object>).flatMap(([path, methods]) =>
    Object.keys(methods).map(method => ({ method: method.toUpperCase(), path })),
  )
})
afterAll(() => server.close(0))

/** Words that have broken parsers, templates, shells, keys and prototypes. */
const NASTY = [
  ...[
    '',
    ' ',
    '*',
    '?',
    '%',
    '%00',
    '%2e%2e%2f',
    '../../etc/passwd',
    '..',
    '.',
    '//',
    '\\',
    '#',
    '{',
    '}',
    '{a}',
    '{control}',
  ],
  ...[
    '__proto__',
    'constructor',
    'prototype',
    'toString',
    'hasOwnProperty',
    'null',
    'undefined',
    'NaN',
    'true',
    '-1',
    '0',
    '1e309',
  ],
  ...[
    "'",
    '"',
    '`',
    '$(id)',
    '; DROP TABLE',
    '<script>',
    '\r\nX-Evil: 1',
    '\u0000',
    '\u001b[2J',
    '\u202e',
    '\ud800',
    '🙂',
  ],
  ...[
    '1.2.3.4',
    '::1',
    '::ffff:1.2.3.4',
    '10.0.0.0/8',
    '0.0.0.0/0',
    '1.2.3.400',
    '2001:db8::/200',
    'auth',
    'default',
    'allow',
    'deny',
  ],
  ...[
    'redis.call',
    'return 1',
    'KEYS[1]',
    '[^a]*'.repeat(20),
    '(a+)+$',
    '/:a'.repeat(60),
    'x'.repeat(3000),
    '999999999999999999999',
  ],
]
const word = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(...NASTY) },
  { weight: 1, arbitrary: fc.string({ maxLength: 60 }) },
)

const value: fc.Arbitrary<unknown> = fc.letrec(tie => ({
  any: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    word,
    fc.constantFrom(null, true, false, 0, -1, 1.5, 1e21, Number.MAX_SAFE_INTEGER, '1m', '15m', 5),
    fc.array(tie('any'), { maxLength: 4 }),
    tie('object'),
  ),
  object: fc.dictionary(
    fc.oneof(
      fc.constantFrom(
        'id',
        'policy',
        'limits',
        'limit',
        'window',
        'match',
        'mode',
        'penalty',
        'client',
        'for',
        'reason',
        'grace',
      ),
      fc.constantFrom(
        'expectedVersion',
        'version',
        'cidr',
        'comment',
        'headers',
        'peer',
        'method',
        'path',
        '__proto__',
        'constructor',
      ),
      word,
    ),
    tie('any'),
    { maxKeys: 6 },
  ),
})).any

const deep = (levels: number, open: string, close: string) => open.repeat(levels) + close.repeat(levels)
const BODIES = [
  ...[
    '',
    '{',
    '[',
    'null',
    '"text"',
    '0',
    '[]',
    '{}',
    'not json',
    '\u0000',
    '{"a":1}{"b":2}',
    '{"__proto__":{"polluted":true}}',
  ],
  ...[
    '{"constructor":{"prototype":{"polluted":true}}}',
    deep(20_000, '[', ']'),
    deep(5000, '{"a":', '}').replace('}', '1}'),
  ],
  ...[
    `{"policy":{"id":"x","limits":[${'{"limit":1,"window":"1m"},'.repeat(500)}{"limit":1,"window":"1s"}]}}`,
    `"${'x'.repeat(200_000)}"`,
  ],
]

interface Attack {
  readonly route: number
  readonly words: readonly string[]
  readonly query: readonly (readonly [string, string])[]
  readonly body: string | undefined
  readonly type: string | undefined
}
const attack: fc.Arbitrary<Attack> = fc.record({
  route: fc.nat(1_000_000),
  words: fc.array(word, { minLength: 3, maxLength: 3 }),
  query: fc.array(fc.tuple(fc.constantFrom('limit', 'sort', 'match', 'cursor', 'after', 'range', 'epoch', 'x'), word), {
    maxLength: 3,
  }),
  body: fc.option(
    fc.oneof(
      value.map(one => JSON.stringify(one)),
      fc.constantFrom(...BODIES),
    ),
    { nil: undefined, freq: 4 },
  ),
  type: fc.option(
    fc.constantFrom('application/json', 'text/plain', 'application/json; charset=utf-7', 'multipart/form-data'),
    {
      nil: 'application/json',
      freq: 2,
    },
  ),
})

interface Answered {
  readonly status: number
  readonly type: string
  readonly text: string
}

function send(method: string, path: string, body: string | undefined, type: string | undefined): Promise<Answered> {
  const { hostname, port } = new URL(server.controlPlane)
  return new Promise((resolve, reject) => {
    const bytes = body === undefined ? undefined : Buffer.from(body)
    const headers = {
      authorization: `Bearer ${TOKEN}`,
      ...(bytes && { 'content-type': type ?? 'application/json', 'content-length': String(bytes.length) }),
    }
    const req = request({ hostname, port, method, path, headers, timeout: 10_000 }, res => {
      let text = ''
      res.setEncoding('utf8').on('data', chunk => {
        text += chunk
      })
      res.on('end', () =>
        resolve({ status: res.statusCode ?? 0, type: String(res.headers['content-type'] ?? ''), text }),
      )
    })
    req.on('timeout', () => req.destroy(new Error('no answer within 10 s')))
    req.on('error', reject)
    req.end(bytes)
  })
}

/** What is wrong with an answer to anything at all; undefined: nothing. */
function faultOf({ status, type, text }: Answered): string | undefined {
  if (status >= 500 || status === 0) return `answered ${status}: ${text.slice(0, 200)}`
  if (status < 400) return undefined
  if (!/^application\/problem\+json/.test(type)) return `${status} as ${type}`
  const { detail, status: said } = JSON.parse(text) as { detail?: string; status?: number }
  if (typeof detail !== 'string' || detail === '' || said !== status)
    return `${status} without a word: ${text.slice(0, 200)}`
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not come back
  return /[\u0000-\u0009\u000b-\u001f\u007f]/.test(text)
    ? `control characters come back: ${JSON.stringify(text.slice(0, 200))}`
    : undefined
}

test(`whatever is sent to any admin route, the answer is an answer (${CASES} cases, FUZZ_SEED=${SEED})`, async () => {
  const attacks = fc.sample(attack, { seed: SEED, numRuns: CASES })
  const faults: string[] = []
  const counts: Record<number, number> = {}
  const waiting = [...attacks]
  const lane = async () => {
    for (let one = waiting.pop(); one !== undefined; one = waiting.pop()) {
      const { method, path } = routes[one.route % routes.length] as (typeof routes)[number]
      let next = 0
      const filled = path.replace(/\{\w+\}/g, () => encodeURIComponent(well(one.words[next++ % 3] as string)) || 'x')
      const search = one.query.map(([name, text]) => `${name}=${encodeURIComponent(well(text))}`).join('&')
      const target = search === '' ? filled : `${filled}?${search}`
      const answer = await send(method, target, method === 'GET' ? undefined : one.body, one.type).catch(
        (error: Error): Answered => ({ status: 0, type: '', text: error.message }),
      )
      counts[answer.status] = (counts[answer.status] ?? 0) + 1
      const fault = faultOf(answer)
      if (fault) faults.push(`${method} ${target.slice(0, 200)} ${one.body?.slice(0, 200) ?? ''} → ${fault}`)
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, lane))
  console.log(
    `fuzz, seed ${SEED}: ${Object.entries(counts)
      .map(([status, n]) => `${n} × ${status}`)
      .join(', ')}`,
  )
  expect(faults.slice(0, 10)).toEqual([])
  expect(({} as { polluted?: unknown }).polluted).toBeUndefined()
  // Something got through, and something did not: else nothing was tried.
  expect(counts[200]).toBeGreaterThan(0)
  expect(counts[400]).toBeGreaterThan(0)

  // And it still limits to the unit, whatever policies have come to be.
  const { policies } = (await server.admin('GET', '/admin/state')).body as { policies: { policy: { id: string } }[] }
  // The last one that is enforced would not go.
  const elsewhere = { id: 'exact', match: '/nowhere-else', limits: [{ limit: 5, window: '1h' }], penalty: false }
  await server.admin('PUT', '/admin/policies/exact', { policy: elsewhere })
  for (const { policy } of policies.filter(({ policy }) => policy.id !== 'exact'))
    await server.admin('DELETE', `/admin/policies/${encodeURIComponent(policy.id)}`)
  for (const list of ['allow', 'deny']) {
    const { lists } = (await server.admin('GET', '/admin/state')).body as { lists: { list: string; cidr: string }[] }
    for (const entry of lists.filter(one => one.list === list)) {
      await server.admin('DELETE', `/admin/lists/${list}/${encodeURIComponent(entry.cidr)}`)
    }
  }
  const put = await server.admin('PUT', '/admin/policies/exact', {
    policy: { id: 'exact', match: '*', limits: [{ limit: 5, window: '1h' }], penalty: false },
  })
  expect(put.status).toBe(200)
  const statuses: number[] = []
  for (let i = 0; i < 8; i++) statuses.push((await server.as('198.51.100.5', '/api/data')).status)
  expect(statuses).toEqual([200, 200, 200, 200, 200, 429, 429, 429])
}, 300_000)

/** encodeURIComponent takes no half of a surrogate pair. */
const well = (text: string) => text.replace(/[\ud800-\udfff]/g, '\ufffd')
