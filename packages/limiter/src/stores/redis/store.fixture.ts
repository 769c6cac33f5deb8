import { randomUUID } from 'node:crypto'
import type { Redis } from 'ioredis'
import { Connection } from './connection.ts'
import { createKeys } from './keys.ts'
import { until } from './redis-server.fixture.ts'
import { RedisStore } from './redis-store.ts'
import { parseRedis, type RedisOptions, redisSchema } from './settings.ts'

/**
 * A store on a real Redis (`admins` may do what the store's own user may not), whose clock is turned: its scripts are told a later
 * time, and what has a TTL comes closer to its end.
 */
export async function openStore(
  options: RedisOptions,
  admins: readonly Redis[],
  prefix = `api_bouncer:${randomUUID().slice(0, 8)}`,
) {
  const settings = parseRedis(redisSchema.parse({ deadline: '2s', ...options }))
  const connection = new Connection(settings, { onState: () => {} })
  const clock = { shiftUs: 0 }
  const store = new RedisStore(connection, createKeys(prefix, settings.db), settings.deadlineMs, clock)
  await until('Redis', () => store.health().state === 'ok')
  return {
    store,
    async advance(ms: number) {
      await store.flush()
      for (const server of admins) {
        for (const key of await server.keys(`${prefix}:*`)) {
          const left = await server.pttl(key)
          if (left >= 0) await (left > ms ? server.pexpire(key, left - ms) : server.del(key))
        }
      }
      clock.shiftUs += ms * 1000
    },
    async close() {
      await store.close()
      await connection.close()
    },
  }
}
