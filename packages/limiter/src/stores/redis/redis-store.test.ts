import { afterAll } from 'vitest'
import { testStore } from '../conformance.ts'
import { RedisServer, startCluster } from './redis-server.fixture.ts'
import { openStore } from './store.fixture.ts'

const ends: (() => Promise<unknown>)[] = []
afterAll(async () => {
  for (const end of ends) await end()
})

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
