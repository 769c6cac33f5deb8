import { afterEach, expect, test, vi } from 'vitest'
import { connectTo, endAll, ending, load, openBouncer, serve } from './fleet.fixture.ts'
import { AS_LIMITER, RedisServer, until } from './redis-server.fixture.ts'

afterEach(endAll)
// Servers start, die and fail over while others use the machine too.
vi.setConfig({ testTimeout: 120_000 })

test('the master dies: no errors in mode open, and the promoted replica serves by itself', async () => {
  const stop = (server: RedisServer) => server.stop()
  const master = ending(await RedisServer.start(), stop)
  const replica = ending(await RedisServer.start('--replicaof', '127.0.0.1', String(master.port)), stop)
  const look = connectTo(replica)
  await until('the replica', async () => (await look.info('replication')).includes('master_link_status:up'))
  const sentinels: RedisServer[] = []
  for (let i = 0; i < 3; i++) {
    const config = [
      `sentinel monitor mymaster 127.0.0.1 ${master.port} 2`,
      'sentinel down-after-milliseconds mymaster 1000',
      'sentinel failover-timeout mymaster 5000',
    ].join('\n')
    sentinels.push(ending(await RedisServer.sentinel(config), stop))
  }
  for (const sentinel of sentinels) {
    const asked = connectTo(sentinel)
    await until('sentinels that know each other', async () => {
      const [known] = (await asked.call('SENTINEL', 'MASTERS')) as string[][]
      const of = (name: string) => Number(known?.[known.indexOf(name) + 1])
      return of('num-other-sentinels') === 2 && of('num-slaves') === 1
    })
  }

  const { bouncer, states, ask } = openBouncer({
    redis: { sentinels: sentinels.map(({ port }) => `127.0.0.1:${port}`), sentinelName: 'mymaster', ...AS_LIMITER },
    policies: [{ id: 'default', match: '*', limits: [{ limit: 100_000, window: '1h' }] }],
  })
  await until('counting', async () => (await ask('a')).outcome === 'allowed')
  await bouncer.control.putPolicy({ id: 'extra', match: '/extra', limits: [{ limit: 5, window: '1h' }] }, 0, {
    by: 'ann',
  })
  for (let i = 0; i < 5; i++) await ask('spent', '/extra')
  expect((await ask('spent', '/extra')).outcome).toBe('limited')
  await until('replication', async () => (await look.exists('api_bouncer:violations:{spent}')) === 1)

  const { get, decisions } = await serve(bouncer)
  const traffic = load(100, (i, due) => get('/', `192.0.2.${i % 20}`, due))
  await until('traffic', () => decisions.length > 50)
  await master.kill()
  const killed = performance.now()
  await until('degraded', () => decisions.at(-1)?.outcome === 'degraded-allowed')
  // A Sentinel that the machine holds up waits 30 s before it trusts itself again.
  const isMaster = async () => (await look.info('replication')).includes('role:master')
  await until('the promotion', isMaster, 60_000)
  const promoted = performance.now()
  await until('the promoted replica', () => decisions.at(-1)?.outcome === 'allowed')
  const backMs = performance.now() - killed
  expect(performance.now() - promoted).toBeLessThan(10_000)
  const { answers } = await traffic.stop()
  expect(answers.filter(({ status }) => status >= 500)).toEqual([])
  expect((await look.info('replication')).match(/role:(\w+)/)?.[1]).toBe('master')
  // What had been replicated still counts.
  expect((await ask('spent', '/extra')).outcome).toBe('limited')
  expect((await bouncer.control.state()).policies.map(({ policy }) => policy.id).sort()).toEqual(['default', 'extra'])
  await until('all lines', () => states().length >= 3)
  expect(states()).toHaveLength(3)
  console.log(
    `Sentinel: counting on the promoted replica ${Math.round(backMs)} ms after the master was killed, ${Math.round(killed + backMs - promoted)} ms after its promotion`,
  )
})
