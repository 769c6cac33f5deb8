import type { Diagnosis, StatsFrame } from '../contracts/index.ts'
import { NO_ADDRESS } from '../identity/identify.ts'

/** What the whole fleet's requests have shown: who asks may be a process that serves none. */
export function diagnoseProxy(frames: readonly StatsFrame[]): Diagnosis {
  const about = 'proxy'
  const seen = frames.flatMap(({ proxy }) => proxy ?? [])
  const requests = seen.reduce((sum, one) => sum + one.requests, 0)
  const untrusted = [...new Set(seen.flatMap(one => one.untrusted ?? []))].sort()
  if (untrusted.length > 0) {
    return {
      about,
      verdict: 'problem',
      says: `requests from ${untrusted.join(', ')} carry forwarding headers that are not trusted: if it is your load balancer, all of its users share one limit`,
      mend: untrusted.includes(NO_ADDRESS)
        ? 'These come through a unix socket: start the server with TRUST_PROXY=1, the number of proxies in front of it'
        : `If it is your load balancer: start the server with TRUST_PROXY=${untrusted.join(',')} (addresses, ranges, or the number of proxies in front of it). If not, somebody tries to be counted as others: bouncer deny add ${untrusted[0]}`,
    }
  }
  const silent = [...new Set(seen.flatMap(one => one.silent ?? []))].sort()
  if (silent.length > 0) {
    return {
      about,
      verdict: 'warning',
      says: `requests through ${silent.join(', ')}, which is trusted, named nobody behind it: all of its users share one limit`,
      mend: 'Have the proxy write X-Forwarded-For, or name the header that it writes: CLIENT_IP_HEADER=x-real-ip',
    }
  }
  if (requests === 0) {
    const says =
      frames.length === 0
        ? 'no instance is alive whose requests would show the proxies in front of it'
        : 'no instance has seen a request yet, which would show its proxies'
    return { about, verdict: 'unknown', says }
  }
  return { about, verdict: 'ok', says: `none of ${requests} requests came through a proxy that is not trusted` }
}
