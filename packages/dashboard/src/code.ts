import { BouncerError } from '@api-bouncer/limiter/client'
import { type ComponentType, type LazyExoticComponent, lazy } from 'react'

/** The overview comes with the page; the others are files of their own. */
const CODE = {
  Clients: () => import('./pages/clients/Clients.tsx'),
  Client: () => import('./pages/client/Client.tsx'),
  Blocks: () => import('./pages/blocks/Blocks.tsx'),
  Lists: () => import('./pages/lists/Lists.tsx'),
  Policies: () => import('./pages/policies/Policies.tsx'),
  Policy: () => import('./pages/policies/Policy.tsx'),
  Keys: () => import('./pages/keys/Keys.tsx'),
  Audit: () => import('./pages/audit/Audit.tsx'),
  Fleet: () => import('./pages/fleet/Fleet.tsx'),
}

type Pages = {
  readonly [Name in keyof typeof CODE]: LazyExoticComponent<Awaited<ReturnType<(typeof CODE)[Name]>>['default']>
}

const missing = (): never => {
  throw new BouncerError(
    'ERR_UNAVAILABLE',
    'Its code could not be fetched: the network is away, or the server has a newer dashboard',
    'Try again, or reload for the newer one',
  )
}

/** Made anew to try again: React remembers for good that a page's code could not be fetched. */
export function lazyPages(): Pages {
  const pages = Object.entries(CODE).map(([name, load]) => {
    // biome-ignore lint/suspicious/noExplicitAny: `Pages` has each with its own
    const fetched = load as () => Promise<{ default: ComponentType<any> }>
    return [name, lazy(() => fetched().catch(missing))]
  })
  return Object.fromEntries(pages)
}

/** Fetches all of it, one after the other: with the code here, a network that goes away takes no page with it. */
export async function fetchPages(): Promise<void> {
  for (const load of Object.values(CODE)) await load().catch(() => {})
}
