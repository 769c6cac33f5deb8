import { afterAll, expect, test } from 'vitest'
import { ALGORITHMS, type AlgorithmId, policySchema } from '../../contracts/index.ts'
import { compilePenalty, compilePolicy } from '../../policies/table.ts'
import { connectTo, endAll, ending } from './fleet.fixture.ts'
import { RedisServer } from './redis-server.fixture.ts'
import { openStore } from './store.fixture.ts'

afterAll(endAll)

/** What a client costs in Redis, as docs/operations.md says: MEMORY USAGE with the names that are really used. */
test('a client costs as little as is said', async () => {
  const server = ending(await RedisServer.start(), one => one.stop())
  const redis = connectTo(server)
  const { store, close } = await openStore({ url: server.url }, [redis], 'api_bouncer')
  ending(store, close)
  const client = '203.0.113.195'
  const penalty = compilePenalty({ threshold: 5, window: '5m', block: ['15m'], memory: '1d' })
  const policyOf = (algorithm: AlgorithmId, limit: number) =>
    compilePolicy(policySchema.parse({ id: 'default', limits: [{ limit, window: '1m' }] }), penalty, {
      algorithm,
      failMode: 'open',
    })
  const check = (algorithm: AlgorithmId, limit: number) =>
    store.check({ client, policy: policyOf(algorithm, limit), cost: 1, route: 'POST /auth/login', penalise: true })
  const bytes = async (key: string) => (await redis.memory('USAGE', key, 'SAMPLES', 0)) as number
  const measured: Record<string, number> = {}

  for (const algorithm of ALGORITHMS) {
    const units = algorithm === 'sliding_window' ? 100 : 1
    for (let i = 0; i < units; i++) await check(algorithm, 100)
    measured[algorithm] = await bytes(`api_bouncer:${algorithm}:{${client}}:default:60s`)
  }
  const network = '2001:db8:1:2::/64'
  await store.check({ client: network, policy: policyOf('gcra', 100), cost: 1, route: '', penalise: true })
  measured['gcra, an IPv6 network'] = await bytes(`api_bouncer:gcra:{${network}}:default:60s`)
  const perEntry = (measured.sliding_window ?? 0) / 100
  for (let i = 100; i < 10_000; i += 100) {
    await Promise.all(Array.from({ length: 100 }, () => check('sliding_window', 10_000)))
  }
  const many = await bytes(`api_bouncer:sliding_window:{${client}}:default:60s`)
  expect(await redis.llen(`api_bouncer:sliding_window:{${client}}:default:60s`)).toBe(10_000)
  measured['sliding_window, 10,000 units'] = many
  await redis.del(`api_bouncer:sliding_window:{${client}}:default:60s`)
  for (let i = 0; i < 104; i++) await check('sliding_window', 100)
  measured['violations, 4'] = await bytes(`api_bouncer:violations:{${client}}`)
  for (let i = 0; i < 6; i++) await check('sliding_window', 100)
  measured.block = await bytes(`api_bouncer:block:{${client}}`)
  measured.client = await bytes(`api_bouncer:client:{${client}}`)
  await store.flush()
  measured['refusals, 5'] = await bytes(`api_bouncer:refusals:{${client}}`)
  console.log(
    `MEMORY USAGE: ${Object.entries(measured)
      .map(([name, size]) => `${name} ${size} B`)
      .join(' · ')} · a logged unit ${perEntry.toFixed(1)} B at 100, ${(many / 10_000).toFixed(1)} B at 10,000`,
  )
  expect(perEntry).toBeLessThanOrEqual(20)
  expect(many / 10_000).toBeLessThanOrEqual(20)
  expect(measured.gcra).toBeLessThanOrEqual(128)
  expect(measured['gcra, an IPv6 network']).toBeLessThanOrEqual(128)
  expect(measured.token_bucket).toBeLessThanOrEqual(200)
})
