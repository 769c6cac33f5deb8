import { isIP } from 'node:net'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { clientOf, isPrivate, normaliseAddress } from './address.ts'

const ipv6 = fc
  .array(fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 0xffff })), { minLength: 8, maxLength: 8 })
  .map(groups => groups.map(group => group.toString(16)))

describe('an address', () => {
  it.each([
    ['1.2.3.4', '1.2.3.4'],
    [' 1.2.3.4\t', '1.2.3.4'],
    ['1.2.3.4:8080', '1.2.3.4'],
    ['::ffff:1.2.3.4', '1.2.3.4'],
    ['::FFFF:0102:0304', '1.2.3.4'],
    ['0:0:0:0:0:ffff:1.2.3.4', '1.2.3.4'],
    ['[::ffff:1.2.3.4]:80', '1.2.3.4'],
    ['2001:DB8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['[2001:db8::1]', '2001:db8::1'],
    ['[2001:db8::1]:443', '2001:db8::1'],
    ['fe80::1%eth0', 'fe80::1'],
    ['[fe80::1%25eth0]:80', 'fe80::1'],
    // Looks like an address with a port and is none: without brackets the last group is part of the address.
    ['2001:db8::1:80', '2001:db8::1:80'],
    // An IPv4-compatible address is not the IPv4 address, least of all loopback.
    ['::127.0.0.1', '::7f00:1'],
    ['64:ff9b::1.2.3.4', '1.2.3.4'],
    ['64:ff9b::127.0.0.1', '64:ff9b::7f00:1'],
    ['64:ff9b::10.0.0.1', '64:ff9b::a00:1'],
  ])('%j is spelled %s', (text, spelled) => expect(normaliseAddress(text)).toBe(spelled))

  it.each([
    ['nothing', undefined],
    ['the empty string', ''],
    ['one number', '16909060'],
    ['a short form', '127.1'],
    ['three parts', '10.0.1'],
    ['octal', '010.0.0.1'],
    ['octal in the last part', '1.2.3.04'],
    ['hexadecimal', '0x7f.0.0.1'],
    ['a part above 255', '256.1.1.1'],
    ['five parts', '1.2.3.4.5'],
    ['a range', '1.2.3.0/24'],
    ['two addresses', '1.2.3.4, 5.6.7.8'],
    ['a name', 'localhost'],
    ['unknown, as RFC 7239 has it', 'unknown'],
    ['an obfuscated identifier', '_hidden'],
    ['an empty bracket', '[]'],
    ['an unclosed bracket', '[::1'],
    ['a zone alone', '%eth0'],
    ['nine groups', '1:2:3:4:5:6:7:8:9'],
    ['two gaps', '1::2::3'],
    ['a line break', '1.2.3.4\n5.6.7.8'],
    ['a very long one', `fe80::1%${'a'.repeat(100_000)}`],
  ])('is not %s', (_what, text) => expect(normaliseAddress(text)).toBeUndefined())

  it('has one spelling, the one that URLs use, however it was written', () => {
    fc.assert(
      fc.property(ipv6, fc.boolean(), (groups, upper) => {
        const full = groups.map(group => group.padStart(4, '0')).join(':')
        const spelled = normaliseAddress(upper ? full.toUpperCase() : groups.join(':')) as string
        fc.pre(spelled.includes(':'))
        expect(`[${spelled}]`).toBe(new URL(`http://[${full}]`).hostname)
        expect(normaliseAddress(spelled)).toBe(spelled)
      }),
    )
  })

  it('is never made of junk', () => {
    const junk = fc.string({ unit: fc.constantFrom(...'0123456789abcdefF.:[]%/ x,-'), maxLength: 40 })
    fc.assert(
      fc.property(junk, text => {
        const spelled = normaliseAddress(text)
        if (spelled !== undefined) expect(isIP(spelled)).toBeGreaterThan(0)
      }),
    )
  })
})

describe('who is counted', () => {
  it.each([
    ['1.2.3.4', 64, '1.2.3.4'],
    ['2001:db8:1:2:3:4:5:6', 64, '2001:db8:1:2::/64'],
    ['2001:db8:1:2:3:4:5:6', 56, '2001:db8:1::/56'],
    ['2001:db8:1:2ff:3:4:5:6', 56, '2001:db8:1:200::/56'],
    ['2001:db8:1:2:3:4:5:6', 63, '2001:db8:1:2::/63'],
    ['2001:db8:1:3:3:4:5:6', 63, '2001:db8:1:2::/63'],
    ['2001:db8:1:2:8000::', 65, '2001:db8:1:2:8000::/65'],
    ['2001:db8:1:2:3:4:5:6', 48, '2001:db8:1::/48'],
    ['2001:db8:1:2:3:4:5:6', 32, '2001:db8::/32'],
    ['2001:db8:1:2:3:4:5:6', 128, '2001:db8:1:2:3:4:5:6'],
    ['::1', 64, '::/64'],
  ])('of %s by /%i is %s', (address, prefix, client) => expect(clientOf(address, prefix)).toBe(client))

  it('is the same for all addresses of one /64 and another for the next', () => {
    fc.assert(
      fc.property(ipv6, ipv6, (a, b) => {
        const inside = [...a.slice(0, 4), ...b.slice(4)].join(':')
        const next = [...a.slice(0, 3), (Number.parseInt(a[3] as string, 16) ^ 1).toString(16), ...a.slice(4)].join(':')
        const [own, neighbour, outside] = [a.join(':'), inside, next].map(text => normaliseAddress(text) as string)
        fc.pre([own, neighbour, outside].every(text => text?.includes(':')))
        expect(clientOf(neighbour as string, 64)).toBe(clientOf(own as string, 64))
        expect(clientOf(outside as string, 64)).not.toBe(clientOf(own as string, 64))
      }),
    )
  })
})

it.each([
  ['127.0.0.1', true],
  ['::1', true],
  ['10.1.2.3', true],
  ['172.16.0.1', true],
  ['172.32.0.1', false],
  ['192.168.1.1', true],
  ['169.254.1.1', true],
  ['fd00::1', true],
  ['fe80::1', true],
  ['8.8.8.8', false],
  ['2001:db8::1', false],
])('%s lies in a private range: %s', (address, expected) => expect(isPrivate(address)).toBe(expected))
