import type { BouncerOptions, ControlPlane, RedisOptions } from '@api-bouncer/limiter'
import type { Stall } from './lag.ts'

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
  readonly options?: Pick<BouncerOptions, 'policies' | 'penalty' | 'instance' | 'maxClients'>
  /** Ours in another version: the module that has its `createBouncer`. */
  readonly limiter?: string
}

export interface Calls {
  port(): number
  /** When the event loop was late since the last call: because this machine ran others, and by its own doing. */
  lag(): { machine: Stall[]; own: Stall[] }
  /** Rejections that nobody handled. */
  unhandled(): string[]
  /** After a forced collection, bytes. */
  heap(): Promise<number>
  /** Open file descriptors. */
  files(): number
  /** So many clients ask so often each, in this process itself; ours only. */
  offend(clients: number, each: number): Promise<void>
  /** What an operator asks or does, by its name in the control plane of that version; ours only. */
  operate(what: keyof ControlPlane, ...args: unknown[]): unknown
  /** Ends the limiter as a shutdown does; ours only. */
  close(): Promise<void>
  /** What was logged about Redis; ours only. */
  log(): string[]
}

export const isOurs = (api: Api): boolean => api.startsWith('ours')
