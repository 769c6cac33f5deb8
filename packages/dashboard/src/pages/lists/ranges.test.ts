import { expect, test } from 'vitest'
import { contains, parseRange } from './ranges.ts'

test.each(['1.2.3.4', '10.0.0.0/8', '0.0.0.0/0', '::', '::1', '2001:db8::/32', '2001:db8:1:2:3:4:5:6', 'FE80::1/10'])(
  '%s is a range',
  text => {
    expect(parseRange(text)).toBeDefined()
  },
)

test.each([
  '',
  '1.2.3',
  '1.2.3.400',
  '01.2.3.4',
  '1.2.3.4/33',
  '1.2.3.4/',
  '1.2.3.4/8/8',
  ':::',
  '1::2::3',
  '2001:db8',
  '::/129',
  'x::',
])('%j is none', text => {
  expect(parseRange(text)).toBeUndefined()
})

test.each([
  ['10.0.0.0/8', '10.200.3.4', true],
  ['10.0.0.0/8', '10.0.0.0/9', true],
  ['10.0.0.0/9', '10.0.0.0/8', false],
  ['10.0.0.0/8', '11.0.0.1', false],
  ['2001:db8::/32', '2001:db8:1::/64', true],
  ['2001:db8::/32', '2001:db9::1', false],
  ['::/0', '1.2.3.4', false],
  ['1.2.3.4', '1.2.3.4', true],
])('%s contains %s: %s', (outer, inner, expected) => {
  expect(contains(outer, inner)).toBe(expected)
})
