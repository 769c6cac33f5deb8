import { BouncerError } from '../errors.ts'
import { networkBytes, normaliseAddress } from './address.ts'

/** An address range in its one spelling: `10.0.0.0/8`, `2001:db8::/32`; a single address stands for itself. */
export function parseCidr(text: string): { cidr: string; network: string; prefix: number } {
  const [address = '', bits, ...rest] = text.trim().split('/')
  const normal = normaliseAddress(address)
  const width = normal?.includes(':') ? 128 : 32
  const prefix = bits === undefined ? width : /^\d{1,3}$/.test(bits) ? Number(bits) : Number.NaN
  if (!normal || rest.length > 0 || !(prefix >= 0 && prefix <= width)) {
    throw new BouncerError(
      'ERR_INVALID',
      `"${text}" is not an IP address or a CIDR range`,
      'Write 1.2.3.4, 10.0.0.0/8 or 2001:db8::/32',
    )
  }
  const network = networkBytes(normal, prefix)
  const spelled = normaliseAddress(width === 32 ? network.join('.') : ipv6(network)) as string
  return { cidr: prefix === width ? spelled : `${spelled}/${prefix}`, network: String(network), prefix: prefix + width }
}

const ipv6 = (bytes: number[]) =>
  Array.from({ length: 8 }, (_, i) =>
    (((bytes[2 * i] as number) << 8) | (bytes[2 * i + 1] as number)).toString(16),
  ).join(':')

/** A set of ranges. Membership costs one look-up a distinct prefix length, however many ranges there are. */
export class CidrSet {
  private readonly byPrefix = new Map<number, Map<string, { cidr: string; expiresAt: number }>>()
  size = 0

  constructor(ranges: Iterable<{ cidr: string; expiresAt?: number | undefined }> = []) {
    for (const { cidr: text, expiresAt = Number.POSITIVE_INFINITY } of ranges) {
      const { cidr, network, prefix } = parseCidr(text)
      const networks = this.byPrefix.get(prefix) ?? new Map()
      networks.set(network, { cidr, expiresAt })
      this.byPrefix.set(prefix, networks)
      this.size++
    }
  }

  /** The narrowest range that holds a normalised address at `now` (epoch ms), or `undefined`. */
  find(address: string, now: number): string | undefined {
    if (this.size === 0) return undefined
    const width = address.includes(':') ? 128 : 32
    let found: string | undefined
    let narrowest = -1
    for (const [prefix, networks] of this.byPrefix) {
      const bits = prefix - width
      // An IPv4 key is 32 + bits (32 to 64), an IPv6 key 128 + bits: they never meet.
      if (bits < 0 || bits > width || bits <= narrowest) continue
      const range = networks.get(String(networkBytes(address, bits)))
      if (range && range.expiresAt > now) {
        found = range.cidr
        narrowest = bits
      }
    }
    return found
  }
}
