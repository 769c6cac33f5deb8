import type { Server as HttpServer, IncomingMessage } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  type Bouncer,
  type BouncerEvent,
  type BrowserToLive,
  type FleetView,
  fleetViewOf,
  INSTANCE_SILENT_MS,
  instanceStatus,
  LIVE_PATH,
  type LiveEvents,
  type LiveFrame,
  type LiveToBrowser,
  type Logger,
  liveTopic,
  type OutcomeCounts,
  type StatsFrame,
  sumFrames,
  type Totals,
} from '@api-bouncer/limiter'
import { Server, type Socket } from 'socket.io'
import { type Caller, callerOf, isNamed, isOwnOrigin, type Tokens } from './control/access.ts'
import type { Role, Sessions } from './control/session.ts'
import type { WrongTokens } from './control/wrong-tokens.ts'
import type { Measured } from './metrics.ts'

/** Events told one by one, a second; of the rest the counts. */
export const EVENTS_A_SECOND = 50
/** A frame waits so long for the store. */
const LOOK_MS = 500
/** Clients of each order in a frame. */
const CLIENTS = 20
/** Of each role: viewers keep no operator out. */
export const MAX_SOCKETS = 500
/** What a browser may say is a word. */
const MAX_MESSAGE = 1024

type LiveServer = Server<BrowserToLive, LiveToBrowser>
type LiveSocket = Socket<BrowserToLive, LiveToBrowser>

export interface LiveOptions {
  readonly bouncer: Bouncer
  readonly tokens: Tokens
  readonly sessions: Sessions
  readonly wrong: WrongTokens
  readonly logger: Pick<Logger, 'error'>
  /** The names this control plane answers to; undefined: all. */
  readonly names: readonly string[] | undefined
  /** Whose counts stand for the fleet's while Redis is away, and whose store is shown. Default: the bouncer's. */
  readonly measured?: Measured | undefined
}

export interface Live {
  close(): void
}

/** The live page's way in: the fleet's totals and events, once a second, for who is signed in. Nobody changes anything here. */
export function serveLive(http: HttpServer, options: LiveOptions): Live {
  const { bouncer, sessions } = options
  const io: LiveServer = new Server(http, {
    path: LIVE_PATH,
    serveClient: false,
    // One way in, and the one that has an Origin to check.
    transports: ['websocket'],
    maxHttpBufferSize: MAX_MESSAGE,
    // CORS headers keep no page from opening a WebSocket: only a refusal here does.
    allowRequest: (req, answer) => {
      const caller = admit(req, options)
      const refusal =
        typeof caller === 'string' ? caller : connected[caller.role] >= MAX_SOCKETS ? 'too many look on' : undefined
      if (typeof caller !== 'string') roles.set(req, caller.role)
      answer(refusal ?? null, refusal === undefined)
    },
  })
  const roles = new WeakMap<IncomingMessage, Role>()
  const connected: Record<Role, number> = { operator: 0, viewer: 0 }
  // Counted here, not where socket.io says `connection`: who never says a word has a connection too.
  io.engine.on('connection', (conn: LiveSocket['conn']) => {
    const role = roles.get(conn.request) ?? 'viewer'
    connected[role]++
    conn.once('close', () => connected[role]--)
  })
  const frames = new Frames(io, options)
  const events = new Events(io)

  io.on('connection', socket => {
    const caller = callerOf(socket.request, options.tokens, sessions)
    // It may have ended since it was let in.
    if (!caller || caller === 'wrong token') return socket.conn.close()
    if (caller.session) void socket.join(roomOf(caller.session.id))
    const about = (change: (topic: string) => void) => (said: unknown) => {
      const topic = liveTopic.safeParse(said)
      if (topic.success) change(topic.data)
    }
    socket.on(
      'subscribe',
      about(topic => {
        if (socket.rooms.has(topic)) return
        void socket.join(topic)
        if (topic === 'frames') frames.greet(socket)
      }),
    )
    socket.on(
      'unsubscribe',
      about(topic => void socket.leave(topic)),
    )
    socket.on('disconnect', () => events.forget(socket.id))
  })

  const stops = [
    sessions.onEnd((id, why) => {
      const theirs = io.in(roomOf(id))
      theirs.emit('signedOut', why)
      theirs.disconnectSockets(true)
    }),
    bouncer.events.subscribe(event => events.add(event)),
    bouncer.onFrame(own => {
      sessions.sweep()
      const slow = slowOf(io)
      events.send(slow)
      frames.beat(own, slow)
    }),
  ]
  return {
    close() {
      for (const stop of stops) stop()
      frames.close()
      // Browsers that lose a connection come back; those that are told to go do not. The listener is closed by who opened it.
      io.engine.close()
    },
  }
}

