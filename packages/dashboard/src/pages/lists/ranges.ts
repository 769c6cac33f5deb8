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
  if (!text.includes(':') || text.includes(':::')) return undefined
  const halves = text.split('::')
  if (halves.length > 2) return undefined
  const groups = (half: string) => (half === '' ? [] : half.split(':'))
  const [left, right] = [groups(halves[0] as string), groups(halves[1] ?? '')]
  const missing = 8 - left.length - right.length
  if (halves.length === 1 ? missing !== 0 : missing < 1) return undefined
  const all = [...left, ...Array.from({ length: halves.length === 1 ? 0 : missing }, () => '0'), ...right]
  if (!all.every(group => /^[0-9a-f]{1,4}$/i.test(group))) return undefined
  return all.reduce((sum, group) => sum * 65_536n + BigInt(`0x${group}`), 0n)
}

/** An address or CIDR range; undefined for what is none. The server has the last word: this is for while one types. */
export function parseRange(text: string): Range | undefined {
  const [address = '', prefix, more] = text.split('/')
  if (more !== undefined || (prefix !== undefined && !/^\d{1,3}$/.test(prefix))) return undefined
  const four = v4(address)
  const bits = four ?? v6(address)
  if (bits === undefined) return undefined
  const length = four === undefined ? 128 : 32
  const counted = prefix === undefined ? length : Number(prefix)
  return counted > length ? undefined : { bits, length, prefix: counted }
}

/** Whether all of `inner` lies in `outer`. */
export function contains(outer: string, inner: string): boolean {
  const [a, b] = [parseRange(outer), parseRange(inner)]
  if (!a || !b || a.length !== b.length || b.prefix < a.prefix) return false
  const shift = BigInt(a.length - a.prefix)
  return a.bits >> shift === b.bits >> shift
}
