import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isSpelling, spellTyped } from '../contracts/spelling.ts'
import { normaliseAddress } from './address.ts'
import { clientId, createIdentifier, type IdentityOptions, NO_ADDRESS, type Peer } from './identify.ts'

const peerOf = (remoteAddress: string | undefined, headers: Peer['headers'] = {}): Peer => ({
  headers,
  socket: { remoteAddress },
})

const identify = (options: IdentityOptions, from: string | undefined, headers: Peer['headers'] = {}, prefix = 64) =>
  createIdentifier(options)(peerOf(from, headers), prefix)

describe('behind trusted proxies', () => {
  const clouds = (address: string) => address.startsWith('203.0.113.')
  it.each<[string, IdentityOptions['trustProxy'], string, string, string]>([
    ['one proxy on this host', 'loopback', '127.0.0.1', '198.51.100.7', '198.51.100.7'],
    ['one proxy, seen as IPv4-mapped', 'loopback', '::ffff:127.0.0.1', '198.51.100.7', '198.51.100.7'],
    ['one proxy over IPv6', 'loopback', '::1', '198.51.100.7', '198.51.100.7'],
    ['one proxy, a forged entry further left', 'loopback', '127.0.0.1', '1.1.1.1, 198.51.100.7', '198.51.100.7'],
    ['two proxies by range', 'loopback, 10.0.0.0/8', '127.0.0.1', '1.1.1.1, 198.51.100.7, 10.0.0.9', '198.51.100.7'],
    ['two proxies as a list', ['127.0.0.1', '10.0.0.9'], '127.0.0.1', '198.51.100.7,10.0.0.9', '198.51.100.7'],
    ['two proxies, one trusted', 'loopback', '127.0.0.1', '198.51.100.7, 10.0.0.9', '10.0.0.9'],
    ['an IPv6 range', '2001:db8::/32', '2001:db8::5', '198.51.100.7', '198.51.100.7'],
    ['one hop', 1, '8.8.8.8', '1.1.1.1, 198.51.100.7', '198.51.100.7'],
    ['two hops', 2, '8.8.8.8', '1.1.1.1, 198.51.100.7, 8.8.4.4', '198.51.100.7'],
    ['two hops, one in the header', 2, '8.8.8.8', '198.51.100.7', '198.51.100.7'],
    ['a function', clouds, '203.0.113.1', '1.1.1.1, 198.51.100.7, 203.0.113.2', '198.51.100.7'],
    ['a function that counts hops', (_, hop) => hop === 0, '8.8.8.8', '1.1.1.1, 198.51.100.7', '198.51.100.7'],
    ['a port', 'loopback', '127.0.0.1', '198.51.100.7:4711', '198.51.100.7'],
    ['brackets and a port', 'loopback', '127.0.0.1', '[2001:db8:1:2::3]:4711', '2001:db8:1:2::/64'],
    ['a zone', 'loopback', '127.0.0.1', '2001:db8:1:2::3%eth0', '2001:db8:1:2::/64'],
    ['an IPv4-mapped entry', 'loopback', '127.0.0.1', '::ffff:198.51.100.7', '198.51.100.7'],
    ['spaces and tabs', 'loopback', '127.0.0.1', ' \t198.51.100.7 ', '198.51.100.7'],
    ['junk further left', 'loopback', '127.0.0.1', '<script>, 198.51.100.7', '198.51.100.7'],
    ['junk in the place that counts', 'loopback, 10.0.0.0/8', '127.0.0.1', '8.8.8.8, junk, 10.0.0.9', '10.0.0.9'],
    ['an empty entry', 'loopback, 10.0.0.0/8', '127.0.0.1', '8.8.8.8,, 10.0.0.9', '10.0.0.9'],
    ['octal', 'loopback', '127.0.0.1', '010.1.1.1', '127.0.0.1'],
    ['an empty header', 'loopback', '127.0.0.1', '', '127.0.0.1'],
    ['only commas', 'loopback', '127.0.0.1', ',,,', '127.0.0.1'],
    ['100 kB of addresses', 'loopback', '127.0.0.1', `${'1.1.1.1, '.repeat(11_000)}198.51.100.7`, '198.51.100.7'],
    ['100 kB of junk', 'loopback', '127.0.0.1', 'x'.repeat(100_000), '127.0.0.1'],
    ['100 kB of commas', 'loopback', '127.0.0.1', `${','.repeat(100_000)}198.51.100.7`, '198.51.100.7'],
  ])('%s', (_arrangement, trustProxy, peer, forwarded, client) => {
    expect(identify({ trustProxy }, peer, { 'x-forwarded-for': forwarded }).client).toBe(client)
  })

  it('tells the hops from the right, as far as they were believed', () => {
    const options = { trustProxy: 'loopback, 10.0.0.0/8' }
    const headers = { 'x-forwarded-for': '1.1.1.1, 198.51.100.7, 10.0.0.9' }
    expect(identify(options, '::1', headers)).toEqual({
      client: '198.51.100.7',
      address: '198.51.100.7',
      hops: ['::1', '10.0.0.9', '198.51.100.7'],
      header: 'x-forwarded-for',
      probablyProxy: false,
    })
  })

  it('whatever stands further left than the trusted proxies wrote changes nothing', () => {
    const identifier = createIdentifier({ trustProxy: 'loopback, 10.0.0.0/8' })
    const header = (left: string) => ({ 'x-forwarded-for': `${left}198.51.100.7, 10.0.0.9` })
    const honest = identifier(peerOf('127.0.0.1', header('')), 64)
    const forged = fc.oneof(fc.string(), fc.ipV4(), fc.ipV6(), fc.constant('127.0.0.1'), fc.constant('10.0.0.1'))
    fc.assert(
      fc.property(fc.array(forged), left => {
        expect(identifier(peerOf('127.0.0.1', header(left.map(one => `${one}, `).join(''))), 64)).toEqual(honest)
      }),
    )
  })
})

