import { formatDuration } from '@api-bouncer/limiter/client'
import type { ControlPlane, Policy } from '@api-bouncer/limiter/contracts'
import { rangeOf } from '../who.ts'

/** These keep what was used when their limit changes; the others (buckets) clamp it, and refuse nobody who was not refused. */
const KEEPS_USED = new Set(['sliding_window', 'sliding_window_counter', 'fixed_window'])

/**
 * The addresses that the operator may be using: this machine, and where the ssh session comes from. How a server sees
 * a browser of theirs is unknown.
 */
export function ownAddresses(env: NodeJS.ProcessEnv): string[] {
  const [ssh = ''] = (env.SSH_CLIENT ?? '').split(' ')
  return [...new Set(['127.0.0.1', ...(/^[\d.]+$|^[\da-fA-F:.]*:[\da-fA-F:.]*$/.test(ssh) ? [ssh] : [])])]
}

/** The operator's own addresses that lie in these ranges or are counted with these clients, in words. */
export function ownIn(ranges: readonly string[], env: NodeJS.ProcessEnv, ipv6Prefix = 128): string[] {
  return ranges.flatMap(text => {
    // A block of one IPv6 address is one of its network.
    const range = rangeOf(text.includes(':') && !text.includes('/') ? `${text}/${ipv6Prefix}` : text)
    return [...ownAddresses(env), '::1']
      .filter(address => range?.holds(address))
      .map(address => `${text} holds ${address}, ${whose(address)}`)
  })
}

/** What of the operator's own would be refused at once under a changed policy, in words; empty: nothing that we can see. */
export async function wouldRefuse(
  control: Pick<ControlPlane, 'client'>,
  addresses: readonly string[],
  changed: readonly Policy[],
): Promise<string[]> {
  const enforced = changed.filter(({ mode }) => mode === 'enforce')
  if (enforced.length === 0) return []
  const found = await Promise.all(
    addresses.map(async address => {
      // Nobody can be warned of what cannot be looked up; that is no reason to stand in the way.
      const detail = await control.client(address).catch(() => undefined)
      if (!detail || detail.allowlisted !== undefined) return []
      return enforced.flatMap(policy => {
        const usage = detail.usage.find(one => one.policy === policy.id && one.mode === 'enforce')
        if (!usage || !KEEPS_USED.has(policy.algorithm ?? usage.algorithm)) return []
        if (policy.algorithm !== undefined && policy.algorithm !== usage.algorithm) return []
        return policy.limits.flatMap(({ limit, window }) => {
          const present = usage.limits.find(one => formatDuration(one.windowMs) === window)
          if (!present) return []
          const used = present.limit - present.remaining
          const fits = (most: number) => used + policy.cost <= most
          return fits(limit) || !fits(present.limit)
            ? []
            : [
                `${address}, ${whose(address)}, has used ${used} in the last ${window}; ${policy.id} would allow ${limit}`,
              ]
        })
      })
    }),
  )
  return found.flat()
}

const whose = (address: string) =>
  address === '127.0.0.1' || address === '::1' ? 'this machine' : 'where your ssh session comes from'
