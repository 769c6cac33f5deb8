/** What the fuzzing of the control plane sends: what a JSON Schema allows, what almost does, and what nothing does. */
import fc from 'fast-check'
import type { Json } from '../testing.fixture.ts'

/** Words that have broken parsers, templates, shells, keys and prototypes. */
export const NASTY = [
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
export const word = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(...NASTY) },
  { weight: 1, arbitrary: fc.string({ maxLength: 60 }) },
)

export const value: fc.Arbitrary<unknown> = fc.letrec(tie => ({
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
export const BODIES = [
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

/** mulberry32: chances of one case, the same again by its seed. */
export class Chance {
  private state: number

  constructor(seed: number) {
    this.state = seed | 0
  }

  /** From 0 to below 1. */
  next(): number {
    this.state = (this.state + 0x6d2b79f5) | 0
    let mixed = Math.imul(this.state ^ (this.state >>> 15), this.state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296
  }

  is(share: number): boolean {
    return this.next() < share
  }

  of<T>(list: readonly T[]): T {
    return list[Math.floor(this.next() * list.length)] as T
  }
}

/** Names that are legal and odd: each is used again and again, so that there is something to change, go back to and delete. */
const IDS = [
  ...[
    'a',
    '0',
    'null',
    'true',
    'undefined',
    'NaN',
    '1e309',
    'prototype',
    'blocks',
    'latency',
    'constructor',
    'x-_.',
    'default',
    'auth',
  ],
  'z'.repeat(64),
]
const CLIENTS = [
  ...['192.0.2.7', '2001:db8::7', '::ffff:192.0.2.8', 'ann@example.com', '__proto__', 'constructor', 'toString', '🙂'],
  ...['{control}', 'a b', '../..', "'; DROP TABLE", 'x'.repeat(200)],
]
const CIDRS = ['10.0.0.0/8', '192.0.2.0/24', '2001:db8::/32', '198.18.0.1', '::/0', '2001:db8::1']
const DURATIONS = ['1m', '90s', '2h', 60, 3600, ' 5 m ']
const TEXTS = ['why not', '\u001b[2J', '<script>alert(1)</script>', '__proto__', '=1+1', '\u202e', 'é🙂', 'constructor']

/** Policies are about `/f/0` and so on: so many that they seldom refuse each other, so few that traffic meets them. */
export const PLACES = 20

/** What a schema cannot say of a string, by the name of its field or parameter. */
const KNOWN: Readonly<Record<string, (chance: Chance) => unknown>> = {
  id: chance => chance.of(IDS),
  client: chance => chance.of(CLIENTS),
  peer: chance => chance.of(['127.0.0.1', '::1', '203.0.113.9']),
  list: chance => chance.of(['allow', 'deny']),
  cidr: chance => chance.of(CIDRS),
  // Two that match alike are refused: each is mostly alone.
  match: chance =>
    `${chance.of(['', 'POST ', 'GET '])}/f/${Math.floor(chance.next() * PLACES)}/${chance.of(['*', ':a', 'x'])}`,
  method: chance => chance.of(['GET', 'POST', 'M-SEARCH']),
  path: chance => chance.of(['/', '/f/1/x', '/auth/login', '/%2e%2e/']),
  epoch: chance => chance.of(['0', '1']),
  version: chance => chance.of([1, 1, 2, 3]),
  expectedVersion: chance => chance.of([0, 1, 2, 3]),
  cursor: () => '0',
  after: chance => chance.of(['0-0', '1764000000000-0', '9999999999999-1']),
  // So many an exact log may hold, and a cost fits into all of them.
  limit: chance => chance.of([2, 3, 60, 100_000]),
  burst: chance => chance.of([2, 3, 60]),
  cost: chance => chance.of([1, 1, 1, 2]),
  threshold: chance => chance.of([1, 5, 1000]),
}

/** How often what may be left out is there: policies of one pattern refuse each other, and what waits for no confirmation gets none. */
const OFTEN: Readonly<Record<string, number>> = { match: 0.95, confirmWithin: 0.7 }

/** A value that a schema allows; `name` is that of its field. */
export function legal(schema: Json, chance: Chance, name = ''): unknown {
  if ('const' in schema) return schema.const
  if (schema.enum) return chance.of(schema.enum)
  if (schema.anyOf) return legal(chance.of(schema.anyOf), chance, name)
  if (/^A duration/.test(schema.description ?? '')) return chance.of(DURATIONS)
  if (Object.hasOwn(KNOWN, name) && schema.type !== 'array') return KNOWN[name]?.(chance)
  switch (schema.type) {
    case 'boolean':
      return chance.is(0.5)
    case 'integer':
    case 'number': {
      const [least, most] = [schema.minimum ?? 1, Math.min(schema.maximum ?? 500, 1_000_000)]
      return chance.of([least, most, Math.min(most, least + 1 + Math.floor(chance.next() * 100))])
    }
    case 'array': {
      const length = Math.max(schema.minItems ?? 0, chance.is(0.8) ? 1 : Math.ceil(chance.next() * 3))
      return Array.from({ length }, () => legal(schema.items, chance, name))
    }
    case 'object': {
      const { properties = {}, required = [], additionalProperties } = schema
      const fields = Object.entries<Json>(properties).filter(
        ([field]) => required.includes(field) || chance.is(OFTEN[field] ?? 0.3),
      )
      const more = typeof additionalProperties === 'object' && chance.is(0.5)
      const free = more ? [[chance.of(['x-forwarded-for', 'constructor', 'é']), chance.of(['1.2.3.4', ' , ,'])]] : []
      return Object.fromEntries([...fields.map(([field, of]) => [field, legal(of, chance, field)]), ...free])
    }
    default:
      return chance.of(TEXTS).slice(0, schema.maxLength ?? 500)
  }
}

/** The same with one thing in it replaced, taken away or added. */
export function spoilt(value: unknown, chance: Chance): unknown {
  if (typeof value !== 'object' || value === null || chance.is(0.15)) {
    return chance.of([chance.of(NASTY), null, -1, 1.5, 1e21, [], {}, true, [[]]])
  }
  if (Array.isArray(value)) return value.map((one, i) => (i === 0 ? spoilt(one, chance) : one))
  const fields = Object.entries(value)
  const chosen = fields.length > 0 && chance.is(0.8) ? chance.of(fields)[0] : undefined
  if (chosen === undefined) return Object.fromEntries([...fields, [chance.of(NASTY), chance.of(NASTY)]])
  return Object.fromEntries(
    fields.flatMap(([field, of]) =>
      field !== chosen ? [[field, of]] : chance.is(0.2) ? [] : [[field, spoilt(of, chance)]],
    ),
  )
}

/** Every own name of what all objects and functions have: what must be the same after anything that is sent. */
export const everybodys = (): string[] =>
  [Object.prototype, Function.prototype, Array.prototype, String.prototype].flatMap(shared =>
    Reflect.ownKeys(shared).flatMap(key => {
      const { value } = Object.getOwnPropertyDescriptor(shared, key) as PropertyDescriptor
      const inside = typeof value === 'function' ? Reflect.ownKeys(value) : []
      return [String(key), ...inside.map(own => `${String(key)}.${String(own)}`)]
    }),
  )
