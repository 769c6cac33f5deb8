/** What the tests share: a server on free ports, the real process, raw sockets. No part of what is shipped. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { mkdtempSync } from 'node:fs'
import { type IncomingHttpHeaders, request } from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { freePort } from '@api-bouncer/limiter/testing/redis-server'
import { pino } from 'pino'
import { readConfig } from './config.ts'
import type { Sessions } from './control/session.ts'
import { type Server, startServer } from './server.ts'

export const ROOT = fileURLToPath(new URL('../../..', import.meta.url))

export const temporaryFolder = () => mkdtempSync(join(tmpdir(), 'api-bouncer-'))

// biome-ignore lint/suspicious/noExplicitAny: a test looks into answers, and fails where they are not what it expects
export type Json = any

export const jsonOf = async (res: Response): Promise<Json> => res.json()

export const TOKEN = 'a-token-for-the-tests'
export const VIEWER_TOKEN = 'a-token-to-look-with'

export interface TestServer extends Server {
  readonly dataPlane: string
  /** A call of the data plane as a client of its own, through the trusted proxy that loopback is. */
  as(client: string, path: string, init?: RequestInit): Promise<Response>
  /** A call of the control plane with the token. */
  admin(method: string, path: string, body?: unknown): Promise<{ status: number; body: Json; headers: Headers }>
}

export async function testServer(env: Record<string, string> = {}, sessions?: Sessions): Promise<TestServer> {
  const config = readConfig({ PORT: '0', ADMIN_PORT: '0', HOST: '127.0.0.1', ADMIN_TOKEN: TOKEN, ...env })
  const server = await startServer(config, pino({ level: 'silent' }), undefined, sessions)
  const { dataPlane = '', controlPlane } = server
  return {
    ...server,
    dataPlane,
    ...callers(dataPlane, controlPlane),
  }
}

/** Calls of both planes. */
const callers = (dataPlane: string, controlPlane: string): Pick<TestServer, 'as' | 'admin'> => ({
  as: (client, path, init = {}) =>
    fetch(dataPlane + path, { ...init, headers: { ...init.headers, 'x-forwarded-for': client } }),
  admin: async (method, path, body) => {
    const res = await fetch(controlPlane + path, {
      method,
      headers: {
        authorization: `Bearer ${TOKEN}`,
        ...(body !== undefined && { 'content-type': 'application/json' }),
      },
      ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    })
    const text = await res.text()
    const isJson = /json/.test(res.headers.get('content-type') ?? '')
    return { status: res.status, body: isJson ? JSON.parse(text) : text, headers: res.headers }
  },
})

/** A browser, as far as a control plane can tell: it keeps its cookie, and says where its page comes from. */
export class Browser {
  readonly origin: string
  cookie = ''
  csrf = ''

  constructor(controlPlane: string) {
    this.origin = controlPlane
  }

