import { userInfo } from 'node:os'
import type { ControlPlane, ControlState } from './contracts/index.ts'
import { CLUSTER_NODE_MEND, settingsSchema, storeMend } from './contracts/index.ts'
import { fleetStatus } from './control/fleet-status.ts'
import { Operator } from './control/operator.ts'
import { parseWith } from './control/parse.ts'
import { BouncerError } from './errors.ts'
import { createIdentifier } from './identity/identify.ts'
import { OPERATOR_MS } from './stores/redis/connection.ts'
import { redisBackend } from './stores/redis/redis-backend.ts'
import { parseRedis, type RedisOptions, redisSchema } from './stores/redis/settings.ts'

/** How long it is waited for Redis to answer at all. */
const CONNECT_MS = 3000

/**
 * The control plane straight on Redis, for when every server is down. It is no instance of the fleet: it seeds nothing and
 * sends no heartbeat. `explain` from a peer trusts loopback proxies only, as no server says which ones are. Rejects with
 * ERR_UNAVAILABLE when Redis does not answer.
 */
export async function openRedisControl(options: RedisOptions): Promise<ControlPlane & { close(): Promise<void> }> {
  const asked = parseRedis(
    parseWith(redisSchema, options, 'redis', 'The settings are listed in the README under "Options"'),
  )
  // No request waits for what is asked here, and Redis may be far from the operator.
  const settings = { ...asked, deadlineMs: OPERATOR_MS }
  const seed: ControlState = { epoch: 0, policies: [], tombstones: {}, settings: settingsSchema.parse({}), lists: [] }
  const quiet = { info: () => {}, warn: () => {}, error: () => {} }
  const instance = `bouncer:${userInfo().username}:${process.pid}`
  const backend = redisBackend(settings, { seed, instance, logger: quiet, observer: true })
  const close = async () => backend.close()
  const deadline = performance.now() + CONNECT_MS
  while (backend.store.health().state !== 'ok') {
    if (performance.now() > deadline) {
      const { detail } = backend.store.health()
      await close()
      throw new BouncerError('ERR_UNAVAILABLE', detail, storeMend(detail, 'Is Redis up, and are host and port right?'))
    }
    await new Promise(resolve => setTimeout(resolve, 1))
  }
  if ((await backend.about?.())?.clusterNode) {
    const { detail } = backend.store.health()
    await close()
    throw new BouncerError('ERR_CONTRADICTION', `${detail} is a node of a Redis Cluster`, CLUSTER_NODE_MEND)
  }
  const identify = createIdentifier({ trustProxy: 'loopback' })
  const operator = new Operator({
    backend,
    defaults: { algorithm: 'sliding_window', failMode: 'open' },
    status: async () => {
      const { epoch } = await backend.ledger.load()
      const none = { policies: new Map(), latency: [], latencySum: 0, blocks: 0, degraded: 0 }
      return fleetStatus({ epoch, totals: () => none }, backend)
    },
    identify: peer => identify(peer, 64),
  })
  return Object.assign(operator, { close })
}
