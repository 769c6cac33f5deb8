import { afterAll } from 'vitest'
import { testStore } from '../conformance.ts'
import { connectTo, endAll, ending } from './fleet.fixture.ts'
import { AS_LIMITER, RedisServer, startCluster } from './redis-server.fixture.ts'
import { openStore } from './store.fixture.ts'

afterAll(endAll)

testStore({
  name: 'Redis',
  async open() {
    const server = ending(await RedisServer.start(), one => one.stop())
    return openStore({ url: server.url }, [connectTo(server)])
  },
})

testStore({
  name: 'Redis Cluster',
  async open() {
    const { nodes, endpoints } = ending(await startCluster(), one => one.stop())
    const admins = nodes.map(node => connectTo(node))
    return openStore({ cluster: endpoints, ...AS_LIMITER }, admins)
  },
})
