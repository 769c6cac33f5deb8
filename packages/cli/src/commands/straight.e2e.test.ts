import { freePort, RedisServer, startCluster } from '@api-bouncer/limiter/testing/redis-server'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { DEFAULT_URL } from '../connection.ts'
import { endAll, run } from './real.fixture.ts'

const redises: RedisServer[] = []
let cluster: Awaited<ReturnType<typeof startCluster>>
let sentinel: RedisServer
let nobody: string

beforeAll(async () => {
  redises.push(await RedisServer.start(), await RedisServer.start(), await RedisServer.start())
  const [, , master] = redises as [RedisServer, RedisServer, RedisServer]
  sentinel = await RedisServer.sentinel(`sentinel monitor mymaster 127.0.0.1 ${master.port} 1`)
  cluster = await startCluster(3)
  nobody = `http://127.0.0.1:${await freePort()}`
})
afterAll(async () => {
  await endAll()
  await sentinel.stop()
  await Promise.all(redises.map(redis => redis.stop()))
  await cluster.stop()
})

const url = (i: number) => `redis://127.0.0.1:${(redises[i] as RedisServer).port}`

/** What names the place: words before the verb, and the environment. */
const places: [string, () => { words?: string[]; env?: NodeJS.ProcessEnv }][] = [
  ['--redis', () => ({ words: ['--redis', url(0)] })],
  ['REDIS_URL, when the server does not answer', () => ({ env: { REDIS_URL: url(1) } })],
  [
    'REDIS_SENTINELS',
    () => ({ env: { REDIS_SENTINELS: `127.0.0.1:${sentinel.port}`, REDIS_SENTINEL_NAME: 'mymaster' } }),
  ],
  ['REDIS_CLUSTER_NODES', () => ({ env: { REDIS_CLUSTER_NODES: cluster.endpoints.join(',') } })],
]

/** A server that somebody runs here meanwhile answers first: that is as it should be, and leaves nothing to test. */
const isServed = await fetch(DEFAULT_URL).then(
  () => true,
  () => false,
)
if (isServed) console.warn(`something answers at ${DEFAULT_URL}: what happens when nobody does is not tested`)

describe('straight on a Redis that no server has ever used', () => {
  it.each(isServed ? places.slice(0, 1) : places)('%s: what an operator does at 3 a.m. works', async (_, where) => {
    const { words = [], env = {} } = where()
    for (const [argv, says] of [
      [
        ['allow', 'add', '10.0.0.0/8'],
        /10\.0\.0\.0\/8 is on the allowlist {3}no instance is alive to see it; the next one that starts will/,
      ],
      [['policy', 'set', 'x', '--create', '--limit', '5/1m'], /saved x v1/],
      [['policy', 'set', 'x', '--limit', '6/1m'], /saved x v2/],
      [['block', '192.0.2.7', '--for', '5m'], /blocked 192\.0\.2\.7/],
      [['status'], /^store healthy · no instance is alive: nothing is limited · /],
      [['blocks'], /192\.0\.2\.7/],
      [['clients'], /192\.0\.2\.7 .*\n\nno instance is alive to tell who is busy: listed are only those/s],
      [['inspect', '192.0.2.7'], /block/],
      [
        ['unblock', '192.0.2.7'],
        /unblocked 192\.0\.2\.7 .* {3}no instance is alive to see it; the next one that starts will\n/,
      ],
      [['keys'], /control state: policies: 1 field: /],
      [['audit'], /policy\.put/],
    ] as const) {
      const { code, stdout, stderr } = await run([...words, ...argv], { ...env, NO_COLOR: '1' })
      expect({ argv, code, stderr, says: says.test(stdout) ? 'as it should' : stdout }).toMatchObject({
        code: 0,
        says: 'as it should',
      })
    }
  })

  it('a Redis that does not answer is said to, with exit code 5', async () => {
    const { code, stderr } = await run(['--redis', nobody.replace('http', 'redis'), 'blocks'])
    expect(code).toBe(5)
    expect(stderr).toMatch(/^bouncer: /)
    expect(stderr).toMatch(/ECONNREFUSED|refused/)
  })
})
