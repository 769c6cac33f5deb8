import type { BouncerOptions } from '@api-bouncer/limiter'

/** What of the limiter's inside is measured alone; not exported, because users have no need of it. */
export interface Inside {
  MemoryStore: new (options?: { maxClients?: number }) => MemoryStore
  compilePolicy(source: object, penalty: unknown, defaults: { algorithm: string; failMode: 'open' }): unknown
  compilePenalty(settings: object): unknown
}
interface MemoryStore {
  check(check: { client: string; policy: unknown; cost: number; route: string; penalise: boolean }): unknown
}

const inside = (path: string) => import(new URL(path, import.meta.resolve('@api-bouncer/limiter')).href)

/** The embedded store and what compiles a policy for it. */
export async function loadInside(): Promise<Inside> {
  const { MemoryStore } = await inside('./stores/memory/memory-store.js')
  const { compilePolicy, compilePenalty } = await inside('./policies/table.js')
  return { MemoryStore, compilePolicy, compilePenalty }
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