const roomOf = (session: string) => `session ${session}`

/** Who wants to look on, or why they may not. */
function admit(req: IncomingMessage, { tokens, sessions, names, wrong }: LiveOptions): Caller | string {
  if (!isNamed(req, names)) return 'another host'
  const own = isOwnOrigin(req)
  if (own === false) return 'another origin'
  const caller = callerOf(req, tokens, sessions)
  if (caller === 'wrong token') wrong.add(req.socket.remoteAddress)
  if (!caller || caller === 'wrong token') return 'not signed in'
  // A browser says where it comes from.
  return caller.session && own === undefined ? 'another origin' : caller
}

const isWatched = (io: LiveServer, topic: string) => (io.of('/').adapter.rooms.get(topic)?.size ?? 0) > 0

/** Whom the message of a second ago has not reached yet: they are given no further one until it has. */
const slowOf = (io: LiveServer): LiveSocket[] =>
  [...io.of('/').sockets.values()].filter(({ conn }) => !conn.transport.writable)

/** The whole fleet added up, once for all who watch; nothing is asked of anyone while nobody does. */
class Frames {
  private readonly io: LiveServer
  private readonly logger: LiveOptions['logger']
  private readonly bouncer: Bouncer
  private readonly view: FleetView | undefined
  private readonly workers: Workers | undefined
  private stop: (() => void) | undefined
  /** Told since the last frame. */
  private told: StatsFrame[] = []
  private readonly newest = new Map<string, { frame: StatsFrame; heardAt: number }>()
  private readonly clients: Clients
  private seq = 0
  private own: StatsFrame | undefined
  private last: LiveFrame | undefined
  private sending = false

  constructor(io: LiveServer, { bouncer, measured, logger }: LiveOptions) {
    this.io = io
    this.logger = logger
    this.bouncer = bouncer
    this.view = fleetViewOf(bouncer.control)
    this.clients = new Clients(this.view)
    this.workers = measured && new Workers(measured)
  }

  /** Called with our own frame every second: that is the beat of the live page. */
  beat(own: StatsFrame, slow: readonly LiveSocket[]): void {
    this.own = own
    if (isWatched(this.io, 'frames')) this.send(own, slow)
    else this.close()
  }

  /** Who comes waits for no beat: they get what the others have, or the first to come what each instance last told. */
  greet(socket: LiveSocket): void {
    if (this.last) socket.emit('frame', this.last)
    else if (this.own) this.send(this.own, [])
  }

  private send(own: StatsFrame, slow: readonly LiveSocket[]): void {
    // What is told meanwhile comes with the next one.
    if (this.sending) return
    this.sending = true
    this.make(own, slow)
      .catch((error: Error) => this.logger.error(`no live frame: ${error.stack ?? error}`))
      .finally(() => {
        this.sending = false
      })
  }

