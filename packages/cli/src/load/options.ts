import { readFileSync } from 'node:fs'
import { BlockList, isIP } from 'node:net'
import { formatDuration, parseDuration } from '@api-bouncer/limiter/client'
import { CommandError, EXIT } from '../context.ts'
import { attackersOf, MAX_CLIENTS } from './clients.ts'
import { constant, ramps, type Schedule } from './schedule.ts'
import { parseThreshold, type Threshold } from './threshold.ts'

/** The caps: beyond these it is no rehearsal any more. */
export const MAX_RPS = 20_000
export const MAX_DURATION_MS = 600_000
export const MAX_REQUESTS = 1_000_000

/** As commander reads them. */
export interface RawOptions {
  readonly rps?: string
  readonly duration?: string
  readonly stages?: string
  readonly clients?: string
  readonly attackers?: string
  readonly method?: string
  readonly header: readonly string[]
  readonly body?: string
  readonly target?: string
  readonly out?: string
  readonly failIf: readonly string[]
  readonly iOwnThisHost?: boolean
  readonly seed?: string
  readonly keep?: boolean
  readonly oracle: boolean
}

export interface LoadOptions {
  readonly schedule: Schedule
  /** As the summary says it: `200 rps for 10s`. */
  readonly pace: string
  readonly clients: number
  readonly attackers: number | undefined
  readonly method: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer | undefined
  /** A whole URL, or a path for the data plane. */
  readonly url: URL | undefined
  readonly path: string
  readonly out: string | undefined
  readonly thresholds: readonly Threshold[]
  readonly ownsHost: boolean
  readonly seed: number
  readonly keep: boolean
  readonly oracle: boolean
}

const usage = (message: string) => new CommandError(EXIT.usage, message)

/** Reads all options; what is wrong is told in one line that names it. */
export function parseOptions(where: string, raw: RawOptions): LoadOptions {
  const { schedule, pace } = paceOf(raw)
  const clients = integer('--clients', raw.clients ?? '1', 1, MAX_CLIENTS)
  const attackers = raw.attackers === undefined ? undefined : shareOf(raw.attackers)
  if (attackers !== undefined && attackers > 0 && attackersOf(clients, attackers) === 0) {
    throw usage(
      `--attackers: a share of ${raw.attackers} of ${clients === 1 ? '1 client' : `${clients} clients`} is nobody; raise --clients`,
    )
  }
  const body = raw.body === undefined ? undefined : bodyOf(raw.body)
  const headers = headersOf(raw.header)
  if (body && !Object.keys(headers).some(name => name.toLowerCase() === 'content-type')) {
    headers['content-type'] = isJson(body) ? 'application/json' : 'text/plain; charset=utf-8'
  }
  const { url, path } = whereTo(where, raw.target)
  return {
    schedule,
    pace,
    clients,
    attackers,
    method: methodOf(raw.method ?? (body ? 'POST' : 'GET')),
    headers,
    body,
    url,
    path,
    out: raw.out,
    thresholds: raw.failIf.map(text => {
      try {
        return parseThreshold(text)
      } catch (error) {
        throw usage(`--fail-if: ${(error as Error).message}`)
      }
    }),
    ownsHost: raw.iOwnThisHost ?? false,
    seed: raw.seed === undefined ? Math.floor(Math.random() * 2 ** 32) : integer('--seed', raw.seed, 0, 2 ** 32 - 1),
    keep: raw.keep ?? false,
    oracle: raw.oracle,
  }
}

function paceOf({ rps, duration, stages }: RawOptions): { schedule: Schedule; pace: string } {
  if (rps === undefined && stages === undefined) throw usage('how fast? --rps 200, or --stages 50:10s,200:30s')
  const start = rps === undefined ? undefined : rateOf('--rps', rps, stages === undefined ? undefined : 0)
  if (stages === undefined) {
    const durationMs = durationOf('--duration', duration ?? '10s')
    return capped(constant(start as number, durationMs), `${start} rps for ${formatDuration(durationMs)}`)
  }
  if (duration !== undefined) throw usage('--duration: the stages of --stages have durations of their own')
  const targets = stages.split(',').map(stage => {
    const [rate = '', time, ...rest] = stage.trim().split(':')
    if (time === undefined || rest.length > 0) {
      throw usage(`--stages: "${stage.trim()}" is not RATE:DURATION; write 50:10s,200:30s`)
    }
    return { rps: rateOf('--stages', rate, 0), durationMs: durationOf('--stages', time) }
  })
  const steps = targets.map(target => `${target.rps} rps in ${formatDuration(target.durationMs)}`)
  const first = start ?? targets[0]?.rps
  return capped(ramps(targets, start), `from ${first} rps to ${steps.join(', to ')}`)
}

