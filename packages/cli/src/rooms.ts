import type { CommandRoom } from './command.ts'

type Load = () => Promise<{ readonly command: CommandRoom }>

/** How each command is loaded: only the one that is named is. (`completion` knows them all, so it is not among them.) */
export const ROOMS: Readonly<Record<string, Load>> = {
  status: () => import('./commands/status.ts'),
  top: () => import('./commands/top.ts'),
  clients: () => import('./commands/clients.ts'),
  inspect: () => import('./commands/inspect.ts'),
  explain: () => import('./commands/explain.ts'),
  events: () => import('./commands/events.ts'),
  block: () => import('./commands/block.ts'),
  unblock: () => import('./commands/unblock.ts'),
  blocks: () => import('./commands/blocks.ts'),
  allow: () => import('./commands/allow.ts'),
  deny: () => import('./commands/deny.ts'),
  policy: () => import('./commands/policy.ts'),
  load: () => import('./commands/load.ts'),
  doctor: () => import('./commands/doctor.ts'),
  audit: () => import('./commands/audit.ts'),
  keys: () => import('./commands/keys.ts'),
  key: () => import('./commands/key.ts'),
}
