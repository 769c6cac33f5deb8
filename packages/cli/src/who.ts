import { BlockList, isIP, isIPv6 } from 'node:net'
import { slipOf, spellTyped } from '@api-bouncer/limiter/client'
import { CommandError, EXIT } from './context.ts'

/** An address range, told apart from one client. */
export interface Range {
  readonly cidr: string
  /** Whether it holds an address, or all of a narrower range or client (`2001:db8:1:2::/64`). */
  holds(client: string): boolean
}

const familyOf = (address: string) => (isIPv6(address) ? 'ipv6' : 'ipv4')

/** `10.0.0.0/8`; undefined for what is no range. A single address is the narrowest range. */
export function rangeOf(text: string): Range | undefined {
  const [address = '', bits, ...rest] = text.trim().split('/')
  const widest = isIPv6(address) ? 128 : 32
  const prefix = bits === undefined ? widest : /^\d{1,3}$/.test(bits) ? Number(bits) : Number.NaN
  if (!isIP(address) || rest.length > 0 || !(prefix >= 0 && prefix <= widest)) return undefined
  const list = new BlockList()
  list.addSubnet(address, prefix, familyOf(address))
  return {
    cidr: text.trim(),
    holds: client => {
      const [start = '', width] = client.split('/')
      if (!isIP(start) || (width !== undefined && Number(width) < prefix)) return false
      return familyOf(start) === familyOf(address) && list.check(start, familyOf(start))
    },
  }
}

/** How many leading bits a range has, and of how many. */
export function prefixOf(text: string): { bits: number; of: number } | undefined {
  if (!rangeOf(text)) return undefined
  const [address = '', bits] = text.trim().split('/')
  const of = isIPv6(address) ? 128 : 32
  return { bits: bits === undefined ? of : Number(bits), of }
}

/** Whether it names more than one client: an IPv6 network of the counted width is one. */
export function isRange(text: string, ipv6Prefix: number): boolean {
  const prefix = prefixOf(text)
  return prefix !== undefined && prefix.bits < (prefix.of === 128 ? ipv6Prefix : 32)
}

/** Whether a network is neither one client nor several: a part of an IPv6 network that is counted as one. */
export function isPart(text: string, ipv6Prefix: number): boolean {
  const prefix = prefixOf(text)
  return prefix !== undefined && prefix.bits < prefix.of && prefix.of === 128 && prefix.bits > ipv6Prefix
}

/** Refuses what looks like an address or range but is none: a slip, not somebody's id. Nothing has been done yet. */
export function refuseSlips(clients: readonly string[]): void {
  for (const text of clients) {
    const mend = text === '' ? 'it is empty' : isIP(text) || rangeOf(text) ? undefined : slipOf(text)
    if (mend === undefined) continue
    throw new CommandError(EXIT.usage, `"${text}" is not an IP address, a CIDR range or a client id (${mend})`)
  }
}

/** Whether two ranges are one, however their host bits are written: `203.0.113.7/24` and `203.0.113.0/24`. */
export function isSameRange(a: string, b: string): boolean {
  const [one, other] = [rangeOf(a), rangeOf(b)]
  return one !== undefined && other !== undefined && one.holds(withBits(b)) && other.holds(withBits(a))
}

const withBits = (text: string) => `${text.trim().split('/')[0]}/${prefixOf(text)?.bits}`

/** Which clients a filter means: one, as it is typed or printed, an IPv6 address by its network, or all inside a range. */
export function clientFilter(text: string): (client: string) => boolean {
  refuseSlips([text])
  const [range, spelling] = [rangeOf(text), spellTyped(text)]
  return client =>
    client === spelling ||
    (range !== undefined && (range.holds(client) || (client.includes('/') && (rangeOf(client)?.holds(text) ?? false))))
}

/** The words given, `-` replaced by those that stdin has: one or several a line, `#` begins a remark. */
export async function wordsOf(
  given: readonly string[],
  source: { readonly stdin: AsyncIterable<string | Buffer> },
): Promise<string[]> {
  if (!given.includes('-')) return [...new Set(given)]
  let text = ''
  for await (const chunk of source.stdin) text += chunk
  const read = text
    .split('\n')
    .flatMap(line => line.replace(/(^|\s)#.*/, '').split(/\s+/))
    .filter(Boolean)
  return [...new Set(given.flatMap(word => (word === '-' ? read : [word])))]
}
