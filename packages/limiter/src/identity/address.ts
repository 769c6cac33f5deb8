import { isIP } from 'node:net'
import ipaddr from 'ipaddr.js'

/**
 * The one spelling of an address: no zone, brackets or port, IPv4 in IPv6 (mapped, 64:ff9b::/96) as IPv4, IPv6 as RFC 5952 says.
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
  if (ipv6.isIPv4MappedAddress()) return ipv6.toIPv4Address().toString()
  return globalIPv4In(ipv6) ?? ipv6.toRFC5952String()
}

/**
 * An IPv4 client as an IPv6-only data centre sees it (RFC 7755): by its network, all of IPv4 would be one client. RFC 6052, 3.1:
 * no other than global addresses are written so; `64:ff9b::127.0.0.1` is not loopback.
 */
function globalIPv4In(ipv6: ipaddr.IPv6): string | undefined {
  if (ipv6.range() !== 'rfc6052') return undefined
  const ipv4 = ipaddr.fromByteArray(ipv6.toByteArray().slice(12))
  return ipv4.range() === 'unicast' ? ipv4.toString() : undefined
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
