import { type ChildProcess, spawn } from 'node:child_process'
import { EventEmitter } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { freePort } from '@api-bouncer/limiter/testing/redis-server'
import { run } from './run.ts'

const ROOT = fileURLToPath(new URL('../../..', import.meta.url))
const BIN = 'packages/cli/bin/bouncer.js'
const FROM_SOURCE = ['--import', 'tsx', '--conditions=@api-bouncer/source']

export interface Ended {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

/** Runs the real command line as a process, with nothing of this one's settings but what is given. */
export function bouncer(args: readonly string[], env: NodeJS.ProcessEnv = {}, stdin = ''): Promise<Ended> {
  const child = spawn(process.execPath, [BIN, ...args], {
    cwd: ROOT,
    env: { PATH: process.env.PATH, HOME: '/nonexistent', TZ: 'UTC', USER: 'ann', ...env },
  })
  child.stdin.on('error', () => {}).end(stdin)
  return ended(child)
}

export function ended(child: ChildProcess): Promise<Ended> {
  let [out, err] = ['', '']
  child.stdout?.setEncoding('utf8').on('data', text => {
    out += text
  })
  child.stderr?.setEncoding('utf8').on('data', text => {
    err += text
  })
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', code => resolve({ code, out, err }))
  })
}

/** Runs a command line in this process, with nothing but what is given: as a pipe would see it, and quicker than a process. */
export async function runHere(argv: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ended> {
  const streams = { stdout: new PassThrough(), stderr: new PassThrough(), stdin: new PassThrough() }
  const told = { USER: 'ann', ...env }
  const io = Object.assign(new EventEmitter(), { ...streams, env: told, exitCode: 0, exit: () => {} })
  await run(argv, io as unknown as NodeJS.Process)
  const text = (stream: PassThrough) => String(stream.read() ?? '')
  return { code: io.exitCode, out: text(streams.stdout), err: text(streams.stderr) }
}

/** The command line as a shell would be given it, for pipes. */
export const inShell = (script: string, env: NodeJS.ProcessEnv): Promise<Ended> =>
  ended(
    spawn('bash', ['-c', script.replaceAll('bouncer ', `"$NODE" ${BIN} `)], {
      cwd: ROOT,
      env: { PATH: process.env.PATH, HOME: '/nonexistent', TZ: 'UTC', USER: 'ann', NODE: process.execPath, ...env },
    }),
  )

export interface LocalServer {
  readonly url: string
  readonly dataPlane: string
  /** What a command line needs to find it, and the token that it left. */
  readonly env: { readonly BOUNCER_URL: string; readonly XDG_STATE_HOME: string }
  /** A request of the data plane as this client. */
  as(client: string, path: string, method?: string): Promise<number>
  close(): Promise<void>
}

/** The real server as a process, its state in a folder of its own. */
export async function localServer(env: NodeJS.ProcessEnv = {}): Promise<LocalServer> {
  const state = mkdtempSync(join(tmpdir(), 'bouncer-cli-'))
  const [port, adminPort] = [await freePort(), await freePort()]
  const child = spawn(process.execPath, [...FROM_SOURCE, 'packages/server/src/main.ts'], {
    cwd: ROOT,
    env: {
      PATH: process.env.PATH,
      HOME: '/nonexistent',
      XDG_STATE_HOME: state,
      HOST: '127.0.0.1',
      PORT: String(port),
      ADMIN_PORT: String(adminPort),
      INSTANCE: 'api-1',
      ...env,
    },
  })
  const whole = ended(child)
  await new Promise<void>((resolve, reject) => {
    child.stdout.on('data', text => String(text).includes('"msg":"serving"') && resolve())
    whole.then(({ err, out }) => reject(new Error(`the server ended: ${out}${err}`)), reject)
  })
  const url = `http://127.0.0.1:${adminPort}`
  const dataPlane = `http://127.0.0.1:${port}`
  return {
    url,
    dataPlane,
    env: { BOUNCER_URL: url, XDG_STATE_HOME: state },
    as: async (client, path, method = 'GET') =>
      (await fetch(dataPlane + path, { method, headers: { 'x-forwarded-for': client } })).status,
    close: async () => {
      child.kill('SIGKILL')
      await whole
      rmSync(state, { recursive: true, force: true })
    },
  }
}
