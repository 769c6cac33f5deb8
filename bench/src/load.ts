import { Client } from 'undici'

/** Keep-alive connections to one server, from so many loopback addresses where the system allows it; by default each from its own. */
export class Load {
  private readonly clients: readonly Client[]

  constructor(port: number, connections: number, addresses = connections) {
    this.clients = Array.from(
      { length: connections },
      (_, i) =>
        new Client(`http://127.0.0.1:${port}`, {
          pipelining: 1,
          // Of the client: undici overrides it in `connect`.
          ...(process.platform === 'linux' && { localAddress: `127.0.1.${(i % addresses) + 1}` }),
        }),
    )
  }

  /** Sends `count` requests, one at a time a connection; answers how many there were of each status, and the seconds. */
  async send(path: string, count: number): Promise<{ statuses: Record<number, number>; seconds: number }> {
    const statuses: Record<number, number> = {}
    let left = count
    const started = performance.now()
    await Promise.all(
      this.clients.map(async client => {
        while (left-- > 0) {
          const { statusCode, body } = await client.request({ path, method: 'GET' })
          await body.dump()
          statuses[statusCode] = (statuses[statusCode] ?? 0) + 1
        }
      }),
    )
    return { statuses, seconds: (performance.now() - started) / 1000 }
  }

  async close(): Promise<void> {
    await Promise.all(this.clients.map(client => client.close()))
  }
}
