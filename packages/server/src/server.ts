import { createServer, type Server as HttpServer, type ServerOptions } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Bouncer, BouncerError, createBouncer } from '@api-bouncer/limiter'
import type { Logger } from 'pino'
import { createDataPlane } from './app.ts'
import type { Config } from './config.ts'
import { namesOf } from './control/access.ts'
import { readPage } from './control/page.ts'
import { createControlPlane } from './control/router.ts'
import { SIGN_IN_PATH } from './control/routes.ts'
import { Sessions } from './control/session.ts'
import { createGuesses } from './control/sign-in.ts'
import { keepToken } from './control/token.ts'
import { WrongTokens } from './control/wrong-tokens.ts'
import { type Live, serveLive } from './live.ts'
import { logEvent } from './log.ts'
import type { Measured } from './metrics.ts'
import { isLoopback, roomForConnections, urlOf } from './net.ts'
import { readPoliciesFile } from './policies-file.ts'
import { ConfigError } from './setting.ts'

/** What is in flight at the end may take so long. */
const GRACE_MS = 10_000
/** A request has so long to arrive: a few kB, from a client that means it. */
const SLOWEST = { headersTimeout: 15_000, requestTimeout: 30_000, connectionsCheckingInterval: 5000 }
/** The start waits so long for Redis. */
const STORE_WAIT_MS = 1000

export interface Server {
  readonly bouncer: Bouncer
  /** Absent: control plane only. */
  readonly dataPlane: string | undefined
  readonly controlPlane: string
  /** Where the admin token was put; absent when ADMIN_TOKEN gave it. */
  readonly tokenFile: string | undefined
  /** A link that signs a browser in, once, within ten minutes; absent where the dashboard has not been built. */
  readonly signInLink: string | undefined
  /** Stops accepting, lets what is in flight finish for at most `graceMs`, then lets go of everything. */
  close(graceMs?: number): Promise<void>
}

/** Worker processes that serve the data plane in this one's place. */
export interface Workers extends Measured {
  readonly dataPlane: string
  close(graceMs: number): Promise<void>
}

/** The data plane of one process. */
export interface DataPlane {
  readonly bouncer: Bouncer
  readonly url: string
  close(graceMs?: number): Promise<void>
}

/**
 * Starts both planes, or beside `workers` the control plane alone. Throws a ConfigError or BouncerError, with nothing left
 * open (but the workers), when that cannot be.
 */
export async function startServer(
  config: Config,
  log: Logger,
  workers?: Workers,
  sessions: Sessions = new Sessions(),
): Promise<Server> {
  // Beside workers, or alone, a control plane decides nothing: it counts as no instance.
  const room = await openRoom(config, log, workers === undefined && config.dataPlane !== undefined)
  const { bouncer } = room
  const guesses = createGuesses()
  let live: Live | undefined
  const close = async (graceMs = GRACE_MS) => {
    live?.close()
    await workers?.close(graceMs)
    await room.close(graceMs)
    await guesses.close()
  }
  try {
    const dataPlane = workers?.dataPlane ?? (config.dataPlane && (await openDataPlane(room, config.dataPlane, log)))
    const { port, host, viewerToken, allowedHosts } = config.admin
    let tokenFile: string | undefined
    const address = await listen(room.open, { port, host, named: 'ADMIN_PORT' }, ({ port }, http) => {
      const kept = config.admin.token === undefined ? keepToken(config.stateDir, port) : undefined
      tokenFile = kept?.file
      const tokens = { token: kept?.token ?? (config.admin.token as string), viewerToken }
      const localHost = isLoopback(host) ? host : undefined
      const shared = { bouncer, sessions, logger: log, measured: workers, wrong: new WrongTokens(log) }
      http.on('request', createControlPlane({ ...shared, ...tokens, localHost, allowedHosts, dataPlane, guesses }))
      live = serveLive(http, { ...shared, tokens, names: namesOf(localHost, allowedHosts) })
    })
    const controlPlane = urlOf(address)
    const signInLink = readPage() && `${controlPlane}${SIGN_IN_PATH}#${sessions.makeCode().code}`
    return { bouncer, dataPlane, controlPlane, tokenFile, signInLink, close }
  } catch (error) {
    live?.close()
    await Promise.all([room.close(0), guesses.close()])
    throw error
  }
}

/** Starts the data plane alone: what a worker process does. */
export async function startDataPlane(config: Config, log: Logger): Promise<DataPlane> {
  const room = await openRoom(config, log, true)
  try {
    const url = await openDataPlane(room, config.dataPlane as NonNullable<Config['dataPlane']>, log)
    return { bouncer: room.bouncer, url, close: (graceMs = GRACE_MS) => room.close(graceMs) }
  } catch (error) {
    await room.close(0)
    throw error
  }
}

/** A bouncer, and the listeners in front of it. */
interface Room {
  readonly bouncer: Bouncer
  readonly open: HttpServer[]
  close(graceMs: number): Promise<void>
}

