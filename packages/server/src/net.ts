import { type AddressInfo, BlockList, isIP } from 'node:net'

const loopback = new BlockList()
loopback.addSubnet('127.0.0.0', 8)
loopback.addAddress('::1', 'ipv6')

/** Whether only this machine can reach a listener bound to `host`. */
export function isLoopback(host: string): boolean {
  if (host === 'localhost') return true
  const version = isIP(host)
  return version !== 0 && loopback.check(host, version === 6 ? 'ipv6' : 'ipv4')
}

/** Where to call a listener from this machine. */
export function urlOf({ address, port }: Pick<AddressInfo, 'address' | 'port'>): string {
  const host = address === '::' || address === '0.0.0.0' ? '127.0.0.1' : address
  return `http://${isIP(host) === 6 ? `[${host}]` : host}:${port}`
}

/** What no flood of connections may use up: Redis, the control plane's callers, and what is read from disk. */
const RESERVED_FILES = 128

/** How many connections the data plane may hold, so that the rest of this process can still open some; absent: no limit is known. */
export function roomForConnections(): number | undefined {
  const { report } = process
  // Else it would ask for the names of all network interfaces.
  Object.assign(report ?? {}, { excludeNetwork: true })
  const { userLimits } = (report?.getReport() ?? {}) as { userLimits?: { open_files?: { soft: number | string } } }
  const files = Number(userLimits?.open_files?.soft)
  return Number.isFinite(files) ? Math.max(16, files - Math.max(RESERVED_FILES, Math.floor(files / 8))) : undefined
}
