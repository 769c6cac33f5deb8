import type { OutcomeCounts, StatsFrame, Status } from '../contracts/index.ts'
import { stateAt } from '../policies/rules.ts'
import type { Totals } from '../stats/recorder.ts'
import type { Backend } from '../stores/backend.ts'
import { version } from '../version.ts'

const REFUSALS = ['limited', 'blocked', 'degraded-refused'] as const
const DEGRADED = ['degraded-allowed', 'degraded-refused'] as const
const REQUESTS = ['allowed', 'exempt', 'degraded-allowed', ...REFUSALS] as const

const sum = (frame: StatsFrame, outcomes: readonly (keyof OutcomeCounts)[]) =>
  Object.values(frame.policies).reduce((total, counts) => total + outcomes.reduce((n, o) => n + (counts[o] ?? 0), 0), 0)

/** What an instance says of itself. */
export const instanceStatus = (frame: StatsFrame): Status['instances'][number] => ({
  instance: frame.instance,
  version: frame.version,
  uptimeMs: frame.uptimeMs,
  epoch: frame.epoch,
  ...(frame.decides === false && { decides: false }),
  requestsPerSecond: (sum(frame, REQUESTS) * 1000) / frame.spanMs,
  refusedPerSecond: (sum(frame, REFUSALS) * 1000) / frame.spanMs,
  blockedPerSecond: (sum(frame, ['blocked']) * 1000) / frame.spanMs,
  degraded: sum(frame, DEGRADED),
  ...(frame.degraded !== undefined && { degradedTotal: frame.degraded }),
})

/** The whole fleet at a glance. */
export async function fleetStatus(instance: { epoch: number; totals(): Totals }, backend: Backend): Promise<Status> {
  const { store, ledger } = backend
  // While Redis is away there is still something to say; what is unknown is left out.
  let failed: string | undefined
  const unknown = (error: Error) => {
    failed ??= error.message
    return undefined
  }
  const [frames, activeBlocks, state, about] = await Promise.all([
    backend.fleet(),
    Promise.resolve(backend.countBlocks()).catch(unknown),
    Promise.resolve(ledger.load()).catch(unknown),
    backend.about?.(),
  ])
  const { clients, forgotten, latencyMs, ...health } = store.health()
  const { ill: why, clusterNode: _, ...told } = about ?? {}
  failed ??= why
  // A store that has just not told what it was asked is not well, whatever was known of it before.
  const ill = health.state === 'ok' && failed !== undefined
  return {
    state: ill ? 'degraded' : health.state,
    version,
    store: {
      kind: store.kind,
      ...health,
      ...told,
      ...(ill
        ? { state: 'degraded' as const, detail: `${health.detail}: ${failed}` }
        : latencyMs !== undefined && { latencyMs }),
      ...(clients !== undefined && { clients }),
      ...(forgotten !== undefined && { forgotten }),
    },
    instances: frames.map(instanceStatus).sort((a, b) => (a.instance < b.instance ? -1 : 1)),
    epoch: instance.epoch,
    ...(state && { policies: stateAt(state, store.now()).policies.length }),
    ...(activeBlocks !== undefined && { activeBlocks }),
    // Of itself this process knows more than its frame, which may be a second old.
    degradedDecisions: Math.max(
      instance.totals().degraded,
      frames.reduce((total, { degraded = 0 }) => total + degraded, 0),
    ),
  }
}
