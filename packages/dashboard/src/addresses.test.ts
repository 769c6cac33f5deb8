import { expect, test } from 'vitest'
import { contains, isRange, parseRange, sayClient } from './addresses.ts'

test.each([
  '1.2.3.4',
  '10.0.0.0/8',
  '0.0.0.0/0',
  '::',
  '::1',
  '2001:db8::/32',
  '2001:db8:1:2:3:4:5:6',
  'FE80::1/10',
  '[::1]:80',
  '1.2.3.4:80',
  'fe80::1%eth0',
  '::1.2.3.4',
])('%s is a range', text => {
  expect(parseRange(text)).toBeDefined()
})

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
  ['10.0.0.0/8', '::ffff:10.1.2.3', true],
])('%s contains %s: %s', (outer, inner, expected) => {
  expect(contains(outer, inner)).toBe(expected)
})

test.each([
  ['1.2.3.4', 64, false],
  ['1.2.3.0/24', 64, true],
  ['2001:db8:1:2::/64', 64, false],
  ['2001:db8:1:2::/64', 56, false],
  ['2001:db8:1::/56', 64, true],
  ['2001:db8:1::/56', 56, false],
  ['2001:db8::/32', 56, true],
  ['user/7', 64, false],
])('%s, where IPv6 is counted by /%i, is more than one client: %s', (text, ipv6Prefix, expected) => {
  expect(isRange(text, ipv6Prefix)).toBe(expected)
})

test.each([
  ['', {}],
  ['203.0.113.7', {}],
  ['2001:db8::1', {}],
  ['999.1.1.1', { problem: 'It looks like an address, but is none' }],
  ['1.2.3.*', { problem: 'It looks like an address, but is none: a range is written as 1.2.3.0/24' }],
  ['user:ann', { note: 'No address: it will be taken as a client id' }],
  ['user:ann%20smith', { note: 'No address: it will be taken as a client id' }],
  ['a b\u0007c', { note: 'No address: it will be taken as a client id, kept as a%20b%07c' }],
  ['x'.repeat(129), { note: 'No address: it will be taken as a client id, kept as its digest, for it is long' }],
])('what is said of %j while it is typed', (text, expected) => {
  expect(sayClient(text)).toEqual(expected)
})