describe('an untrusted peer', () => {
  it.each<[string, IdentityOptions]>([
    ['by range', { trustProxy: 'loopback, 10.0.0.0/8' }],
    ['with no proxy at all', { trustProxy: false }],
    ['with no hops', { trustProxy: 0 }],
    ['with an empty list', { trustProxy: '' }],
    ['by a function', { trustProxy: () => false }],
    ['with a header of its own', { trustProxy: 'loopback', clientIpHeader: 'X-Real-IP' }],
  ])('gains nothing from any forwarding header (%s)', (_how, options) => {
    const forged = { 'x-forwarded-for': '1.1.1.1', 'x-real-ip': '1.1.1.1', forwarded: 'for=1.1.1.1' }
    const plain = identify(options, '198.51.100.7')
    expect(plain.client).toBe('198.51.100.7')
    expect(identify(options, '198.51.100.7', forged)).toEqual(plain)
  })

  it.each([
    ['10.0.0.5', { 'x-forwarded-for': '1.1.1.1' }, true],
    ['10.0.0.5', { forwarded: 'for=1.1.1.1' }, true],
    ['192.168.1.5', { 'x-real-ip': '1.1.1.1' }, true],
    ['fd00::5', { 'x-forwarded-for': '' }, true],
    ['10.0.0.5', {}, false],
    ['8.8.8.8', { 'x-forwarded-for': '1.1.1.1' }, false],
  ])('%s with %j is probably a proxy: %s', (peer, headers, probablyProxy) => {
    const { client, probablyProxy: found } = identify({ trustProxy: 'loopback' }, peer, headers)
    expect(found).toBe(probablyProxy)
    expect(client).toBe(peer === 'fd00::5' ? 'fd00::/64' : peer)
  })
})

describe('a trusted peer', () => {
  it.each([
    ['whose header names nobody', { 'x-forwarded-for': 'junk' }, true],
    ['whose header names only trusted proxies', { 'x-forwarded-for': '127.0.0.2' }, true],
    ['that sends no forwarding header', {}, false],
    ['that names its client', { 'x-forwarded-for': '8.8.8.8' }, false],
  ])('%s is probably a proxy: %s', (_what, headers, probablyProxy) => {
    expect(identify({ trustProxy: 'loopback' }, '127.0.0.1', headers).probablyProxy).toBe(probablyProxy)
  })
})

describe('clientIpHeader', () => {
  const options = { trustProxy: 'loopback', clientIpHeader: 'X-Real-IP' }
  it.each([
    ['is read from a trusted peer', '127.0.0.1', { 'x-real-ip': '198.51.100.7' }, '198.51.100.7', false],
    [
      'stands above X-Forwarded-For',
      '127.0.0.1',
      { 'x-real-ip': '198.51.100.7', 'x-forwarded-for': '1.1.1.1' },
      '198.51.100.7',
      false,
    ],
    ['is read alone: X-Forwarded-For is not', '127.0.0.1', { 'x-forwarded-for': '1.1.1.1' }, '127.0.0.1', true],
    ['holds one address, not a list', '127.0.0.1', { 'x-real-ip': '1.1.1.1, 198.51.100.7' }, '127.0.0.1', true],
    ['may hold junk', '127.0.0.1', { 'x-real-ip': 'junk' }, '127.0.0.1', true],
    ['of an untrusted peer is not read', '8.8.8.8', { 'x-real-ip': '198.51.100.7' }, '8.8.8.8', false],
  ])('%s', (_what, peer, headers, client, probablyProxy) => {
    expect(identify(options, peer, headers)).toMatchObject({ client, probablyProxy })
  })

  it.each([false, 0] as const)('contradicts trustProxy: %s', trustProxy => {
    expect(() => createIdentifier({ trustProxy, clientIpHeader: 'x-real-ip' })).toThrow(
      expect.objectContaining({ code: 'ERR_CONTRADICTION' }),
    )
  })
})

