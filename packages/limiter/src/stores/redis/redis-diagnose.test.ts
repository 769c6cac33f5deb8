import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createBouncer } from '../../bouncer.ts'
import { judgeEviction, judgePersistence, judgeRole, judgeVersion, parseInfo } from './redis-diagnose.ts'
import { RedisServer } from './redis-server.fixture.ts'

describe('what a doctor says of INFO', () => {
  it.each([
    ['7.0.15', 'ok'],
    ['6.2.0', 'ok'],
    ['6.0.16', 'problem'],
    ['5.0.7', 'problem'],
    ['', 'unknown'],
  ])('version %s: %s', (redis_version, verdict) => {
    expect(judgeVersion({ redis_version }).verdict).toBe(verdict)
  })

  it.each([
    ['no limit', '0', 'allkeys-lru', '500', 'ok'],
    ['a policy that drops blocks', '1000', 'allkeys-lru', '500', 'warning'],
    ['a policy that drops blocks, because they have a TTL', '1000', 'volatile-ttl', '500', 'warning'],
    ['the same, and nearly full', '1000', 'volatile-ttl', '950', 'problem'],
    ['one that drops nothing', '1000', 'noeviction', '500', 'ok'],
    ['one that drops nothing, nearly full', '1000', 'noeviction', '950', 'warning'],
  ])('%s', (_, maxmemory, maxmemory_policy, used_memory, verdict) => {
    const judged = judgeEviction({ maxmemory, maxmemory_policy, used_memory })
    expect(judged.verdict).toBe(verdict)
    if (verdict !== 'ok') expect(judged.mend).toBeTruthy()
  })

  it('a replica, and a disk that fails, are problems', () => {
    expect(judgeRole(parseInfo('# Replication\r\nrole:slave\r\nmaster_host:10.0.0.1\r\n'))).toMatchObject({
      verdict: 'problem',
      says: expect.stringContaining('10.0.0.1'),
    })
    expect(judgePersistence({ rdb_last_bgsave_status: 'err' }).verdict).toBe('problem')
    expect(judgePersistence({ aof_enabled: '1' })).not.toHaveProperty('mend')
    expect(judgePersistence({ aof_enabled: '0', rdb_saves: '2', rdb_last_save_time: '9' }).verdict).toBe('ok')
    expect(judgePersistence({ aof_enabled: '0' })).toMatchObject({
      verdict: 'warning',
      mend: expect.stringMatching(/appendonly yes/),
    })
  })
})

describe('a doctor at a real Redis', () => {
  let server: RedisServer
  beforeAll(async () => {
    server = await RedisServer.start('--appendonly', 'yes')
  })
  afterAll(() => server.stop())

  it('finds all well, then an eviction policy that drops blocks', async () => {
    const bouncer = createBouncer({ redis: { url: server.url } })
    try {
      await expect.poll(() => bouncer.health().state).toBe('ok')
      const verdicts = async () =>
        Object.fromEntries((await bouncer.control.diagnose()).map(({ about, verdict }) => [about, verdict]))
      expect(await verdicts()).toEqual({
        'redis version': 'ok',
        'redis role': 'ok',
        'redis eviction': 'ok',
        'redis persistence': 'ok',
        'redis latency': 'ok',
        'redis scripts': 'ok',
        'redis pub/sub': 'ok',
        'block index': 'ok',
        proxy: 'unknown',
      })
      const admin = new Redis(server.port)
      await admin.config('SET', 'maxmemory', '100mb')
      await admin.config('SET', 'maxmemory-policy', 'allkeys-lru')
      admin.disconnect()
      expect(await verdicts()).toMatchObject({ 'redis eviction': 'warning' })
    } finally {
      await bouncer.close()
    }
  })
})
