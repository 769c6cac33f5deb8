import type { BouncerOptions, RedisOptions } from '@api-bouncer/limiter'

/** Whose limiter protects the API; ours in two of its fail modes. */
export const APIS = ['ours, open', 'ours, local', 'express-rate-limit', 'rate-limiter-flexible'] as const
export type Api = (typeof APIS)[number] | 'ours, embedded'

export interface Args {
  readonly api: Api
  /** Where it counts; not used by `ours, embedded`. */
  readonly redis: RedisOptions
  /** Units an hour and client. */
  readonly limit: number
  /** Ours, instead of that limit. */
  readonly options?: Pick<BouncerOptions, 'policies' | 'penalty' | 'instance'>
}

export interface Calls {
  port(): number
  /** The event loop's longest delays since the last call, ms. */
  lag(): { p999: number; max: number }
  /** Rejections that nobody handled. */
  unhandled(): string[]
  /** After a forced collection, bytes. */
  heap(): number
  /** Open file descriptors. */
  files(): number
  /** Ends the limiter as a shutdown does; ours only. */
  close(): Promise<void>
  /** What was logged about Redis; ours only. */
  log(): string[]
}

export const isOurs = (api: Api): boolean => api.startsWith('ours')
