import { randomUUID } from 'node:crypto'
import { Cluster, type Redis } from 'ioredis'
import { afterAll } from 'vitest'
import { testStore } from '../conformance.ts'
import { Connection } from './connection.ts'
import { createKeys } from './keys.ts'
import { RedisServer, startCluster, until } from './redis-server.fixture.ts'
import { RedisStore } from './redis-store.ts'
import { parseRedis, type RedisOptions, redisSchema } from './settings.ts'

const ends: (() => Promise<unknown>)[] = []
afterAll(async () => {
  for (const end of ends) await end()
})

/** A store on a real Redis, whose clock is turned: its scripts are told a later time, and what has a TTL comes closer to its end. */
async function openStore(options: RedisOptions) {
  const settings = parseRedis(redisSchema.parse({ deadline: '2s', ...options }))
  const connection = new Connection(settings, { onState: () => {} })
  const prefix = `test-${randomUUID().slice(0, 8)}`
  const clock = { shiftUs: 0 }
  const store = new RedisStore(connection, createKeys(prefix, settings.db), settings.deadlineMs, clock)
  await until('Redis', () => store.health().state === 'ok')
  const { commands } = connection
  const servers = () => (commands instanceof Cluster ? commands.nodes('master') : [commands as Redis])
  return {
    store,
    async advance(ms: number) {
      await store.flush()
      for (const server of servers()) {
        for (const key of await server.keys(`${prefix}:*`)) {
          const left = await server.pttl(key)
          if (left >= 0) await (left > ms ? server.pexpire(key, left - ms) : server.del(key))
        }
      }
      clock.shiftUs += ms * 1000
      store.known.distrustAll()
    },
    async close() {
      await store.close()
      await connection.close()
    },
  }
}

testStore({
  name: 'Redis',
  async open() {
    const server = await RedisServer.start()
    ends.push(() => server.stop())
    return openStore({ host: '127.0.0.1', port: server.port })
  },
})

testStore({
  name: 'Redis Cluster',
  async open() {
    const cluster = await startCluster()
    ends.push(() => cluster.stop())
    return openStore({ cluster: cluster.endpoints })
  },
})
