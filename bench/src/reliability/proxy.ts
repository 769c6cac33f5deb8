import { once } from 'node:events'
import { type AddressInfo, createServer, type Server, type Socket, connect as tcp } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

/** A network between an application and Redis that can be made as bad as it gets, the same way every time. */
export class Network {
  /** Every byte of Redis' answers is late by so much, ms. */
  delayMs = 0
  /** Nothing gets through in either direction; nobody is told. */
  silent = false
  private readonly server: Server
  private readonly sockets = new Set<Socket>()

  private constructor(server: Server) {
    this.server = server
  }

  static async to(port: number): Promise<Network> {
    const server = createServer()
    const network = new Network(server)
    server.on('connection', near => network.join(near, tcp(port, '127.0.0.1')))
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return network
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port
  }

  /** Ends all connections without a goodbye. */
  cut(): void {
    for (const socket of this.sockets) socket.resetAndDestroy()
  }

  async close(): Promise<void> {
    this.cut()
    this.server.close()
    await once(this.server, 'close')
  }

  private join(near: Socket, far: Socket): void {
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      socket.setNoDelay(true)
      this.sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => {
        this.sockets.delete(socket)
        other.destroy()
      })
    }
    near.on('data', chunk => {
      if (!this.silent) far.write(chunk)
    })
    // What is late stays in order, also when what comes after it would not be late.
    let last: Promise<unknown> = Promise.resolve()
    far.on('data', chunk => {
      if (this.silent) return
      const due = sleep(this.delayMs)
      last = last.then(() => due).then(() => near.write(chunk))
    })
  }
}
