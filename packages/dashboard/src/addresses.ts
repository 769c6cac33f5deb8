import { LONGEST_ID, slipOf, spellTyped } from '@api-bouncer/limiter/client'

/** An address range as bits: what it starts with, and how much of that counts. */
export interface Range {
  readonly bits: bigint
  readonly length: number
  readonly prefix: number
}

function v4(text: string): bigint | undefined {
  const parts = text.split('.')
  if (parts.length !== 4 || !parts.every(part => /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) <= 255))
    return undefined
  return parts.reduce((sum, part) => sum * 256n + BigInt(part), 0n)
}

function v6(text: string): bigint | undefined {
  const dotted = /:(\d+(?:\.\d+){3})$/.exec(text)?.[1]
  const last = dotted === undefined ? undefined : v4(dotted)
  const hex =
    last === undefined
      ? text
      : text.replace(/[\d.]+$/, `${(last >> 16n).toString(16)}:${(last & 0xffffn).toString(16)}`)
  if (!hex.includes(':') || hex.includes(':::')) return undefined
  const halves = hex.split('::')
  if (halves.length > 2) return undefined
  const groups = (half: string) => (half === '' ? [] : half.split(':'))
  const [left, right] = [groups(halves[0] as string), groups(halves[1] ?? '')]
  const missing = 8 - left.length - right.length
  if (halves.length === 1 ? missing !== 0 : missing < 1) return undefined
  const all = [...left, ...Array.from({ length: halves.length === 1 ? 0 : missing }, () => '0'), ...right]
  if (!all.every(group => /^[0-9a-f]{1,4}$/i.test(group))) return undefined
  return all.reduce((sum, group) => sum * 65_536n + BigInt(`0x${group}`), 0n)
}

/** An address as the server reads it: without brackets, port and zone. */
const bare = (text: string) =>
  text
    .replace(/^\[([^\]]+)\](:\d{1,5})?$/, '$1')
    .replace(/^([\d.]+):\d{1,5}$/, '$1')
    .replace(/(?<=.)%.*/, '')

/** An address or CIDR range; undefined for what is none. The server has the last word: this is for while one types. */
export function parseRange(text: string): Range | undefined {
  const [address = '', prefix, more] = text.split('/')
  if (more !== undefined || (prefix !== undefined && !/^\d{1,3}$/.test(prefix))) return undefined
  const [four, six] = [v4(bare(address)), v6(bare(address))]
  // IPv4 within IPv6 is IPv4.
  const bits = four ?? (six !== undefined && six >> 32n === 0xffffn ? six & 0xffff_ffffn : six)
  if (bits === undefined) return undefined
  const length = four === undefined && bits === six ? 128 : 32
  const counted = prefix === undefined ? length : Number(prefix)
  return counted > length ? undefined : { bits, length, prefix: counted }
}

/** Whether it is more than one client: an IPv6 network of the counted width is one. */
export function isRange(text: string, ipv6Prefix: number): boolean {
  const range = parseRange(text)
  return range !== undefined && range.prefix < (range.length === 128 ? ipv6Prefix : 32)
}

/** What is to be known of a client while it is typed: `problem`, the server would not take it; `note`, what it would be. */
export function sayClient(text: string): { readonly problem?: string; readonly note?: string } {
  if (text === '' || parseRange(text)) return {}
  const slip = slipOf(text)
  if (slip !== undefined) {
    return { problem: `It looks like an address, but is none${slip.startsWith('try:') ? '' : `: ${slip}`}` }
  }
  const kept = text.length > LONGEST_ID ? 'its digest, for it is long' : spellTyped(text)
  return { note: `No address: it will be taken as a client id${kept === text ? '' : `, kept as ${kept}`}` }
}

/** Whether all of `inner` lies in `outer`. */
export function contains(outer: string, inner: string): boolean {
  const [a, b] = [parseRange(outer), parseRange(inner)]
  if (!a || !b || a.length !== b.length || b.prefix < a.prefix) return false
  const shift = BigInt(a.length - a.prefix)
  return a.bits >> shift === b.bits >> shift
}
