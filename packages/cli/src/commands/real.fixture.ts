/** What the tests of real processes share: the real server, the real command, a real terminal. */
import { type ChildProcessWithoutNullStreams, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { freePort } from '@api-bouncer/limiter/testing/redis-server'

const ROOT = fileURLToPath(new URL('../../../..', import.meta.url))
const FROM_SOURCE = ['--import', new URL(import.meta.resolve('tsx')).href, '--conditions=@api-bouncer/source'] as const
const BIN = join(ROOT, 'packages/cli/bin/bouncer.js')
/** The command as a shell types it. */
export const BOUNCER = [process.execPath, BIN].join(' ')
const TOKEN = 'a-token-for-the-tests'

const children = new Set<ChildProcessWithoutNullStreams>()
const terminals = new Set<Terminal>()

/** Ends what a test has started and not ended; for afterEach and afterAll. */
export async function endAll(): Promise<void> {
  for (const terminal of terminals) terminal.close()
  await Promise.all(
    [...children].map(async child => {
      const ended = once(child, 'exit')
      child.kill('SIGKILL')
      await ended
    }),
  )
}

function node(args: readonly string[], env: NodeJS.ProcessEnv): ChildProcessWithoutNullStreams {
  const base = { PATH: process.env.PATH, HOME: process.env.HOME, XDG_STATE_HOME: tmpdir(), USER: 'tester' }
  const child = spawn(process.execPath, args, { cwd: tmpdir(), env: { ...base, ...env } })
  children.add(child)
  child.once('exit', () => children.delete(child))
  return child
}

export interface RealServer {
  readonly dataPlane: string
  /** What makes a command talk to it. */
  readonly env: { readonly BOUNCER_URL: string; readonly BOUNCER_TOKEN: string }
  /** The bare admin API. */
  admin(method: string, path: string, body?: unknown): Promise<unknown>
  /** Requests of one client. */
  request(client: string, path: string, times?: number): Promise<void>
  stop(): Promise<void>
  /** Again, on the same ports. */
  start(): Promise<void>
}

export async function realServer(env: NodeJS.ProcessEnv = {}): Promise<RealServer> {
  const [port, adminPort] = [await freePort(), await freePort()]
  const [dataPlane, controlPlane] = [`http://127.0.0.1:${port}`, `http://127.0.0.1:${adminPort}`]
  let child: ChildProcessWithoutNullStreams
  const server: RealServer = {
    dataPlane,
    env: { BOUNCER_URL: controlPlane, BOUNCER_TOKEN: TOKEN },
    async admin(method, path, body) {
      const res = await fetch(controlPlane + path, {
        method,
        headers: {
          authorization: `Bearer ${TOKEN}`,
          ...(body !== undefined && { 'content-type': 'application/json' }),
        },
        ...(body !== undefined && { body: JSON.stringify(body) }),
      })
      if (!res.ok) throw new Error(`${method} ${path}: ${res.status} ${await res.text()}`)
      return res.status === 204 ? undefined : res.json()
    },
    async request(client, path, times = 1) {
      for (let i = 0; i < times; i++) await fetch(dataPlane + path, { headers: { 'x-forwarded-for': client } })
    },
    async stop() {
      const ended = once(child, 'exit')
      child.kill('SIGTERM')
      await ended
    },
    async start() {
      const main = join(ROOT, 'packages/server/src/main.ts')
      const ports = { PORT: String(port), ADMIN_PORT: String(adminPort), HOST: '127.0.0.1', ADMIN_TOKEN: TOKEN }
      child = node([...FROM_SOURCE, main], { ...ports, ...env })
      await printed(child, '"msg":"serving"')
    },
  }
  await server.start()
  return server
}

/** Resolves when the process has printed a text; rejects when it ends before. */
export function printed(child: ChildProcessWithoutNullStreams, text: string): Promise<void> {
  let said = ''
  return new Promise((resolve, reject) => {
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', data => {
        said += data
        if (said.includes(text)) resolve()
      })
    }
    child.once('exit', () => reject(new Error(`ended without "${text}":\n${said}`)))
  })
}

export interface Ran {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** A command that runs; `done` when it has ended. */
export function bouncer(args: readonly string[], env: NodeJS.ProcessEnv = {}, input = '') {
  const child = node([BIN, ...args], env)
  const seen = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', data => {
      seen[name] += data
    })
  }
  child.stdin.end(input)
  const done = once(child, 'close').then(([code]): Ran => ({ code: code as number | null, ...seen }))
  return { child, seen, done }
}

/** Runs one command to its end. */
export const run = (args: readonly string[], env?: NodeJS.ProcessEnv, input?: string): Promise<Ran> =>
  bouncer(args, env, input).done

/** An executable of its own, as EDITOR takes one. */
export function script(text: string): string {
  const file = join(mkdtempSync(join(tmpdir(), 'bouncer-test-')), 'script.sh')
  writeFileSync(file, `#!/bin/sh\n${text}\n`)
  chmodSync(file, 0o700)
  return file
}

export const hasTmux = (() => {
  try {
    execFileSync('tmux', ['-V'], { stdio: 'ignore' })
    return true
  } catch {
    console.warn('tmux is not installed: the terminal tests are skipped (npx tsx scripts/test-tools.ts installs it)')
    return false
  }
})()

let terminalCount = 0

/** A terminal of its own tmux server. */
export class Terminal {
  private readonly socket = `bouncer-${process.pid}-${terminalCount++}`

  private constructor() {}

  /** Runs a command line of bouncer, says how it ended, and stays. */
  static open(args: string, env: NodeJS.ProcessEnv, columns?: number, rows?: number): Terminal {
    return Terminal.running(`${BOUNCER} ${args}; echo "ended with $?"; sleep 100`, env, columns, rows)
  }

  static running(command: string, env: NodeJS.ProcessEnv, columns = 80, rows = 24): Terminal {
    const terminal = new Terminal()
    const all = { USER: 'tester', ...env }
    terminal.tmux(
      '-f',
      '/dev/null',
      'new-session',
      '-d',
      ...['-x', String(columns), '-y', String(rows)],
      ...Object.entries(all).flatMap(([name, value]) => ['-e', `${name}=${value}`]),
      // In CI ink draws the last frame only; a person's terminal is no CI.
      `unset CI CONTINUOUS_INTEGRATION; cd ${tmpdir()}; echo before; ${command}`,
    )
    terminals.add(terminal)
    return terminal
  }

  screen(): string {
    return this.tmux('capture-pane', '-p')
      .split('\n')
      .map(line => line.trimEnd())
      .join('\n')
      .trimEnd()
  }

  keys(...keys: string[]): void {
    this.tmux('send-keys', ...keys)
  }

  resize(columns: number, rows: number): void {
    this.tmux('resize-window', '-x', String(columns), '-y', String(rows))
  }

  /** The screen, once it shows a text. */
  async shows(text: string | RegExp, ms = 15_000): Promise<string> {
    const deadline = performance.now() + ms
    for (;;) {
      const screen = this.screen()
      if (typeof text === 'string' ? screen.includes(text) : text.test(screen)) return screen
      if (performance.now() > deadline) throw new Error(`the screen does not show ${text}:\n${screen}`)
      await sleep(50)
    }
  }

  close(): void {
    terminals.delete(this)
    try {
      this.tmux('kill-server')
    } catch {}
  }

  private tmux(...args: string[]): string {
    return execFileSync('tmux', ['-L', this.socket, ...args], { encoding: 'utf8' })
  }
}
