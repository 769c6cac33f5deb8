import { compareIds } from '@api-bouncer/limiter/client'
import type { BouncerEvent, BrowserToLive, LiveEvents, LiveFrame, LiveToBrowser } from '@api-bouncer/limiter/contracts'
import { useSyncExternalStore } from 'react'
import { io, type Socket } from 'socket.io-client'
import { control, keys, queries } from './api.ts'

/** Same as LIVE_PATH of the contracts, which would bring the schemas with it. */
const PATH = '/dashboard/live'
/** Frames kept in the page: five minutes. */
const KEPT_FRAMES = 300
const KEPT_EVENTS = 500
/** No frame for so long: what is shown is old. */
const SILENT_MS = 3500

export interface Live {
  readonly connection: 'connecting' | 'live' | 'lost'
  /** Newest last; a gap in `seq` is time that was missed. */
  readonly frames: readonly LiveFrame[]
  /** Newest first. */
  readonly events: readonly BouncerEvent[]
  /** Events that the server did not send one by one, by type. */
  readonly dropped: Readonly<Record<string, number>>
  readonly paused: boolean
  /** While paused: frames that are not shown. */
  readonly missed: number
  /** When the page was held, epoch ms: what came meanwhile was not seen. */
  readonly pauses: readonly { readonly from: number; readonly to: number }[]
  /** performance.now() when the newest frame came. */
  readonly heardAt: number | undefined
}

const EMPTY: Live = {
  connection: 'connecting',
  frames: [],
  events: [],
  dropped: {},
  paused: false,
  missed: 0,
  pauses: [],
  heardAt: undefined,
}

/** Everything live, in one store outside React: a frame re-renders only what looks at what changed. */
let shown: Live = EMPTY
/** What has come in while the page is paused. */
let behind: Live = EMPTY
const listeners = new Set<() => void>()
let socket: Socket<LiveToBrowser, BrowserToLive> | undefined
let watchdog: ReturnType<typeof setInterval> | undefined

function change(next: Partial<Live>): void {
  behind = { ...behind, ...next }
  shown = shown.paused
    ? { ...shown, connection: behind.connection, heardAt: behind.heardAt, missed: shown.missed + (next.frames ? 1 : 0) }
    : behind
  for (const listener of listeners) listener()
}

/** Which changes of the control state make what old. */
const STALE: Readonly<Partial<Record<BouncerEvent['type'], readonly (readonly string[])[]>>> = {
  blocked: [keys.blocks],
  unblocked: [keys.blocks],
  'policy-changed': [keys.state],
  // The allowlist wins over a block.
  'list-changed': [keys.state, keys.blocks],
  'settings-changed': [keys.state],
}

const REFRESH_MS = 1000
const stale = new Set<readonly string[]>()
let refreshing = false

function hear({ events, dropped }: LiveEvents): void {
  const newest = [...events].reverse()
  const sum = { ...behind.dropped }
  for (const [type, n] of Object.entries(dropped)) sum[type] = (sum[type] ?? 0) + n
  change({ events: [...newest, ...behind.events].slice(0, KEPT_EVENTS), dropped: sum })
  for (const event of events) {
    for (const key of STALE[event.type] ?? []) stale.add(key)
    if (event.type === 'blocked' || event.type === 'unblocked')
      stale.add(keys.client(event.client)).add(keys.explain(event.client))
  }
  refresh()
}

/** Asks again for what changed, at once; in a flood of changes the next time a second later, with the last answer there. */
function refresh(): void {
  if (refreshing || stale.size === 0) return
  refreshing = true
  const asked = [...stale].map(queryKey => queries.invalidateQueries({ queryKey }))
  stale.clear()
  void Promise.all([...asked, new Promise(resolve => setTimeout(resolve, REFRESH_MS))]).then(() => {
    refreshing = false
    refresh()
  })
}

/** Opens the live connection; it comes back by itself whenever it is lost. */
export function connectLive(onSignedOut: (why: string) => void): void {
  if (socket) return
  behind = EMPTY
  change({})
  const opened: Socket<LiveToBrowser, BrowserToLive> = io({
    path: PATH,
    transports: ['websocket'],
    reconnectionDelayMax: 3000,
  })
  socket = opened
  let caughtUp = false
  opened.on('connect', () => {
    change({ connection: 'live' })
    caughtUp = false
    // Whatever page is open, it shows whether all is well, and is told when somebody changes what it shows.
    opened.emit('subscribe', 'events')
    opened.emit('subscribe', 'frames')
  })
  opened.on('disconnect', () => change({ connection: 'lost' }))
  opened.on('connect_error', () => {
    change({ connection: 'lost' })
    // A server that started anew knows no sessions: whoever is not signed in any more is asked to.
    void queries.invalidateQueries({ queryKey: keys.session })
  })
  opened.on('frame', frame => {
    const last = newestFrame(behind)
    // Who comes back is greeted with the newest frame, which they may have.
    const known = last?.seq === frame.seq && last.at === frame.at
    change({
      connection: 'live',
      heardAt: performance.now(),
      ...(!known && { frames: [...behind.frames, frame].slice(-KEPT_FRAMES) }),
    })
    // A store that is back has what it could not tell; one that is gone has left what is shown behind.
    if (caughtUp && (known || last?.store.state === frame.store.state)) return
    caughtUp = true
    // What was asked for before we were told of changes. Who is signed in is known: else no frame had come.
    void queries.invalidateQueries({ predicate: ({ queryKey }) => queryKey[0] !== keys.session[0] })
  })
  opened.on('events', hear)
  opened.on('signedOut', onSignedOut)
  watchdog = setInterval(() => {
    const { heardAt, connection } = behind
    if (connection === 'live' && heardAt !== undefined && performance.now() - heardAt > SILENT_MS)
      change({ connection: 'lost' })
  }, 1000)
}

export function disconnectLive(): void {
  clearInterval(watchdog)
  socket?.disconnect()
  socket = undefined
  shown = EMPTY
  change(EMPTY)
}

/** Stops the page where it is; the marker says what was missed once it goes on. */
export function setPaused(paused: boolean): void {
  if (paused === shown.paused) return
  if (!paused) {
    const [from, to] = [newestFrame(shown)?.at, newestFrame(behind)?.at]
    if (from !== undefined && to !== undefined)
      behind = { ...behind, pauses: [...behind.pauses, { from, to }].slice(-20) }
  }
  shown = paused ? { ...behind, paused: true, missed: 0 } : behind
  for (const listener of listeners) listener()
}

/** A part of what is live; renders again only when that part changes. */
export function useLive<T>(select: (live: Live) => T): T {
  return useSyncExternalStore(
    listener => {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    () => select(shown),
  )
}

export const newestFrame = (live: Live): LiveFrame | undefined => live.frames[live.frames.length - 1]

/** Events before the page was opened; who comes back asks for as many as the page keeps, so that none is missing between. */
export async function fetchEvents(): Promise<true> {
  const { events } = await control.events({ limit: behind.events.length === 0 ? 100 : KEPT_EVENTS })
  const byId = new Map([...behind.events, ...events].map(event => [event.id, event]))
  const merged = [...byId.values()].sort((a, b) => compareIds(b.id, a.id))
  change({ events: merged.slice(0, KEPT_EVENTS) })
  return true
}
