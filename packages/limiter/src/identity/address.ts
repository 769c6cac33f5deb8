import { isIP } from 'node:net'
import ipaddr from 'ipaddr.js'

/**
 * The one spelling of an address: no zone, brackets or port, IPv4-mapped IPv6 as IPv4, IPv6 as RFC 5952 says.
 * `undefined` for anything that is not an address.
 */
export function normaliseAddress(text: string | undefined): string | undefined {
  if (text === undefined || text.length > 64) return undefined
  // As nearly every socket and header spells it.
  if (isIP(text) === 4) return text
  let bare = text.trim()
  const bracketed = /^\[([^\]]+)\](?::\d{1,5})?$/.exec(bare)
  if (bracketed) bare = bracketed[1] as string
  else if (/^[\d.]+:\d{1,5}$/.test(bare)) bare = bare.slice(0, bare.indexOf(':'))
  const zone = bare.indexOf('%')
  if (zone > 0) bare = bare.slice(0, zone)
  // net.isIP is strict; ipaddr.js alone would take "1", "0x7f.1" and "010.0.0.1".
  const family = isIP(bare)
  if (family === 4) return bare
  if (family === 0) return undefined
  // ipaddr.js would read the long-dead ::1.2.3.4 as the IPv4 address: ::127.0.0.1 is not loopback.
  const ipv6 = ipaddr.IPv6.parse(bare.replace(/^::(?=\d+\.)/, '0::'))
  return ipv6.isIPv4MappedAddress() ? ipv6.toIPv4Address().toString() : ipv6.toRFC5952String()
}

/** The network `prefix` bits wide that a normalised address lies in, as bytes. */
export function networkBytes(address: string, prefix: number): number[] {
  const bytes = ipaddr.parse(address).toByteArray()
  return bytes.map((byte, i) => byte & (0xff00 >> Math.min(8, Math.max(0, prefix - i * 8))) & 0xff)
}

/** Who is counted: an IPv4 address itself, an IPv6 address by its prefix (`2001:db8:1:2::/64`). */
export function clientOf(address: string, ipv6Prefix: number): string {
  if (!address.includes(':')) return address
  const network = ipaddr.fromByteArray(networkBytes(address, ipv6Prefix)) as ipaddr.IPv6
  return ipv6Prefix === 128 ? network.toRFC5952String() : `${network.toRFC5952String()}/${ipv6Prefix}`
}

/** Loopback, RFC 1918, unique-local and link-local: where load balancers live. */
export function isPrivate(address: string): boolean {
  const range = ipaddr.parse(address).range()
  return range === 'private' || range === 'loopback' || range === 'uniqueLocal' || range === 'linkLocal'
}
