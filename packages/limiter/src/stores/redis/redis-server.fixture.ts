import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Below the ports that systems give to outgoing connections: one of those may be taken before it is listened on. */
const PORTS = { from: 10_000, to: 30_000 }
/** Each process begins elsewhere. */
let lastPort = PORTS.from + ((process.pid * 199) % (PORTS.to - PORTS.from))

/** A port that nobody listens on just now, and that this process has not been given lately. */
export async function freePort(): Promise<number> {
  for (;;) {
    lastPort = lastPort + 1 < PORTS.to ? lastPort + 1 : PORTS.from
    const [port, server] = [lastPort, createServer()]
    const free = await new Promise<boolean>(resolve => {
      server.once('error', () => resolve(false)).listen(port, '127.0.0.1', () => resolve(true))
    })
    if (!free) continue
    await new Promise(resolve => server.close(resolve))
    return port
  }
}

/** Waits until `condition` holds; fails with what was waited for. */
export async function until(what: string, condition: () => boolean | Promise<boolean>, ms = 15_000): Promise<void> {
  const deadline = performance.now() + ms
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`still waiting after ${ms} ms: ${what}`)
    await new Promise(resolve => setTimeout(resolve, 10))
  }
}

/** As whom a limiter under test connects. Who looks and meddles is the default user, who may do everything. */
export const AS_LIMITER = { username: 'bouncer', password: 'a-long-secret' } as const

/** What that user may do: as docs/operations.md tells to make it, and in a Cluster what it adds. */
export function documentedRules(cluster = false): string[] {
  const text = readFileSync(new URL('../../../../../docs/operations.md', import.meta.url), 'utf8')
  const written = (pattern: RegExp) => (pattern.exec(text)?.[1] ?? '').split(/\s+/).filter(rule => rule !== '')
  return [...written(/ACL SETUSER bouncer ([^`]+)/), ...(cluster ? written(/in a Cluster add `([^`]+)`/) : [])]
}

/** Not even a test that dies leaves one behind. */
const running = new Set<ChildProcess>()
process.once('exit', () => {
  for (const server of running) server.kill('SIGKILL')
})

/** A redis-server of the test's own, on a free port, that it may kill and freeze; it knows the user that a limiter is. */
export class RedisServer {
  readonly port: number
  private readonly folder = mkdtempSync(join(tmpdir(), 'bouncer-redis-'))
  private args: readonly string[]
  private process: ChildProcess | undefined

  private constructor(port: number, args: readonly string[]) {
    this.port = port
    this.args = args
  }

  /** Has a port, and does not run yet. */
  static async reserve(...args: string[]): Promise<RedisServer> {
    return new RedisServer(await freePort(), args)
  }

  static async start(...args: string[]): Promise<RedisServer> {
    const server = await RedisServer.reserve(...args)
    await server.start()
    return server
  }

  /** A Sentinel: like a server, but it keeps its own settings in a file. */
  static async sentinel(config: string): Promise<RedisServer> {
    const server = await RedisServer.reserve()
    const file = join(server.folder, 'sentinel.conf')
    writeFileSync(file, config)
    server.args = [file, '--sentinel']
    await server.start()
    return server
  }

  /** For a limiter. */
  get url(): string {
    return `redis://${AS_LIMITER.username}:${AS_LIMITER.password}@127.0.0.1:${this.port}`
  }

  /** Starts it (again), on the same port and folder. */
  async start(): Promise<void> {
    const base = ['--port', String(this.port), '--bind', '127.0.0.1', '--dir', this.folder]
    const user = ['--user', AS_LIMITER.username, ...documentedRules(this.args.includes('--cluster-enabled'))]
    const args = this.args.includes('--sentinel')
      ? [...this.args, ...base]
      : [...base, '--save', '', ...user, ...this.args]
    const started = spawn('redis-server', args, { stdio: ['ignore', 'pipe', 'pipe'] })
    this.process = started
    running.add(started)
    started.once('exit', () => running.delete(started))
    let output = ''
    started.stdout.on('data', chunk => {
      output += chunk
    })
    await until(`redis-server on ${this.port}`, () => {
      if (started.exitCode !== null) throw new Error(`redis-server ended: ${output}`)
      return /Ready to accept connections|Running mode=sentinel/i.test(output)
    })
  }

  freeze(): void {
    this.process?.kill('SIGSTOP')
  }

  thaw(): void {
    this.process?.kill('SIGCONT')
  }

  /** Ends it at once, as a crash would. */
  async kill(): Promise<void> {
    const { process: running } = this
    this.process = undefined
    if (!running || running.exitCode !== null) return
    const ended = new Promise(resolve => running.once('exit', resolve))
    running.kill('SIGKILL')
    await ended
  }

  async stop(): Promise<void> {
    await this.kill()
    rmSync(this.folder, { recursive: true, force: true })
  }
}

/** A Redis Cluster of `masters` nodes without replicas, all slots served. */
export async function startCluster(
  masters = 3,
  ...args: string[]
): Promise<{ nodes: RedisServer[]; endpoints: string[]; stop(): Promise<void> }> {
  const nodes: RedisServer[] = []
  for (let i = 0; i < masters; i++) {
    const busPort = await freePort()
    nodes.push(
      await RedisServer.start(
        '--cluster-enabled',
        'yes',
        '--cluster-port',
        String(busPort),
        '--cluster-node-timeout',
        '2000',
        ...args,
      ),
    )
  }
  const endpoints = nodes.map(({ port }) => `127.0.0.1:${port}`)
  const cli = (port: number, ...args: string[]) =>
    execFileSync('redis-cli', ['-p', String(port), ...args], { encoding: 'utf8' })
  execFileSync('redis-cli', ['--cluster', 'create', ...endpoints, '--cluster-yes'], { stdio: 'ignore' })
  for (const { port } of nodes) {
    await until(`the cluster at ${port}`, () => cli(port, 'cluster', 'info').includes('cluster_state:ok'))
  }
  return {
    nodes,
    endpoints,
    stop: async () => {
      for (const node of nodes) await node.stop()
    },
  }
}