  private async make(own: StatsFrame, slow: readonly LiveSocket[]): Promise<void> {
    if (!this.stop) await this.open(own)
    const told = this.told
    // What was told after our own beat is of the next frame; in the first one it stands in for what came before it.
    this.told = this.last ? [] : told.filter(({ at }) => at > own.at)
    const spanMs = this.last === undefined ? own.spanMs : own.at - this.last.at
    const store = await this.storeOf()
    const degraded = store.state === 'degraded'
    // What the workers did while Redis could not tell us.
    const unheard = this.workers && (await this.workers.since(own.store.state !== 'ok'))
    const alive = this.alive()
    const frame: LiveFrame = {
      seq: ++this.seq,
      at: own.at,
      spanMs: Math.max(1, spanMs),
      ...sumFrames(unheard ? [...told, unheard] : told),
      store,
      instances: alive.map(instanceStatus).sort((a, b) => (a.instance < b.instance ? -1 : 1)),
      epoch: own.epoch,
      ...(await this.clients.look(alive, !degraded)),
    }
    if (this.stop) this.last = frame
    this.io
      .to('frames')
      .except(slow.map(({ id }) => id))
      .emit('frame', frame)
  }

  close(): void {
    this.stop?.()
    this.stop = undefined
    this.last = undefined
    this.told = []
    this.newest.clear()
  }

  private async open(own: StatsFrame): Promise<void> {
    this.stop = this.view?.watch(frame => this.hear(frame))
    this.told = [own]
    this.remember(own)
    // Who is there is known at once, and what they did in their last second.
    const fleet = this.view?.fleet().catch(() => []) ?? []
    for (const frame of (await Promise.race([fleet, sleep(LOOK_MS, [], { ref: false })])) ?? []) {
      if (!this.newest.has(frame.instance)) this.hear(frame)
    }
  }

  private hear(frame: StatsFrame): void {
    this.told.push(frame)
    this.remember(frame)
  }

  private remember(frame: StatsFrame): void {
    this.newest.set(frame.instance, { frame, heardAt: performance.now() })
  }

  private alive(): StatsFrame[] {
    const since = performance.now() - INSTANCE_SILENT_MS
    for (const [instance, { heardAt }] of this.newest) if (heardAt < since) this.newest.delete(instance)
    return [...this.newest.values()].map(({ frame }) => frame)
  }

  private async storeOf(): Promise<LiveFrame['store']> {
    // The process that shows it may be the one that has lost Redis.
    const own = this.bouncer.health()
    const shown = own.state === 'ok' ? ((await this.workers?.health()) ?? own) : own
    const { kind, state, detail, latencyMs, since } = shown
    return {
      kind,
      state,
      detail,
      ...(latencyMs !== undefined && { latencyMs }),
      ...(since !== undefined && { since }),
    }
  }
}

/** The worker processes, whose frames reach the control plane through Redis alone. */
class Workers {
  private readonly measured: Measured
  private before: Totals | undefined

  constructor(measured: Measured) {
    this.measured = measured
  }

  async health(): Promise<Awaited<ReturnType<Measured['health']>>> {
    return this.measured.health()
  }

  /** What they have counted since the last call; undefined while Redis tells it, and for the first call after. */
  async since(away: boolean): Promise<ReturnType<typeof sumFrames> | undefined> {
    const { before } = this
    this.before = away ? copyOf(await this.measured.totals()) : undefined
    return before && this.before && subtract(this.before, before)
  }
}

const copyOf = ({ policies, latency, ...rest }: Totals): Totals => ({
  ...rest,
  latency: [...latency],
  policies: new Map([...policies].map(([id, counts]) => [id, { ...counts }])),
})

function subtract(now: Totals, before: Totals): ReturnType<typeof sumFrames> {
  const policies: Record<string, OutcomeCounts> = {}
  for (const [id, counts] of now.policies) {
    const changed = (Object.entries(counts) as [keyof OutcomeCounts, number][]).map(
      ([outcome, count]) => [outcome, count - (before.policies.get(id)?.[outcome] ?? 0)] as const,
    )
    const more = changed.filter(([, count]) => count > 0)
    if (more.length > 0) policies[id] = Object.fromEntries(more)
  }
  const latency = now.latency.map((count, i) => Math.max(0, count - (before.latency[i] ?? 0)))
  return { policies, latency, blocks: Math.max(0, now.blocks - before.blocks) }
}

