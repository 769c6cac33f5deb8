import { createHash } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { isIPv4 } from 'node:net'
import ipaddr from 'ipaddr.js'
import proxyAddr from 'proxy-addr'
import { LONGEST_ID, spell } from '../contracts/spelling.ts'
import { BouncerError } from '../errors.ts'
import { read } from '../hidden-classes.ts'
import { clientOf, isPrivate, normaliseAddress } from './address.ts'

export interface Identity {
  /** Who is counted. */
  readonly client: string
  /** The address it was read from, normalised; absent when the socket has none. */
  readonly address: string | undefined
  /** Where the address comes from, for `explain`: the peer, then each trusted hop, from the right. */
  readonly hops: readonly string[]
  /** The header that named those behind the peer, lower case; absent when none was believed. */
  readonly header?: string
  /** The address is probably a proxy's, shared by many (the operator's own, misconfigured): limit it, never block it. */
  readonly probablyProxy: boolean
  /** Why: it names others and is not trusted, or it is trusted and names nobody. Absent too where there is no address at all. */
  readonly proxy?: 'untrusted' | 'silent'
}

/** What of a request says who sent it. */
export type Peer = Pick<IncomingMessage, 'headers'> & {
  readonly socket: { readonly remoteAddress?: string | undefined }
}

export interface IdentityOptions {
  /** As Express's `trust proxy`: false, a number of hops, or addresses and ranges. */
  trustProxy: boolean | number | string | readonly string[] | ((address: string, hop: number) => boolean)
  /** Take the address from this header alone (`x-real-ip`, `cf-connecting-ip`) when the peer is trusted. */
  clientIpHeader?: string | undefined
}

const MAX_HOPS = 32

/** A header can only name so many hops that anyone would trust; what lies further left is not looked at. */
const MAX_HEADER = 2048

const forwards = (headers: Peer['headers']) =>
  headers['x-forwarded-for'] !== undefined || headers.forwarded !== undefined || headers['x-real-ip'] !== undefined

/** Requests with no address (a socket that is already gone, a unix socket) share this client; it is never blocked. */
export const NO_ADDRESS = 'unknown'

const NOBODY: Identity = { client: NO_ADDRESS, address: undefined, hops: [], probablyProxy: true }

export function compileTrust(trust: IdentityOptions['trustProxy']): (address: string, hop: number) => boolean {
  if (trust === true || (typeof trust === 'number' && !(Number.isInteger(trust) && trust >= 0))) {
    throw new BouncerError(
      'ERR_UNSAFE',
      `trustProxy: ${trust} lets every client choose its own address`,
      'Name your proxies ("loopback, 10.0.0.0/8") or how many there are in front of this server (1)',
    )
  }
  if (typeof trust === 'function') return trust
  if (trust === false) return () => false
  if (typeof trust === 'number') {
    if (trust > MAX_HOPS) {
      throw new BouncerError(
        'ERR_UNSAFE',
        `trustProxy: ${trust} hops are more than any chain of proxies has: every client could choose its own address`,
        `Say how many proxies are in front of this server, at most ${MAX_HOPS}`,
      )
    }
    return (_address, hop) => hop < trust
  }
  const names = (typeof trust === 'string' ? trust.split(',') : [...trust]).map(name => name.trim()).filter(Boolean)
  const hops = names.find(name => /^\d+$/.test(name))
  if (hops !== undefined) {
    throw new BouncerError(
      'ERR_INVALID',
      `trustProxy: "${hops}" is no address`,
      `Give a number of hops as a number, not as text: ${hops}`,
    )
  }
  const all = names.find(name => /^[\d.:]+\/0$/.test(name))
  if (all !== undefined) {
    throw new BouncerError(
      'ERR_UNSAFE',
      `trustProxy: ${all} is everybody: every client could choose its own address`,
      'Name your proxies only ("loopback, 10.0.0.0/8")',
    )
  }
  let compiled: (address: string, hop: number) => boolean
  try {
    compiled = proxyAddr.compile(names)
  } catch (error) {
    throw new BouncerError(
      'ERR_INVALID',
      `trustProxy: ${(error as Error).message}`,
      'Use loopback, linklocal, uniquelocal, an address, a CIDR range or a number of hops',
    )
  }
  const everybody = EVERYBODY.find(family => coversAll(names, family))
  if (everybody) {
    throw new BouncerError(
      'ERR_UNSAFE',
      `trustProxy: ${names.join(', ')} are all of ${everybody.name}: every client could choose its own address`,
      'Name your proxies only ("loopback, 10.0.0.0/8")',
    )
  }
  return (address, hop) => compiled(address, hop)
}

/** What clients have addresses from, as numbers of an IPv6 address: all of IPv4 but 0/8 and multicast, global IPv6. */
const EVERYBODY = [
  { name: 'IPv4', from: 0xffff01000000n, to: 0xffffdfffffffn },
  { name: 'IPv6', from: 0x2n << 124n, to: (0x4n << 124n) - 1n },
]

/** First and last address of a range as proxy-addr reads it: a prefix or a netmask behind the slash, IPv4 as mapped IPv6. */
function boundsOf(name: string): [bigint, bigint] | undefined {
  const [address = '', bits] = name.split('/')
  if (!ipaddr.isValid(address)) return undefined
  const parsed = ipaddr.parse(address)
  const v4 = parsed.kind() === 'ipv4'
  const prefix =
    bits === undefined
      ? 128
      : /^\d+$/.test(bits)
        ? Number(bits)
        : (ipaddr.parse(bits).prefixLengthFromSubnetMask() ?? 128)
  const bytes = (v4 ? (parsed as ipaddr.IPv4).toIPv4MappedAddress() : parsed).toByteArray()
  const number = bytes.reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n)
  const free = BigInt(128 - Math.min(128, v4 && bits !== undefined ? prefix + 96 : prefix))
  const from = (number >> free) << free
  return [from, from + (1n << free) - 1n]
}

