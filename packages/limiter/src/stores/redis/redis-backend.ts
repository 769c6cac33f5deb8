import {
  type ControlState,
  foreignFrameSchema,
  INSTANCE_SILENT_MS,
  own,
  type StatsFrame,
} from '../../contracts/index.ts'
import { Listeners } from '../../listeners.ts'
import type { Logger } from '../../options.ts'
import type { Backend } from '../backend.ts'
import type { MemoryStoreOptions } from '../memory/memory-store.ts'
import { Connection, NOT_YET, OPERATOR_MS } from './connection.ts'
import { isReply, withTimeout } from './evaluate.ts'
import { createKeys } from './keys.ts'
import { LocalStore } from './local-store.ts'
import { redisAuditLog } from './redis-audit.ts'
import { aboutRedis, diagnoseRedis } from './redis-diagnose.ts'
import { RedisEventLog } from './redis-events.ts'
import { RedisHistory } from './redis-history.ts'
import { redisKeys } from './redis-keys.ts'
import { RedisLedger } from './redis-ledger.ts'
import { RedisStore } from './redis-store.ts'
import { loadScript } from './scripts.ts'
import type { RedisSettings } from './settings.ts'

const heartbeatScript = loadScript('heartbeat')

/** Half-way between two heartbeats it is asked for what is new: a change whose message is lost waits for so long at most. */
const POLL_MS = 500

/** Who may not subscribe may be allowed to, later. */
const AGAIN_MS = 1000

/** Redis answers again once it has done so for this long: who flaps is told of once. */
const CALM_MS = 1000

export interface RedisBackendOptions extends MemoryStoreOptions {
  readonly seed: ControlState
  readonly instance: string
  readonly logger: Logger
  /** Looks on and acts for an operator, but is no instance: seeds nothing, tells nothing of itself. */
  readonly observer?: boolean
}