function capped(schedule: Schedule, pace: string): { schedule: Schedule; pace: string } {
  if (schedule.durationMs > MAX_DURATION_MS) {
    throw usage(
      `${formatDuration(schedule.durationMs)} is longer than a run may last (${formatDuration(MAX_DURATION_MS)})`,
    )
  }
  if (schedule.count > MAX_REQUESTS) {
    throw usage(`these are ${schedule.count} requests; a run may send ${MAX_REQUESTS} at most`)
  }
  if (schedule.count === 0) throw usage('these stages send nothing')
  return { schedule, pace }
}

function rateOf(flag: string, text: string, least?: number): number {
  const rate = /^\d+(\.\d+)?$/.test(text) ? Number(text) : Number.NaN
  if (Number.isNaN(rate) || (least === undefined && rate === 0)) {
    throw usage(`${flag}: "${text}" is not a number of requests a second`)
  }
  if (rate > MAX_RPS) throw usage(`${flag}: ${text} is more than a run may send (${MAX_RPS} requests a second)`)
  return rate
}

function durationOf(flag: string, text: string): number {
  const ms = parseDuration(text)
  if (ms === undefined || ms === 0) throw usage(`${flag}: "${text}" is not a duration (write 500ms, 10s or 2m)`)
  if (ms > MAX_DURATION_MS)
    throw usage(`${flag}: ${text} is longer than a run may last (${formatDuration(MAX_DURATION_MS)})`)
  return ms
}

function integer(flag: string, text: string, least: number, most: number): number {
  const value = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN
  if (value >= least && value <= most) return value
  throw usage(`${flag}: "${text}" is not a whole number from ${least} to ${most}`)
}

function shareOf(text: string): number {
  const [, number, percent] = /^(\d+(?:\.\d+)?|\.\d+)(%)?$/.exec(text) ?? []
  const share = Number(number) / (percent ? 100 : 1)
  if (share >= 0 && share <= 1) return share
  throw usage(`--attackers: "${text}" is not a share from 0 to 1; 0.1 is a tenth of the clients`)
}

function methodOf(text: string): string {
  const method = text.toUpperCase()
  if (/^[A-Z][A-Z-]{0,19}$/.test(method) && method !== 'CONNECT') return method
  throw usage(`-X, --method: "${text}" is not a method that can be sent`)
}

function headersOf(lines: readonly string[]): Record<string, string> {
  const headers: Record<string, string> = {}
  for (const line of lines) {
    const [, name = '', value = ''] = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t\x20-\x7e\x80-\xff]*)$/.exec(line) ?? []
    if (name === '') throw usage(`-H, --header: "${line}" is not a header; write 'Name: value'`)
    if (name.toLowerCase() === 'x-forwarded-for') {
      throw usage('-H, --header: X-Forwarded-For is how the clients are told apart; say how many with --clients')
    }
    if (/^(connection|content-length|transfer-encoding|keep-alive|upgrade|expect)$/i.test(name)) {
      throw usage(`-H, --header: ${name} belongs to the connection; it cannot be set`)
    }
    headers[name] = value.trim()
  }
  return headers
}

function bodyOf(text: string): Buffer {
  if (!text.startsWith('@')) return Buffer.from(text)
  try {
    return readFileSync(text.slice(1))
  } catch (error) {
    throw usage(`--body: cannot read ${text.slice(1)} (${(error as NodeJS.ErrnoException).code})`)
  }
}

function isJson(body: Buffer): boolean {
  try {
    JSON.parse(body.toString())
    return true
  } catch {
    return false
  }
}

const isUrl = (text: string) => /^[a-z][a-z0-9+.-]*:\/\//i.test(text)

function whereTo(where: string, target: string | undefined): { url: URL | undefined; path: string } {
  if (isUrl(where)) {
    if (target !== undefined) throw usage('--target: the URL says already where to; give a path with it')
    return { url: httpUrl(where, where), path: where }
  }
  if (!where.startsWith('/')) throw usage(`"${where}" is neither a path (/api/data) nor a URL (http://127.0.0.1:3000/)`)
  // Also proves that it is a path.
  const path = httpUrl(`http://localhost${where}`, where)
  if (target === undefined) return { url: undefined, path: path.pathname + path.search }
  const base = httpUrl(target, target, '--target: ')
  return { url: new URL(base.origin + base.pathname.replace(/\/$/, '') + path.pathname + path.search), path: where }
}

function httpUrl(text: string, shown: string, flag = ''): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (!url || !/^https?:$/.test(url.protocol) || !isUrl(text)) {
    throw usage(`${flag}"${shown}" is not a URL that can be called; write http://127.0.0.1:3000`)
  }
  if (url.username || url.password) throw usage(`${flag}a URL with a password in it is seen by others; use -H`)
  return url
}

const loopback = new BlockList()
loopback.addSubnet('127.0.0.0', 8)
loopback.addAddress('::1', 'ipv6')

/** Whether a URL surely names this machine. Other names are not looked up: they could mean another one a moment later. */
export function isLoopback({ hostname }: URL): boolean {
  const host = hostname.replace(/^\[|\]$/g, '')
  const version = isIP(host)
  return host === 'localhost' || (version !== 0 && loopback.check(host, version === 6 ? 'ipv6' : 'ipv4'))
}