function coversAll(names: readonly string[], { from, to }: { from: bigint; to: bigint }): boolean {
  const ranges = names.flatMap(name =>
    [boundsOf(name) ?? []].filter((range): range is [bigint, bigint] => range.length > 0),
  )
  let next = from
  for (const [first, last] of ranges.sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (first <= next && last >= next) next = last + 1n
  }
  return next > to
}

/** A part of a long header would keep all of it in memory for as long as the client is remembered. */
const ownString = (part: string, whole: string | undefined) =>
  whole !== undefined && whole.length > 64 ? Buffer.from(part).toString() : part

function headerOf(headers: Peer['headers'], name: string): string | undefined {
  const value = headers[name]
  const text = Array.isArray(value) ? value.join(',') : value
  return text && text.length > MAX_HEADER ? text.slice(text.indexOf(',', text.length - MAX_HEADER) + 1) : text
}

/**
 * Reads who sent a request: the socket's address and, only through trusted proxies, the forwarding header read from the
 * right. What an untrusted peer writes into a header changes nothing; what is not an address ends the chain.
 */
export function createIdentifier({
  trustProxy,
  clientIpHeader,
}: IdentityOptions): (peer: Peer, ipv6Prefix: number) => Identity {
  const trusts = compileTrust(trustProxy)
  const named = clientIpHeader?.toLowerCase()
  if (named === 'forwarded') {
    throw new BouncerError(
      'ERR_INVALID',
      'clientIpHeader "forwarded" is not read: it holds more than an address',
      'Have the proxy write X-Forwarded-For, or an address alone into a header of its own, and name that',
    )
  }
  // What is read without this option, a chain; any other header holds one address.
  const header = named === 'x-forwarded-for' ? undefined : named
  if (header !== undefined && (trustProxy === false || trustProxy === 0)) {
    throw new BouncerError(
      'ERR_CONTRADICTION',
      `clientIpHeader "${header}" is never read while trustProxy is ${trustProxy}`,
      'Name the proxy that writes it in trustProxy, or leave clientIpHeader out',
    )
  }
  /** IPv6 peers, IPv4 in IPv6 too, by the address as the socket spells it, counted by `knownPrefix` bits. */
  const direct = new Map<string, Identity & { address: string }>()
  let knownPrefix = -1
  let missed = 0

  function fromPeer(spelled: string | undefined, ipv6Prefix: number): (Identity & { address: string }) | undefined {
    if (spelled === undefined) return undefined
    // Read sooner than it is found among many: a look-up among 10,000 is in no cache.
    if (isIPv4(spelled)) return { client: spelled, address: spelled, hops: [spelled], probablyProxy: false }
    const known = ipv6Prefix === knownPrefix ? direct.get(spelled) : undefined
    if (known) return known
    // Clearing all of it now and then is cheaper than keeping an order. While more come than it holds, few are worth a place.
    if (ipv6Prefix !== knownPrefix || ++missed >= 100_000) {
      direct.clear()
      missed = 0
    }
    knownPrefix = ipv6Prefix
    const address = normaliseAddress(spelled)
    if (!address) return undefined
    const identity = { client: clientOf(address, ipv6Prefix), address, hops: [address], probablyProxy: false }
    if (direct.size < 10_000) direct.set(spelled, identity)
    return identity
  }

  function walk(peer: string, forwarded: string): string[] {
    const chain = [peer]
    const listed = header ? [forwarded] : forwarded.split(',')
    for (let i = listed.length - 1; i >= 0; i--) {
      if (!trusts(chain.at(-1) as string, chain.length - 1)) break
      const hop = normaliseAddress(listed[i])
      // Nor is an empty one passed over: it stands for somebody whom a proxy could not name, and what is left of it is theirs.
      if (!hop) break
      chain.push(hop)
    }
    return chain
  }

  return (peer, ipv6Prefix) => {
    const headers = read(peer, 'headers')
    const direct = fromPeer(read(peer, 'socket').remoteAddress, ipv6Prefix)
    const forwarded = headerOf(headers, header ?? 'x-forwarded-for')
    if (forwarded === undefined && !forwards(headers)) return direct ?? NOBODY
    // A unix socket's peer has no address; a number of hops, or a function, may trust it all the same, as in Express.
    const first = direct?.address ?? NO_ADDRESS
    const proxy = { ...(direct ?? NOBODY), probablyProxy: true }
    if (!trusts(first, 0)) return direct && !isPrivate(first) ? direct : { ...proxy, proxy: 'untrusted' }

    const hops = walk(first, forwarded ?? '')
    if (hops.length === 1) return { ...proxy, proxy: 'silent' }
    const last = ownString(hops.at(-1) as string, forwarded)
    const probablyProxy = header ? false : trusts(last, hops.length - 1)
    return {
      client: clientOf(last, ipv6Prefix),
      address: last,
      hops,
      probablyProxy,
      header: header ?? 'x-forwarded-for',
    }
  }
}

/**
 * The spelling under which a client is counted: an address by its network, any other id with what could shape a key or a
 * terminal percent-encoded, a very long one by its digest.
 */
export function clientId(id: string, ipv6Prefix: number): string {
  const address = normaliseAddress(id)
  if (address) return clientOf(address, ipv6Prefix)
  if (id.length > LONGEST_ID) return `sha256:${createHash('sha256').update(id).digest('hex').slice(0, 32)}`
  return spell(id)
}
