import { RedisServer, startCluster } from '@api-bouncer/limiter/testing/redis-server'
import { Redis } from 'ioredis'

/** The redis-servers of a bench, its own, without persistence; one, or the masters of a Cluster. */
export class BenchRedis {
  /** As the limiter and the workers are told. */
  readonly where: { host: string; port: number } | { cluster: string[] }
  private readonly servers: readonly RedisServer[]
  readonly connections: readonly Redis[]

  private constructor(servers: readonly RedisServer[], cluster: boolean) {
    this.servers = servers
    this.connections = servers.map(({ port }) => new Redis(port, '127.0.0.1'))
    this.where = cluster
      ? { cluster: servers.map(({ port }) => `127.0.0.1:${port}`) }
      : { host: '127.0.0.1', port: (servers[0] as RedisServer).port }
  }

  static async start(): Promise<BenchRedis> {
    return new BenchRedis([await RedisServer.start()], false)
  }

  static async cluster(): Promise<BenchRedis> {
    return new BenchRedis((await startCluster(3)).nodes, true)
  }

  /** CPU that the servers have used since their start, all threads, µs. */
  async cpuMicros(): Promise<number> {
    let seconds = 0
    for (const connection of this.connections) {
      const info = await connection.info('cpu')
      for (const [, used] of info.matchAll(/used_cpu_(?:user|sys):([\d.]+)/g)) seconds += Number(used)
    }
    return seconds * 1e6
  }

  /** Calls of each command since the server's start, those that scripts make included. */
  async calls(): Promise<Record<string, number>> {
    const info = await (this.connections[0] as Redis).info('commandstats')
    const all = [...info.matchAll(/cmdstat_([^:]+):calls=(\d+)/g)]
    return Object.fromEntries(all.map(([, command, calls]) => [command as string, Number(calls)]))
  }

  async flush(): Promise<void> {
    for (const connection of this.connections) await connection.flushall()
  }

  /** Forgets all clients; policies and the like stay, so that a running instance finds what it knows. */
  async forgetClients(): Promise<void> {
    for (const connection of this.connections) {
      for await (const keys of connection.scanStream({ count: 1000 }) as AsyncIterable<string[]>) {
        const gone = keys.filter(key => !key.includes('{control}')).map(key => ['del', key])
        if (gone.length > 0) await connection.pipeline(gone).exec()
      }
    }
  }

  async stop(): Promise<void> {
    for (const connection of this.connections) connection.disconnect()
    for (const server of this.servers) await server.stop()
  }
}
