import type { Session } from '@api-bouncer/limiter/contracts'
import { createContext, use } from 'react'

/** Who is signed in, or was until it `ended`, and why; null: nobody. */
export type Known = (Session & { readonly ended?: string }) | null

export const SessionContext = createContext<Session | undefined>(undefined)

/** Who is signed in; only inside the shell. */
export function useSession(): Session {
  const session = use(SessionContext)
  if (!session) throw new Error('nobody is signed in')
  return session
}

/** Why this person may change nothing; undefined when they may. The server refuses in any case. */
export function useReadOnly(): string | undefined {
  return useSession().role === 'viewer' ? 'You are signed in to look on: changes need the operator’s token' : undefined
}
