import { Readable } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { clientFilter, isRange, rangeOf, refuseSlips, wordsOf } from './who.ts'

describe('a range', () => {
  it.each([
    ['10.0.0.0/8', '10.1.2.3', true],
    ['10.0.0.0/8', '11.1.2.3', false],
    ['10.0.0.0/8', '10.1.0.0/16', true],
    ['10.1.0.0/16', '10.0.0.0/8', false],
    ['0.0.0.0/0', '203.0.113.7', true],
    ['0.0.0.0/0', '2001:db8::/64', false],
    ['2001:db8::/32', '2001:db8:1:2::/64', true],
    ['2001:db8:1:2::/64', '2001:db8:1:2::9', true],
    ['2001:db8:1:2::/64', '2001:db8:1:3::9', false],
    ['1.2.3.4', '1.2.3.4', true],
    ['10.0.0.0/8', 'user:7', false],
  ])('%s holds %s: %s', (range, client, holds) => {
    expect(rangeOf(range)?.holds(client)).toBe(holds)
  })

  it.each(['1.2.3.0/33', '1.2.3/24', '1.2.3.4/', '1.2.3.4/8/8', '::/129', 'user:7', ''])('%j is none', text => {
    expect(rangeOf(text)).toBeUndefined()
  })

  it.each([
    ['10.0.0.0/8', true],
    ['10.0.0.1/32', false],
    ['2001:db8::/32', true],
    ['2001:db8:1:2::/64', false],
    ['2001:db8::1', false],
    ['user:7', false],
  ])('%s is more than one client: %s', (text, more) => {
    expect(isRange(text, 64)).toBe(more)
  })
})

it.each([
  ...['1.2.3.400', '1.2.3', '1.2.3.4/33', '2001:db8:::1', '', '1.2.3.4-1.2.3.9', '1.2.3.4-9', '1.2.3.*', '1.2.*.*'],
  ...['2001:db8::zzzz', '::1::', '5.5.5.1,5.5.5.2', '5.5.5.1, 5.5.5.2', '2001:db8::1,::2', '2001:db8::1-2001:db8::9'],
])('%j is a slip, not somebody', text => {
  expect(() => refuseSlips(['1.2.3.4', text])).toThrow(/is not an IP address, a CIDR range or a client id/)
})

it.each([
  '1.2.3.4',
  '2001:db8::1',
  '10.0.0.0/8',
  'user:7',
  'key:abc',
  'ann@example.org',
  'unknown',
  'a,b',
  '4-7',
  'v1.2-beta',
  '42:7:x',
  'team::ann',
  '*',
])('%s may be a client', text => {
  expect(() => refuseSlips([text])).not.toThrow()
})

it.each([
  ['203.0.113.0/24', ['203.0.113.7'], ['198.51.100.1', 'user:7']],
  ['2001:db8:1:2::9', ['2001:db8:1:2::/64'], ['2001:db8:1:3::/64']],
  ['ann smith', ['ann%20smith'], ['ann', 'ann%2520smith']],
  ['ann%20smith', ['ann%20smith'], ['ann%2520smith']],
])('as a filter %s means %j, not %j', (text, meant, others) => {
  const filter = clientFilter(text)
  expect([...meant, ...others].filter(filter)).toEqual(meant)
})

it.each(['1.2.3.0/33', '300.1.1.1'])('%s filters nothing: it is refused', text => {
  expect(() => clientFilter(text)).toThrow(/is not an IP address/)
})

it('reads clients from stdin where a dash stands, each once, remarks left out', async () => {
  const stdin = Readable.from(['1.1.1.1 2.2.2.2\n# no one\n', '3.3.3.3 # a remark\r\n1.1.1.1\n\n'])
  expect(await wordsOf(['9.9.9.9', '-'], { stdin })).toEqual(['9.9.9.9', '1.1.1.1', '2.2.2.2', '3.3.3.3'])
})