  /** Whatever `headers` says goes in place of what a page of this origin would send. */
  send(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<{ status: number; body: Json; headers: IncomingHttpHeaders }> {
    const text = body === undefined ? undefined : JSON.stringify(body)
    const sent = {
      origin: this.origin,
      'sec-fetch-site': 'same-origin',
      ...(this.cookie && { cookie: this.cookie }),
      ...(this.csrf && { 'x-csrf-token': this.csrf }),
      ...(text !== undefined && { 'content-type': 'application/json', 'content-length': String(text.length) }),
      ...headers,
    }
    return new Promise((resolve, reject) => {
      // fetch() sets Host and Origin itself.
      const req = request(this.origin + path, { method, headers: sent }, res => {
        let answer = ''
        res.setEncoding('utf8').on('data', chunk => {
          answer += chunk
        })
        res.on('end', () => {
          for (const set of res.headers['set-cookie'] ?? []) this.cookie = set.split(';')[0] as string
          const isJson = /json/.test(res.headers['content-type'] ?? '')
          resolve({ status: res.statusCode ?? 0, body: isJson ? JSON.parse(answer) : answer, headers: res.headers })
        })
      })
      req.on('error', reject).end(text)
    })
  }

  /** Signs in by `{ token }` or `{ code }`. */
  async signIn(by: object): Promise<Json> {
    const { status, body } = await this.send('POST', '/dashboard/session', by)
    if (status !== 200) throw new Error(`not signed in: ${status} ${JSON.stringify(body)}`)
    this.csrf = body.csrf
    return body
  }
}

/** Sends bytes as they are and answers with all that came back until the connection ended. */
export function raw(url: string, bytes: string | Buffer): Promise<string> {
  const { hostname, port } = new URL(url)
  return new Promise((resolve, reject) => {
    let answer = ''
    const socket = connect(Number(port), hostname, () => socket.write(bytes))
    socket.setEncoding('latin1')
    socket.on('data', data => {
      answer += data
    })
    socket.on('close', () => resolve(answer))
    // A server that refuses early may reset the connection while we still write.
    socket.on('error', error => (answer === '' ? reject(error) : undefined))
  })
}

export interface Running {
  readonly child: ChildProcessWithoutNullStreams
  output(): { stdout: string; stderr: string }
  /** Resolves when the text has been printed; rejects when the process ends before. */
  printed(text: string): Promise<void>
  readonly exited: Promise<{ code: number | null; signal: string | null }>
}

const started = new Set<Running>()

/** Ends what this file's tests have started and not ended; for afterEach. */
export function endAll(): void {
  for (const { child } of started)
    if (child.exitCode === null && child.signalCode === null && child.pid) process.kill(-child.pid, 'SIGKILL')
  started.clear()
}

/** Starts a process of its own group, with nothing of this one's settings but what is given. */
export function run(command: string, args: readonly string[], env: NodeJS.ProcessEnv, cwd = ROOT): Running {
  const base = { PATH: process.env.PATH, HOME: process.env.HOME }
  const child = spawn(command, args, { cwd, env: { ...base, ...env }, detached: true })
  const seen = { stdout: '', stderr: '' }
  const waiting = new Set<() => void>()
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', data => {
      seen[name] += data
      for (const wake of waiting) wake()
    })
  }
  const exited = new Promise<{ code: number | null; signal: string | null }>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code, signal) => resolve({ code, signal }))
  })
  const printed = (text: string) =>
    new Promise<void>((resolve, reject) => {
      const look = () => {
        if (!(seen.stdout + seen.stderr).includes(text)) return
        waiting.delete(look)
        resolve()
      }
      waiting.add(look)
      look()
      const ended = () => reject(new Error(`ended without "${text}":\n${seen.stdout}${seen.stderr}`))
      exited.then(ended, reject)
    })
  const running = { child, output: () => seen, printed, exited }
  started.add(running)
  return running
}

/** The real server process, from source. */
export const runMain = (env: NodeJS.ProcessEnv): Running =>
  run(process.execPath, ['--import', 'tsx', '--conditions=@api-bouncer/source', 'packages/server/src/main.ts'], env)

/** A server process on free ports, and ways to call it. */
export interface Instance extends Pick<TestServer, 'as' | 'admin'> {
  readonly process: Running
  readonly port: number
  readonly controlPlane: string
  get(path: string): Promise<Response>
}

/** Starts the real server process and waits until it serves. */
export async function instance(env: Record<string, string>): Promise<Instance> {
  const [port, adminPort] = [await freePort(), await freePort()]
  const process = runMain({
    PORT: String(port),
    ADMIN_PORT: String(adminPort),
    HOST: '127.0.0.1',
    ADMIN_TOKEN: TOKEN,
    ...env,
  })
  await process.printed('"msg":"serving"')
  const [dataPlane, controlPlane] = [`http://127.0.0.1:${port}`, `http://127.0.0.1:${adminPort}`]
  return {
    process,
    port,
    controlPlane,
    get: path => fetch(dataPlane + path),
    ...callers(dataPlane, controlPlane),
  }
}
