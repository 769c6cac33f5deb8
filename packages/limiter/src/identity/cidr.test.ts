import { BlockList, isIPv4 } from 'node:net'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { normaliseAddress } from './address.ts'
import { CidrSet, parseCidr } from './cidr.ts'

const setOf = (...cidrs: string[]) => new CidrSet(cidrs.map(cidr => ({ cidr })))

const familyOf = (address: string) => (isIPv4(address) ? 'ipv4' : 'ipv6')

// Few distinct bits, so that ranges and addresses often meet.
const ipv4 = fc
  .tuple(...([10, 172, 0, 0] as const).map(n => fc.constantFrom(n, 0, 1, 127, 128, 255)))
  .map(bytes => bytes.join('.'))
const ipv6 = fc
  .array(fc.constantFrom('0', '1', '8000', 'ffff', '2001'), { minLength: 8, maxLength: 8 })
  .map(groups => normaliseAddress(groups.join(':')) as string)
  .filter(address => !isIPv4(address))
const address = fc.oneof(ipv4, ipv6)
const range = address.chain(base =>
  fc.record({ base: fc.constant(base), prefix: fc.integer({ min: 1, max: isIPv4(base) ? 32 : 128 }) }),
)

describe('a range', () => {
  it.each([
    ['10.1.2.3/8', '10.0.0.0/8'],
    [' 10.0.0.0/8 ', '10.0.0.0/8'],
    ['1.2.3.4', '1.2.3.4'],
    ['1.2.3.4/32', '1.2.3.4'],
    ['0.0.0.0/0', '0.0.0.0/0'],
    ['::/0', '::/0'],
    ['2001:DB8::1/32', '2001:db8::/32'],
    ['2001:db8::1/128', '2001:db8::1'],
    ['2001:db8:1:2:3::/63', '2001:db8:1:2::/63'],
    ['::ffff:1.2.3.4', '1.2.3.4'],
  ])('%j is spelled %s', (text, cidr) => {
    expect(parseCidr(text).cidr).toBe(cidr)
    expect(parseCidr(cidr)).toEqual(parseCidr(text))
  })

  it.each(['', '/8', '10.0.0.0/', '10.0.0.0/33', '10.0.0.0/-1', '10.0.0.0/8/8', '10/8', '010.0.0.0/8', '::/129', 'x'])(
    'is not %j, and the error names it',
    text =>
      expect(() => parseCidr(text)).toThrow(
        expect.objectContaining({ code: 'ERR_INVALID', message: expect.stringContaining(`"${text}"`) }),
      ),
  )
})

describe('a set of ranges', () => {
  it.each([
    ['10.1.2.3', '10.1.2.3'],
    ['10.1.2.4', '10.1.2.0/24'],
    ['10.1.3.1', '10.0.0.0/8'],
    ['11.0.0.1', '0.0.0.0/0'],
    ['2001:db8::5', '2001:db8::/32'],
    ['2001:db9::5', undefined],
  ])('finds the narrowest that holds %s: %s', (address, cidr) => {
    const ranges = ['10.0.0.0/8', '10.1.2.3', '0.0.0.0/0', '10.1.2.0/24', '2001:db8::/32']
    expect(setOf(...ranges).find(address, 0)).toBe(cidr)
    expect(setOf(...ranges.reverse()).find(address, 0)).toBe(cidr)
  })

  it('never lets IPv4 and IPv6 meet, whatever their bits', () => {
    expect(setOf('::/0').find('1.2.3.4', 0)).toBeUndefined()
    expect(setOf('0.0.0.0/0').find('::1', 0)).toBeUndefined()
    expect(setOf('0.0.0.0/0').find('::102:304', 0)).toBeUndefined()
    expect(setOf('::/96').find('0.0.0.1', 0)).toBeUndefined()
  })

  it('forgets a range at its end, and falls back on the wider one', () => {
    const set = new CidrSet([{ cidr: '10.0.0.0/8' }, { cidr: '10.1.0.0/16', expiresAt: 1000 }])
    expect(set.find('10.1.0.1', 999)).toBe('10.1.0.0/16')
    expect(set.find('10.1.0.1', 1000)).toBe('10.0.0.0/8')
  })

  it("holds the same addresses as Node's BlockList", () => {
    fc.assert(
      fc.property(fc.array(range, { maxLength: 6 }), fc.array(address, { minLength: 5 }), (ranges, addresses) => {
        const set = setOf(...ranges.map(({ base, prefix }) => `${base}/${prefix}`))
        // One a family: Node's takes every IPv4 address for its IPv4-mapped one, and so lets ::/1 hold it.
        const reference = { ipv4: new BlockList(), ipv6: new BlockList() }
        for (const { base, prefix } of ranges) reference[familyOf(base)].addSubnet(base, prefix, familyOf(base))
        for (const one of [...addresses, ...ranges.map(({ base }) => base)]) {
          expect(set.find(one, 0) !== undefined).toBe(reference[familyOf(one)].check(one, familyOf(one)))
        }
      }),
    )
  })
})
