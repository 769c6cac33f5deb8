import type { ControlPlane, Status } from '@api-bouncer/limiter/contracts'
import { count } from '../numbers.ts'

/** An instance tells of itself once a second; one that says nothing for so long will not, ms. */
const TOLD_MS = 4000
const POLL_MS = 100

/**
 * Why there can be no verdict: on some instance a fail mode decided between these two, or nobody knows whether one did.
 * Requests may have gone to any instance of the fleet, whichever was asked.
 */
export function failModesBetween(before: Status, after: Status): string | undefined {
  if (before.instances.length === 0 || after.instances.length === 0) {
    const grown = after.degradedDecisions - before.degradedDecisions
    if (grown > 0) return decided(grown)
    // The embedded store is always there, and its server alone.
    return isEmbedded(after) ? undefined : 'no instance tells whether a fail mode decided'
  }
  let grown = 0
  for (const then of before.instances) {
    const now = after.instances.find(({ instance }) => instance === then.instance)
    if (!now) return `instance ${then.instance} is gone, and nobody knows whether its fail mode decided`
    if (now.uptimeMs < then.uptimeMs) {
      return `instance ${then.instance} started anew, and nobody knows whether its fail mode decided before`
    }
    grown -= then.degradedTotal ?? 0
  }
  for (const { instance, degradedTotal } of after.instances) {
    if (degradedTotal === undefined)
      return `instance ${instance} does not tell whether its fail mode decided (update it)`
    grown += degradedTotal
  }
  return grown > 0 ? decided(grown) : undefined
}

const decided = (times: number) => `the store gave no answer ${count(times, 'time')}, and the fail mode decided`

const isEmbedded = ({ store }: Status) => store.kind === 'memory'

/** The status, once every instance has told of itself anew: what they last told may be older than a run's end. */
export async function freshStatus(control: ControlPlane): Promise<Status> {
  const first = await control.status()
  if (isEmbedded(first)) return first
  const old = new Map(first.instances.map(({ instance, uptimeMs }) => [instance, uptimeMs]))
  const deadline = performance.now() + TOLD_MS
  for (;;) {
    await new Promise(resolve => setTimeout(resolve, POLL_MS))
    const status = await control.status()
    const late = status.instances.filter(({ instance, uptimeMs }) => old.get(instance) === uptimeMs)
    if (late.length === 0) return status
    if (performance.now() > deadline) {
      // As if it were gone: it has said nothing since the run ended.
      return { ...status, instances: status.instances.filter(one => !late.includes(one)) }
    }
  }
}
