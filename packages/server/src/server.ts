import { createServer, type Server as HttpServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type Bouncer, BouncerError, createBouncer } from '@api-bouncer/limiter'
import type { Logger } from 'pino'
import { createDataPlane } from './app.ts'
import { type Config, ConfigError } from './config.ts'
import { createControlPlane } from './control/router.ts'
import { keepToken } from './control/token.ts'
import { logEvent } from './log.ts'
import { isLoopback, urlOf } from './net.ts'
import { readPoliciesFile } from './policies-file.ts'

export interface Server {
  readonly bouncer: Bouncer
  /** Absent: control plane only. */
  readonly dataPlane: string | undefined
  readonly controlPlane: string
  /** Where the admin token was put; absent when ADMIN_TOKEN gave it. */
  readonly tokenFile: string | undefined
  /** Stops accepting, lets what is in flight finish for at most `graceMs`, then lets go of everything. */
  close(graceMs?: number): Promise<void>
}

/** Starts both planes. Throws a ConfigError or BouncerError, with nothing left open, when that cannot be. */
export async function startServer(config: Config, log: Logger): Promise<Server> {
  const bouncer = openBouncer(config, log)
  const open: HttpServer[] = []
  const close = async (graceMs = 10_000) => {
    await Promise.all(open.map(server => drain(server, graceMs)))
    await bouncer.close()
  }
  try {
    const stop = bouncer.events.subscribe(event => logEvent(log, event))
    let dataPlane: string | undefined
    if (config.dataPlane) {
      const { port, host } = config.dataPlane
      const listener = createDataPlane({ bouncer, logger: log })
      dataPlane = urlOf(await listen(open, { port, host, named: 'PORT' }, () => listener))
    }
    const { port, host } = config.admin
    let tokenFile: string | undefined
    const address = await listen(open, { port, host, named: 'ADMIN_PORT' }, ({ port }) => {
      const kept = config.admin.token === undefined ? keepToken(config.stateDir, port) : undefined
      tokenFile = kept?.file
      const token = kept?.token ?? (config.admin.token as string)
      const localHost = isLoopback(host) ? host : undefined
      return createControlPlane({ bouncer, token, logger: log, localHost, dataPlane })
    })
    return {
      bouncer,
      dataPlane,
      controlPlane: urlOf(address),
      tokenFile,
      close: graceMs => close(graceMs).finally(stop),
    }
  } catch (error) {
    await close(0)
    throw error
  }
}

function openBouncer(config: Config, log: Logger): Bouncer {
  const { policiesFile, penalty, trustProxy, clientIpHeader, ipv6Prefix, algorithm, failMode, maxClients } = config
  const file = policiesFile === undefined ? undefined : readPoliciesFile(policiesFile)
  if (penalty !== undefined && file?.options.penalty !== undefined) {
    throw new ConfigError(
      `POLICIES_FILE: ${policiesFile} has a penalty, and VIOLATION_THRESHOLD, VIOLATION_WINDOW or BLOCK_DURATION is set too. Keep one of the two`,
    )
  }
  try {
    // The Redis store goes in here, when config names one.
    return createBouncer({
      trustProxy,
      ipv6Prefix,
      algorithm,
      failMode,
      maxClients,
      logger: log,
      ...(clientIpHeader !== undefined && { clientIpHeader }),
      ...(penalty !== undefined && { penalty }),
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

/** Opens a listener; what serves it is made when its port is known, before the first request can arrive. */
function listen(
  open: HttpServer[],
  { port, host, named }: Listening,
  make: (address: AddressInfo) => RequestListener,
): Promise<AddressInfo> {
  const server = createServer()
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(cannotListen(error, { port, host, named })))
    server.listen({ port, host }, () => {
      open.push(server)
      try {
        const address = server.address() as AddressInfo
        server.on('request', make(address))
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