/** Everything in Redis, shared by all instances; usable at once, whether Redis is there or not. */
export function redisBackend(
  settings: RedisSettings,
  { seed, instance, logger, observer = false, ...memory }: RedisBackendOptions,
): Backend {
  const keys = createKeys(settings.prefix, settings.db)
  const connection = new Connection(settings, {
    // Who only looks on hears nothing by itself: its second connection is made when it is first used.
    lazyEvents: observer,
    onState: (_, state) => {
      tellState()
      // It may have lost what we know, or others may have changed something since.
      if (state === 'ok') void hear(-1)
    },
  })
  const store = new RedisStore(connection, keys, settings.deadlineMs)
  const ledger = new RedisLedger(connection, keys, instance, seed, message => logger.warn(message), observer)
  const events = new RedisEventLog(connection, keys, instance)
  const history = new RedisHistory(connection, keys)
  const watching = new Listeners<StatsFrame>()
  const local = new LocalStore(memory, settings.expectedInstances)
  let lastFrame: StatsFrame | undefined
  let told: 'ok' | 'degraded' | undefined
  let calming: NodeJS.Timeout | undefined
  let polling: NodeJS.Timeout | undefined
  let deaf = false
  let hearing: NodeJS.Timeout | undefined

  /** One line a change of state, and an event for those who watch. Back to ok is a change once it has lasted. */
  function tellState(beat = false): void {
    if (observer) return
    const { state, detail } = connection.health
    if (state === 'degraded') {
      clearTimeout(calming)
      calming = undefined
      // A start has until the first heartbeat.
      const starting = told === undefined && (!beat || detail.endsWith(NOT_YET))
      if (told !== 'degraded' && !starting) tell(state, detail)
    } else if (told === undefined) tell(state, detail)
    else if (told === 'degraded') {
      calming ??= setTimeout(() => {
        calming = undefined
        tell(state, detail)
      }, CALM_MS).unref()
    }
  }

  function tell(state: 'ok' | 'degraded', detail: string): void {
    if (state === 'degraded') {
      logger.warn(`degraded: ${detail}. The fail modes of the policies decide until it answers`)
    } else logger.info(`${detail} answers; counting is shared${told === undefined ? '' : ' again'}`)
    told = state
    void events.append({ type: 'store-state', state, detail })
  }

  /** Something in the control state may be new: policies, lists, or somebody was unblocked. */
  async function hear(epoch: number): Promise<void> {
    if (epoch !== ledger.epoch) store.known.distrustAll()
    await ledger.sync(epoch).catch(() => {})
    confirm()
  }

  /** Who waits for the fleet to have seen a change need not wait for the next heartbeat. */
  function confirm(): void {
    if (observer || !lastFrame || lastFrame.epoch >= ledger.epoch) return
    lastFrame = { ...lastFrame, epoch: ledger.epoch }
    connection.commands.hset(keys.frames, instance, JSON.stringify(lastFrame)).catch(() => {})
  }

  const heardOf = (epoch: string | number | null | undefined) => hear(epoch ? Number(epoch) : -1)

  connection.events.on('message', (channel: string, message: string) => {
    if (channel === keys.channels.events) events.heard(message)
    else if (channel === keys.channels.control) void heardOf(message)
    else if (channel === keys.channels.stats) heardFrame(message)
  })
  connection.events.on('ready', hearChannels)

  function hearChannels(): void {
    const { channels } = keys
    const wanted = [
      ...(observer ? [] : [channels.events, channels.control]),
      ...(watching.size > 0 ? [channels.stats] : []),
    ]
    if (wanted.length === 0) return
    connection.events
      .subscribe(...wanted)
      .then(() => {
        deaf = false
      }, refused)
      // Only a hint, heartbeats bring what it loses; but what was lost with the connection is known to be.
      .then(async () => {
        if (!observer) await Promise.all([events.catchUp(), connection.commands.get(keys.epoch).then(heardOf)])
      })
      .catch(() => {})
  }

  /** Its user may not. Everything works without, later: once is enough to say so. */
  function refused(error: Error): void {
    if (!isReply(error) || observer) return
    clearTimeout(hearing)
    hearing = setTimeout(() => connection.events.status === 'ready' && hearChannels(), AGAIN_MS).unref()
    if (deaf) return
    deaf = true
    logger.warn(
      `Redis does not let us subscribe (${error.message}): changes and events of others are heard up to a second late. Give its user +subscribe and the channels that docs/operations.md lists`,
    )
  }

  /** Our own are told at once and by ourselves: also while Redis is away. */
  function heardFrame(message: string): void {
    const frame = readFrame(message)
    if (frame && frame.instance !== instance) watching.tell(frame)
  }

  /** The fleet's frames are many: heard only while somebody watches. */
  function listen(): void {
    const { stats } = keys.channels
    // While the connection is down it is asked for when it is back.
    const done = watching.size > 0 ? connection.events.subscribe(stats) : connection.events.unsubscribe(stats)
    done.catch(() => {})
  }

  events.subscribe(event => {
    if (event.type !== 'unblocked') return
    store.known.forget(event.client)
    if (!event.forgotten) return
    store.dropRefusals(event.client)
    history.forget(event.client)
  })

  async function heartbeat(frame: StatsFrame): Promise<void> {
    if (!connection.nodeOf(keys.epoch)?.askable) return
    const [epoch, instances, newest] = await connection.run(
      heartbeatScript,
      [keys.instances, keys.frames, keys.epoch, keys.log, keys.blocks, keys.controls],
      [instance, JSON.stringify(frame), keys.channels.stats, INSTANCE_SILENT_MS, frame.decides === false ? 0 : 1],
    )
    local.instances = Number(instances)
    if (newest) events.reached(String(newest))
    await heardOf(epoch)
    await Promise.all([events.flush(), history.flush(local.instances)])
  }

  /** What a heartbeat hears, and nothing more. Asked every second, it also shows a Redis that nobody else asks to be gone. */
  async function poll(): Promise<void> {
    if (!connection.nodeOf(keys.epoch)?.askable) return
    const asked = Promise.all([
      connection.commands.get(keys.epoch),
      connection.commands.xrevrange(keys.log, '+', '-', 'COUNT', 1),
    ])
    const [epoch, [newest]] = await connection.read(keys.epoch, asked, 2 * POLL_MS)
    if (newest) events.reached(newest[0])
    await heardOf(epoch)
  }

  return {
    store,
    ledger,
    events,
    audit: redisAuditLog(connection, keys),
    keys: redisKeys(connection, keys),
    history,
    local,
    publish(frame) {
      lastFrame = frame
      tellState(true)
      store.prove()
      // Who decides nothing is no witness that nothing happened.
      if (frame.decides !== false) history.add(frame, store.now())
      watching.tell(frame)
      // While Redis is away there is nobody to tell.
      heartbeat(frame).catch(() => {})
      clearTimeout(polling)
      polling = setTimeout(() => poll().catch(() => {}), POLL_MS).unref()
    },
    async fleet() {
      const told = Promise.all([
        connection.commands.zrangebyscore(keys.instances, store.now() - INSTANCE_SILENT_MS, '+inf'),
        connection.commands.hgetall(keys.frames),
      ])
      const [alive, frames] = await connection
        .read(keys.instances, told)
        .catch((): [string[], Record<string, string>] => [[], {}])
      const read = alive.flatMap(name => {
        return readFrame(own(frames, name) ?? '') ?? []
      })
      return read.length > 0 || !lastFrame ? read : [lastFrame]
    },
    watch(listener) {
      const stop = watching.add(listener)
      if (watching.size === 1) listen()
      return () => {
        if (stop() && watching.size === 0) listen()
      }
    },
    async forget(client) {
      await withTimeout(connection.commands.del(keys.refusals(client), keys.clientHistory(client)), OPERATOR_MS)
    },
    countBlocks: () => store.countBlocks(),
    about: () => aboutRedis(connection),
    diagnose: () => diagnoseRedis(connection, keys),
    async close() {
      clearTimeout(calming)
      clearTimeout(polling)
      clearTimeout(hearing)
      await withTimeout(Promise.all([store.close(), events.flush(), history.close(local.instances)]), 1000).catch(
        () => {},
      )
      const leave = () =>
        Promise.all([
          connection.commands.zrem(keys.instances, instance),
          connection.commands.hdel(keys.frames, instance),
          connection.commands.zrem(keys.controls, instance),
        ])
      if (!observer) await withTimeout(leave(), 500).catch(() => {})
      local.close()
      await connection.close()
    },
  }
}

/** Undefined for what is no frame. */
function readFrame(text: string): StatsFrame | undefined {
  try {
    return foreignFrameSchema.parse(JSON.parse(text))
  } catch {
    return undefined
  }
}
