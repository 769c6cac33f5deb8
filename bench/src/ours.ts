import { setTimeout as sleep } from 'node:timers/promises'
import type { BouncerOptions, RedisOptions } from '@api-bouncer/limiter'

/** What of the limiter's inside is measured alone; not exported, because users have no need of it. */
export interface Inside {
  MemoryStore: new (options?: { maxClients?: number }) => MemoryStore
  compilePolicy(source: object, penalty: unknown, defaults: { algorithm: string; failMode: 'open' }): unknown
  compilePenalty(settings: object): unknown
}
interface Check {
  client: string
  policy: unknown
  cost: number
  route: string
  penalise: boolean
}
interface MemoryStore {
  check(check: Check): unknown
}
interface RedisStore {
  check(check: Check): Promise<{ outcome: string; now: number; taken?: true }>
  health(): { state: string }
}

const inside = (path: string) => import(new URL(path, import.meta.resolve('@api-bouncer/limiter')).href)

/** The embedded store and what compiles a policy for it. */
export async function loadInside(): Promise<Inside> {
  const { MemoryStore } = await inside('./stores/memory/memory-store.js')
  const { compilePolicy, compilePenalty } = await inside('./policies/table.js')
  return { MemoryStore, compilePolicy, compilePenalty }
}

/** Limits of one policy: so many in a window, and with more than one also in longer ones, which refuse nobody. */
export const limitsOf = (limit: number, window = '1m', limits = 1) =>
  [
    { limit, window },
    { limit: limit * 20, window: '2h' },
    { limit: limit * 100, window: '1d' },
  ].slice(0, limits)

/** A policy as the stores are given it: so many a minute, with the default penalty. */
export const storePolicy = (
  { compilePolicy, compilePenalty }: Inside,
  limits: readonly object[],
  algorithm = 'sliding_window',
) =>
  compilePolicy(
    { id: 'default', match: ['*'], limits, cost: 1, mode: 'enforce' },
    compilePenalty({ threshold: 5, window: '5m', block: ['15m'], memory: '1d' }),
    { algorithm, failMode: 'open' },
  )

/** Waits until what is asked says that Redis answers. */
export async function answering(asked: { health(): { state: string } }): Promise<void> {
  while (asked.health().state !== 'ok') await sleep(10)
}

/** Where a bench's Redis is. On a busy machine a decision waits rather than being made by the fail mode. */
export const redisOf = (redis: RedisOptions): RedisOptions => ({ ...redis, deadline: '5s' })

/** The Redis store alone, connected. */
export async function openRedisStore(redis: RedisOptions): Promise<RedisStore> {
  const { Connection } = await inside('./stores/redis/connection.js')
  const { createKeys } = await inside('./stores/redis/keys.js')
  const { RedisStore } = await inside('./stores/redis/redis-store.js')
  const { parseRedis, redisSchema } = await inside('./stores/redis/settings.js')
  const settings = parseRedis(redisSchema.parse(redisOf(redis)))
  const store = new RedisStore(
    new Connection(settings, { onState() {} }),
    createKeys(settings.prefix, settings.db),
    settings.deadlineMs,
  )
  await answering(store)
  return store
}

/** The default set-up, two policies and the penalty, with another limit for everything that is not `/auth/*`. */
export const withLimit = (limit: number, window = '1m'): BouncerOptions => ({
  policies: [
    { id: 'default', match: ['*'], limits: [{ limit, window }] },
    { id: 'auth', match: ['/auth/*'], limits: [{ limit: 30, window: '1m' }] },
  ],
})

/** IPv4 addresses as a socket gives them: flat strings, nothing shared between them. */
export const address = (i: number) =>
  Buffer.from(`10.${(i >> 16) & 255}.${(i >> 8) & 255}.${i & 255}`).toString('latin1')
