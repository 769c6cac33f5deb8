import type { IncomingMessage } from 'node:http'
import { Agent, createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import express from 'express'
import { Redis } from 'ioredis'
import { type Bouncer, createBouncer } from '../../bouncer.ts'
import type { Decision, Outcome } from '../../contracts/index.ts'
import type { BouncerOptions } from '../../options.ts'
import type { RedisServer } from './redis-server.fixture.ts'

const ends: (() => unknown)[] = []

/** Ends, last first, everything that was opened. */
export async function endAll(): Promise<void> {
  for (const end of ends.splice(0).reverse()) await end()
}

export function ending<T>(what: T, end: (what: T) => unknown): T {
  ends.push(() => end(what))
  return what
}

export const sleep = (ms: number) => new Promise(resolve => setTimeout(resolve, ms))

/** A bouncer that remembers what it logged and can be asked by path and client. */
export function openBouncer(options: BouncerOptions) {
  const lines: string[] = []
  const log = (message: string) => void lines.push(message)
  const bouncer = createBouncer({ logger: { info: log, warn: log, error: log }, ...options })
  ending(bouncer, one => one.close())
  const requestOf = (client: string, path: string, method = 'GET', cost?: number) => ({
    peer: { headers: {}, socket: { remoteAddress: '198.51.100.1' } } as unknown as IncomingMessage,
    method,
    path,
    client,
    cost,
  })
  return {
    bouncer,
    /** What was logged; lines about changes of state alone with `states`. */
    lines,
    states: () => lines.filter(line => /^degraded|answers/.test(line)),
    ask: async (client: string, path = '/'): Promise<Decision> => bouncer.check(requestOf(client, path)),
    peek: (client: string, path = '/'): Promise<Decision> => bouncer.peek(requestOf(client, path)),
  }
}
export type Opened = ReturnType<typeof openBouncer>

/** A plain connection to look and meddle. */
export const connectTo = ({ port }: RedisServer, options = {}): Redis =>
  ending(
    new Redis({ host: '127.0.0.1', port, ...options }).on('error', () => {}),
    redis => redis.disconnect(),
  )

export interface Answered {
  readonly status: number
  readonly type: string
  readonly body: string
  /** From when it was due, ms. */
  readonly waitMs: number
}

/** The bouncer in an Express app on a socket. `decisions` has each one's outcome and how long it took, ms. */
export async function serve(bouncer: Bouncer) {
  const decisions: { outcome: Outcome | undefined; path: string; ms: number; at: number }[] = []
  const app = express()
  const limit = bouncer.express()
  app.use((req, res, next) => {
    const started = performance.now()
    res.once('finish', () => {
      const now = performance.now()
      decisions.push({ outcome: req.bouncer?.outcome, path: req.path, ms: now - started, at: now })
    })
    limit(req, res, next)
  })
  app.use((_, res) => void res.end('ok'))
  const server = createServer(app).listen(0, '127.0.0.1')
  await new Promise(resolve => server.once('listening', resolve))
  const agent = new Agent({ keepAlive: true, maxSockets: 200 })
  ending(server, () => {
    agent.destroy()
    server.closeAllConnections()
    return new Promise(resolve => server.close(resolve))
  })
  const { port } = server.address() as AddressInfo

  /** One request of a client (told in X-Forwarded-For). */
  const get = (path: string, client: string, due = performance.now()): Promise<Answered> =>
    new Promise((resolve, reject) => {
      const headers = { 'x-forwarded-for': client }
      const sent = request({ host: '127.0.0.1', port, path, agent, headers }, res => {
        let body = ''
        res.setEncoding('utf8')
        res.on('data', chunk => {
          body += chunk
        })
        res.on('end', () => {
          const type = String(res.headers['content-type'] ?? '')
          resolve({ status: res.statusCode ?? 0, type, body, waitMs: performance.now() - due })
        })
      })
      sent.on('error', reject)
      sent.end()
    })
  return { get, decisions }
}

const LOOK_MS = 2

/**
 * Open-loop load on an absolute schedule: what is due is sent, whatever became of the rest. Ends with `stop`, which also
 * tells how much of a span (performance.now, ms) this process' event loop stood still.
 */
export function load<T>(rps: number, send: (i: number, due: number) => Promise<T>) {
  const started = performance.now()
  const stalls: { from: number; to: number }[] = []
  let looked = started
  const sent: Promise<T>[] = []
  // Whoever awaits them hears of a failure; a test that failed before does not.
  const note = (one: Promise<T>) => {
    one.catch(() => {})
    sent.push(one)
  }
  const dueAt = () => started + (sent.length * 1000) / rps
  const timer = ending(
    setInterval(() => {
      const now = performance.now()
      if (now - looked > 2 * LOOK_MS) stalls.push({ from: looked + LOOK_MS, to: now })
      for (let due = dueAt(); due <= now; due = dueAt()) note(send(sent.length, due))
      looked = now
    }, LOOK_MS),
    clearInterval,
  )
  return {
    async stop() {
      clearInterval(timer)
      const answers = await Promise.all(sent)
      const stalled = (from: number, to: number) =>
        stalls.reduce((sum, stall) => sum + Math.max(0, Math.min(stall.to, to) - Math.max(stall.from, from)), 0)
      return { answers, stalled }
    },
  }
}

export function percentile(values: readonly number[], p: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor((sorted.length * p) / 100))] ?? 0
}