type Looked = Pick<LiveFrame, 'busiest' | 'nearest' | 'activeBlocks'>

/** Who is busiest and nearest a limit: the one question a second to the store. */
class Clients {
  private readonly view: FleetView | undefined
  private last: Looked = NOBODY
  private looking: Promise<void> | undefined

  constructor(view: FleetView | undefined) {
    this.view = view
  }

  /** A store that is slow to answer holds no frame up: then it is as it last was. */
  async look(frames: readonly StatsFrame[], able: boolean): Promise<Looked> {
    if (!able || !this.view) return NOBODY
    this.looking ??= this.view
      .look(frames, CLIENTS)
      .then(
        looked => {
          this.last = looked
        },
        () => {
          this.last = NOBODY
        },
      )
      .finally(() => {
        this.looking = undefined
      })
    await Promise.race([this.looking, sleep(LOOK_MS, undefined, { ref: false })])
    return this.last
  }
}

const NOBODY: Looked = { busiest: [], nearest: [] }

/** Events as they come, gathered for a second. */
class Events {
  private readonly io: LiveServer
  private kept: { readonly event: BouncerEvent; readonly place: number }[] = []
  private lesser: { readonly event: BouncerEvent; readonly place: number }[] = []
  private dropped: Record<string, number> = {}
  private place = 0
  /** What was not sent to whom, because they were too slow. */
  private readonly missed = new Map<string, Record<string, number>>()

  constructor(io: LiveServer) {
    this.io = io
  }

  add(event: BouncerEvent): void {
    if (!isWatched(this.io, 'events')) return
    // What operators do, and blocks, are worth more than one more refusal.
    const list = event.type === 'violation' ? this.lesser : this.kept
    if (list.length < EVENTS_A_SECOND) list.push({ event, place: this.place++ })
    else this.drop(event.type)
  }

  /** To everyone who is fast enough; the others are told later how many they have missed. */
  send(slow: readonly LiveSocket[]): void {
    const batch = this.take()
    const late = new Set(slow.map(({ id }) => id))
    const apart: string[] = []
    for (const id of this.io.of('/').adapter.rooms.get('events') ?? []) {
      const missed = this.missed.get(id)
      if (late.has(id)) {
        apart.push(id)
        this.missed.set(id, addTo({ ...missed }, batch.dropped, countTypes(batch.events)))
      } else if (missed) {
        apart.push(id)
        this.missed.delete(id)
        this.io.to(id).emit('events', { ...batch, dropped: addTo({ ...batch.dropped }, missed) })
      }
    }
    if (batch.events.length > 0 || Object.keys(batch.dropped).length > 0) {
      this.io.to('events').except(apart).emit('events', batch)
    }
  }

  forget(id: string): void {
    this.missed.delete(id)
  }

  private take(): LiveEvents {
    const lesser = this.lesser.splice(0, EVENTS_A_SECOND - this.kept.length)
    for (const { event } of this.lesser) this.drop(event.type)
    const events = [...this.kept, ...lesser].sort((a, b) => a.place - b.place).map(({ event }) => event)
    const { dropped } = this
    this.kept = []
    this.lesser = []
    this.dropped = {}
    return { events, dropped }
  }

  private drop(type: string): void {
    this.dropped[type] = (this.dropped[type] ?? 0) + 1
  }
}

const countTypes = (events: readonly BouncerEvent[]) =>
  addTo({}, ...events.map(({ type }): Record<string, number> => ({ [type]: 1 })))

function addTo(to: Record<string, number>, ...more: Readonly<Record<string, number>>[]): Record<string, number> {
  for (const counts of more) for (const [type, count] of Object.entries(counts)) to[type] = (to[type] ?? 0) + count
  return to
}