it.each([
  [true, 'ERR_UNSAFE'],
  [-1, 'ERR_UNSAFE'],
  [1.5, 'ERR_UNSAFE'],
  [Number.NaN, 'ERR_UNSAFE'],
  [Number.POSITIVE_INFINITY, 'ERR_UNSAFE'],
  ['0.0.0.0/0', 'ERR_UNSAFE'],
  ['10.0.0.0/8, ::/0', 'ERR_UNSAFE'],
  // As text, it would be the address 0.0.0.1.
  ['1', 'ERR_INVALID'],
  ['10.0.0.0/33', 'ERR_INVALID'],
  ['lopback', 'ERR_INVALID'],
])('trustProxy: %s is refused with %s', (trustProxy, code) => {
  expect(() => createIdentifier({ trustProxy })).toThrow(expect.objectContaining({ code }))
})

it('counts an IPv6 client by the prefix that holds now, though the identifier remembers its peers', () => {
  const identifier = createIdentifier({ trustProxy: false })
  const peer = peerOf('2001:db8:1:2:3::4')
  expect([64, 48, 64, 128].map(prefix => identifier(peer, prefix).client)).toEqual([
    '2001:db8:1:2::/64',
    '2001:db8:1::/48',
    '2001:db8:1:2::/64',
    '2001:db8:1:2:3::4',
  ])
})

it.each([undefined, '', '/run/app.sock'])('a socket with no address (%s) is never blocked', remoteAddress => {
  const identity = identify({ trustProxy: 'loopback' }, remoteAddress, { 'x-forwarded-for': '1.1.1.1' })
  const nobody = { client: NO_ADDRESS, address: undefined, hops: [], probablyProxy: true }
  expect(identity).toEqual({ ...nobody, proxy: 'untrusted' })
  expect(identify({ trustProxy: 'loopback' }, remoteAddress, {})).toEqual(nobody)
})

it.each([1, () => true, (_: string, hop: number) => hop < 1])(
  'a socket with no address is trusted by trustProxy %s, as in Express: who stands behind it is counted',
  trustProxy => {
    const of = (headers: Record<string, string>) => identify({ trustProxy }, undefined, headers)
    expect(of({ 'x-forwarded-for': '198.51.100.7' })).toMatchObject({
      client: '198.51.100.7',
      header: 'x-forwarded-for',
    })
    expect(of({ 'x-forwarded-for': 'junk' })).toMatchObject({ client: NO_ADDRESS, proxy: 'silent' })
    expect(of({})).toMatchObject({ client: NO_ADDRESS, probablyProxy: true })
  },
)

it('clientIpHeader X-Forwarded-For is what holds without it: a chain', () => {
  for (const headers of [
    { 'x-forwarded-for': '203.0.113.9, 198.51.100.7' },
    { 'x-forwarded-for': 'junk, 198.51.100.7' },
  ]) {
    const named = identify({ trustProxy: 'loopback', clientIpHeader: 'X-Forwarded-For' }, '127.0.0.1', headers)
    expect(named).toEqual(identify({ trustProxy: 'loopback' }, '127.0.0.1', headers))
    expect(named.client).toBe('198.51.100.7')
  }
  expect(() => createIdentifier({ trustProxy: 'loopback', clientIpHeader: 'Forwarded' })).toThrow(
    /holds more than an address/,
  )
})

describe('the spelling of a client', () => {
  it.each([
    ['1.2.3.4', '1.2.3.4'],
    ['::ffff:1.2.3.4', '1.2.3.4'],
    ['2001:db8:1:2:3::4', '2001:db8:1:2::/64'],
    ['2001:db8:1:2::/64', '2001:db8:1:2::/64'],
    ['user:42', 'user:42'],
    ['a@b.example', 'a@b.example'],
    ['{x}', '%7bx%7d'],
    ['a b\n', 'a%20b%0a'],
    ['50%', '50%25'],
    ['é', '%c3%a9'],
  ])('%j is %s', (id, spelled) => expect(clientId(id, 64)).toBe(spelled))

  it('cannot shape a key or a terminal, and can be read back, so that no two clients share one', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 128 }), id => {
        fc.pre(normaliseAddress(id) === undefined && id.length <= 128)
        const spelled = clientId(id, 64)
        expect(spelled).toMatch(/^[A-Za-z0-9._:@/+=%-]*$/)
        expect(decodeURIComponent(spelled)).toBe(id)
      }),
    )
  })

  it('is told from an id that is not spelt yet, and never taken for another', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 128 }), id => {
        fc.pre(normaliseAddress(id) === undefined && id.length <= 128)
        const spelled = clientId(id, 64)
        expect(spellTyped(spelled)).toBe(spelled)
        if (spelled !== id) expect(isSpelling(spelled)).toBe(true)
      }),
    )
    for (const id of ['50%', '%zz', 'a%41', 'a%2', '%C3%A9', 'a b%20c', '%ff']) expect(isSpelling(id)).toBe(false)
  })

  it('is a digest when the id is very long', () => {
    const [a, b] = ['a', 'b'].map(end => clientId(`${'x'.repeat(100_000)}${end}`, 64))
    expect(a).toMatch(/^sha256:[0-9a-f]{32}$/)
    expect(b).not.toBe(a)
  })
})
