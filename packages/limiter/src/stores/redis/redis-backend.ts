import { type ControlState, type StatsFrame, statsFrameSchema } from '../../contracts/index.ts'
import type { Logger } from '../../options.ts'
import type { Backend } from '../backend.ts'
import type { MemoryStoreOptions } from '../memory/memory-store.ts'
import { evaluate } from './batcher.ts'
import { Connection } from './connection.ts'
import { createKeys } from './keys.ts'
import { LocalStore } from './local-store.ts'
import { RedisEventLog } from './redis-events.ts'
import { RedisLedger } from './redis-ledger.ts'
import { RedisStore, withTimeout } from './redis-store.ts'
import { loadScript } from './scripts.ts'
import type { RedisSettings } from './settings.ts'

const heartbeatScript = loadScript('heartbeat')

/** An instance that has not been heard of for so long is not counted any more. */
const DEAD_MS = 5000
const TIMEOUT_MS = 2000

export interface RedisBackendOptions extends MemoryStoreOptions {
  readonly seed: ControlState
  readonly instance: string
  readonly logger: Logger
}

/** Everything in Redis, shared by all instances; usable at once, whether Redis is there or not. */
export function redisBackend(
  settings: RedisSettings,
  { seed, instance, logger, ...memory }: RedisBackendOptions,
): Backend {
  const keys = createKeys(settings.prefix, settings.db)
  let told: 'ok' | 'degraded' | undefined
  const connection = new Connection(settings, { onState: () => tellState() })
  const store = new RedisStore(connection, keys, settings.deadlineMs)
  const ledger = new RedisLedger(connection, keys, instance, seed, message => logger.warn(message))
  const events = new RedisEventLog(connection, keys, instance)
  const local = new LocalStore(memory, settings.expectedInstances)
  let lastFrame: StatsFrame | undefined

  /** One line a change of state, and an event for those who watch. */
  function tellState(): void {
    const { state, detail } = connection.health
    if (state === told || (told === undefined && state === 'degraded' && detail.endsWith('not connected yet'))) return
    told = state
    if (state === 'ok') {
      logger.info(`${detail} answers; counting is shared again`)
      void hear(-1)
    } else logger.warn(`degraded: ${detail}. The fail modes of the policies decide until it answers`)
    void events.append({ type: 'store-state', state, detail }).catch(() => {})
  }

  /** Something in the control state may be new: policies, lists, or somebody was unblocked. */
  async function hear(epoch: number): Promise<void> {
    if (epoch === ledger.epoch) return
    if (ledger.epoch !== 0) store.known.forgetAll()
    await ledger.sync(epoch).catch(() => {})
  }

  connection.events.on('message', (channel: string, message: string) => {
    if (channel === keys.channels.events) events.heard(message)
    else if (channel === keys.channels.control) void hear(Number(message))
  })
  connection.events.on('ready', () => {
    connection.events
      .subscribe(keys.channels.events, keys.channels.control)
      .then(() => events.catchUp())
      .catch(() => {})
  })
  events.subscribe(event => {
    if (event.type === 'unblocked') store.known.forget(event.client)
  })

  async function heartbeat(frame: StatsFrame): Promise<void> {
    const reply = await withTimeout(
      evaluate(
        connection.commands,
        heartbeatScript,
        [keys.instances, keys.frames, keys.epoch],
        [instance, JSON.stringify(frame), keys.channels.stats, DEAD_MS],
      ),
      TIMEOUT_MS,
    )
    const [epoch, instances] = reply as unknown as [string | null, number]
    local.instances = instances
    await hear(epoch === null ? -1 : Number(epoch))
    await events.flush()
  }

  return {
    store,
    ledger,
    events,
    local,
    publish(frame) {
      lastFrame = frame
      tellState()
      // While Redis is away there is nobody to tell.
      heartbeat(frame).catch(() => {})
    },
    async fleet() {
      const [alive, frames] = await withTimeout(
        Promise.all([
          connection.commands.zrangebyscore(keys.instances, store.now() - DEAD_MS, '+inf'),
          connection.commands.hgetall(keys.frames),
        ]),
        TIMEOUT_MS,
      ).catch((): [string[], Record<string, string>] => [[], {}])
      const read = alive.flatMap(name => {
        const parsed = statsFrameSchema.safeParse(JSON.parse(frames[name] ?? 'null'))
        return parsed.success ? [parsed.data] : []
      })
      return read.length > 0 || !lastFrame ? read : [lastFrame]
    },
    async close() {
      await withTimeout(Promise.all([store.close(), events.flush()]), 1000).catch(() => {})
      await withTimeout(
        Promise.all([
          connection.commands.zrem(keys.instances, instance),
          connection.commands.hdel(keys.frames, instance),
        ]),
        500,
      ).catch(() => {})
      local.close()
      await connection.close()
    },
  }
}
