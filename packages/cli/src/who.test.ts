import { Readable } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { isRange, rangeOf, refuseSlips, wordsOf } from './who.ts'

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

it.each(['1.2.3.400', '1.2.3', '1.2.3.4/33', '2001:db8:::1', ''])('%j is a slip, not somebody', text => {
  expect(() => refuseSlips(['1.2.3.4', text])).toThrow(/is not an IP address, a CIDR range or a client id/)
})

it.each(['1.2.3.4', '2001:db8::1', '10.0.0.0/8', 'user:7', 'key:abc', 'ann@example.org', 'unknown'])(
  '%s may be a client',
  text => {
    expect(() => refuseSlips([text])).not.toThrow()
  },
)

it('reads clients from stdin where a dash stands, each once, remarks left out', async () => {
  const stdin = Readable.from(['1.1.1.1 2.2.2.2\n# no one\n', '3.3.3.3 # a remark\r\n1.1.1.1\n\n'])
  expect(await wordsOf(['9.9.9.9', '-'], { stdin })).toEqual(['9.9.9.9', '1.1.1.1', '2.2.2.2', '3.3.3.3'])
})
