import type { Actor, ClientDetail, ControlPlane } from '@api-bouncer/limiter/contracts'

/** So many clients are looked at or cleaned at once. */
const AT_ONCE = 8

export interface Cleaned {
  clients: number
  blocks: number
  violations: number
  /** Policies whose counters were cleared. */
  policies: string[]
}

export const holdsSomething = ({ block, usage, violations, offences, graceUntil }: ClientDetail) =>
  block !== undefined ||
  offences > 0 ||
  graceUntil !== undefined ||
  Object.keys(violations).length > 0 ||
  usage.some(({ limits }) => limits.some(({ remaining, limit }) => remaining < limit))

/** Those of whom something is counted. */
export async function knownOf(control: ControlPlane, addresses: readonly string[]): Promise<string[]> {
  const found: string[] = []
  await eachOf(addresses, async address => {
    if (holdsSomething(await control.client(address))) found.push(address)
  })
  return found
}

/** Forgets all that is known of these clients, so that each begins as one never seen before. */
export async function clean(
  control: ControlPlane,
  actor: Actor,
  addresses: readonly string[],
  reason: string,
): Promise<Cleaned> {
  const cleaned: Cleaned = { clients: addresses.length, blocks: 0, violations: 0, policies: [] }
  const policies = new Set<string>()
  await eachOf(addresses, async address => {
    const { block, violations, counters } = await control.unblock(
      address,
      { forget: true, reason },
      { ...actor, reason },
    )
    cleaned.blocks += Number(block !== undefined)
    cleaned.violations += violations
    for (const policy of counters) policies.add(policy)
  })
  return { ...cleaned, policies: [...policies].sort() }
}

async function eachOf<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const queue = items.values()
  const worker = async () => {
    for (const item of queue) await work(item)
  }
  await Promise.all(Array.from({ length: AT_ONCE }, worker))
}