async function openRoom(config: Config, log: Logger, decides: boolean): Promise<Room> {
  const bouncer = openBouncer(config, log, decides)
  const open: HttpServer[] = []
  // On Redis everybody hears of everything: each event is logged where it happened.
  const stop = bouncer.events.subscribe(event => {
    if (event.instance === bouncer.instance) logEvent(log, event)
  })
  await untilShared(bouncer)
  return {
    bouncer,
    open,
    close: async graceMs => {
      await Promise.all(open.map(server => drain(server, graceMs)))
      await bouncer.close().finally(stop)
    },
  }
}

/** Nobody is let in before Redis answers and its policies are in force; but a Redis that is away stops no start. */
async function untilShared(bouncer: Bouncer): Promise<void> {
  const deadline = performance.now() + STORE_WAIT_MS
  const isShared = async () => {
    if (bouncer.health().state !== 'ok') return false
    const { epoch } = await bouncer.control.state()
    if (epoch !== bouncer.epoch) return false
    // Redis has the scripts, and this process has run its way once: the first request is as quick as any.
    await bouncer.usage('127.0.0.1')
    return true
  }
  while (!(await isShared().catch(() => false)) && performance.now() < deadline) await sleep(10)
}

async function openDataPlane(
  { bouncer, open }: Room,
  { port, host }: NonNullable<Config['dataPlane']>,
  log: Logger,
): Promise<string> {
  const listener = createDataPlane({ bouncer, logger: log })
  const serve = (_: AddressInfo, http: HttpServer) => {
    const room = roomForConnections()
    if (room !== undefined) http.maxConnections = room
    http.on('request', listener)
  }
  return urlOf(await listen(open, { port, host, named: 'PORT' }, serve, SLOWEST))
}

function openBouncer(config: Config, log: Logger, decides: boolean): Bouncer {
  const { policiesFile, penalty, trustProxy, clientIpHeader, ipv6Prefix, algorithm, failMode, maxClients } = config
  const { redis, instance } = config
  const file = policiesFile === undefined ? undefined : readPoliciesFile(policiesFile)
  if (penalty !== undefined && file?.options.penalty !== undefined) {
    throw new ConfigError(
      `POLICIES_FILE: ${policiesFile} has a penalty, and VIOLATION_THRESHOLD, VIOLATION_WINDOW or BLOCK_DURATION is set too. Keep one of the two`,
    )
  }
  try {
    return createBouncer({
      trustProxy,
      ipv6Prefix,
      algorithm,
      failMode,
      maxClients,
      decides,
      logger: log,
      ...(clientIpHeader !== undefined && { clientIpHeader }),
      ...(penalty !== undefined && { penalty }),
      ...(redis !== undefined && { redis }),
      ...(instance !== undefined && { instance }),
      ...file?.options,
    })
  } catch (error) {
    throw file && error instanceof BouncerError ? file.blame(error) : error
  }
}

interface Listening {
  readonly port: number
  readonly host: string | undefined
  /** The setting that chose the port. */
  readonly named: 'PORT' | 'ADMIN_PORT'
}

/** Opens a listener; what serves it is put on it when its port is known, before the first request can arrive. */
function listen(
  open: HttpServer[],
  { port, host, named }: Listening,
  put: (address: AddressInfo, http: HttpServer) => unknown,
  options: ServerOptions = {},
): Promise<AddressInfo> {
  const server = createServer(options)
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(cannotListen(error, { port, host, named })))
    server.listen({ port, host }, () => {
      open.push(server)
      try {
        const address = server.address() as AddressInfo
        put(address, server)
        resolve(address)
      } catch (error) {
        reject(error)
      }
    })
  })
}

function cannotListen(error: NodeJS.ErrnoException, { port, host, named }: Listening): Error {
  const other = `${named}=${port < 65_535 ? port + 1 : 8000}`
  const hosted = named === 'PORT' ? 'HOST' : 'ADMIN_HOST'
  switch (error.code) {
    case 'EADDRINUSE':
      return new ConfigError(`${named}: port ${port} is in use. Stop what listens there, or choose another: ${other}`)
    case 'EACCES':
      return new ConfigError(
        `${named}: this user may not listen on port ${port}. Choose one above 1023, such as ${named}=8000`,
      )
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return new ConfigError(
        `${hosted}: "${host}" is no address of this machine. Use one that is, such as ${hosted}=127.0.0.1`,
      )
    default:
      return error
  }
}

function drain(server: HttpServer, graceMs: number): Promise<void> {
  return new Promise(resolve => {
    // A connection that becomes idle later would be kept alive for seconds.
    const idle = setInterval(() => server.closeIdleConnections(), 50)
    const late = setTimeout(() => server.closeAllConnections(), graceMs)
    server.close(() => {
      clearInterval(idle)
      clearTimeout(late)
      resolve()
    })
    server.closeIdleConnections()
  })
}
