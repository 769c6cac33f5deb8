import { formatDuration } from '@api-bouncer/limiter/client'
import { useSyncExternalStore } from 'react'

/** How far the server's clock runs ahead of this browser's, ms: a browser's own clock may be minutes off. */
let ahead = 0
let known = Number.NEGATIVE_INFINITY

/** Every answer that carries the server's time sets the clock. */
export function setServerTime(at: number): void {
  const offset = at - Date.now()
  // A frame that was under way for long says less than one that was not: small differences are the way's.
  if (Math.abs(offset - ahead) > 1500 || performance.now() - known > 60_000) ahead = offset
  known = performance.now()
}

/** Now by the server's clock, epoch ms. */
export const serverNow = (): number => Date.now() + ahead

/** What ticks for all who look at it: a table of countdowns wakes and draws once, not once a row. */
class Ticker {
  private now = Number.NEGATIVE_INFINITY
  private readonly listeners = new Set<() => void>()
  private timer: ReturnType<typeof setInterval> | undefined
  private readonly everyMs: number

  constructor(everyMs: number) {
    this.everyMs = everyMs
  }

  readonly read = (): number => {
    const now = serverNow()
    // Nobody looked for a while: it stood still.
    if (this.listeners.size === 0 && Math.abs(now - this.now) >= this.everyMs) this.now = now
    return this.now
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener)
    this.timer ??= setInterval(() => {
      this.now = serverNow()
      for (const each of this.listeners) each()
    }, this.everyMs)
    return () => {
      this.listeners.delete(listener)
      if (this.listeners.size > 0) return
      clearInterval(this.timer)
      this.timer = undefined
    }
  }
}

const tickers = new Map<number, Ticker>()

/** Now by the server's clock, again every `everyMs`. */
export function useNow(everyMs = 1000): number {
  const ticker = tickers.get(everyMs) ?? new Ticker(everyMs)
  tickers.set(everyMs, ticker)
  return useSyncExternalStore(ticker.subscribe, ticker.read)
}

const clock = new Intl.DateTimeFormat(undefined, {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  hour12: false,
})
const day = new Intl.DateTimeFormat(undefined, { month: 'short', day: 'numeric' })

/** `14:03:11`; with the day when it is not today's. */
export function clockTime(at: number, now = serverNow()): string {
  const time = clock.format(at)
  return day.format(at) === day.format(now) ? time : `${day.format(at)} ${time}`
}

/** `13m 02s`, as the command line has it. */
export function span(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000))
  const [d, h, m, s] = [
    Math.floor(seconds / 86_400),
    Math.floor(seconds / 3600) % 24,
    Math.floor(seconds / 60) % 60,
    seconds % 60,
  ]
  const two = (n: number) => String(n).padStart(2, '0')
  if (d > 0) return `${d}d ${two(h)}h`
  if (h > 0) return `${h}h ${two(m)}m`
  return m > 0 ? `${m}m ${two(s)}s` : `${s}s`
}

/** What is left until `at`, as a command takes it: `3541s`; undefined when that is over. */
export function leftUntil(at: number): string | undefined {
  const seconds = Math.ceil((at - serverNow()) / 1000)
  return seconds > 0 ? formatDuration(seconds * 1000) : undefined
}

/** A setting's duration: `60000` is `1m`. */
export const duration = (ms: number): string => formatDuration(ms)
