import { BouncerError, httpControlPlane } from '@api-bouncer/limiter/client'
import type { Actor, ControlPlane, Session } from '@api-bouncer/limiter/contracts'
import { QueryClient } from '@tanstack/react-query'
import { touched } from './touched.ts'

let csrf: string | undefined

/** Called when the server says that nobody is signed in any more. */
let onSignedOut = () => {}
export const whenSignedOut = (listener: () => void): void => {
  onSignedOut = listener
}

/** The control plane that served this page; the session's cookie signs in, and its token proves that it was this page. */
export const control: ControlPlane = httpControlPlane({
  url: location.origin,
  fetch: async (url, init) => {
    const proof = csrf === undefined || init.method === 'GET' ? {} : { 'X-CSRF-Token': csrf }
    const headers = { ...init.headers, ...touched(), ...proof }
    const response = await fetch(url, { ...init, credentials: 'same-origin', headers })
    if (response.status === 401) onSignedOut()
    return response
  },
})

/** The server knows who is signed in. */
export const actor: Actor = { by: '' }

const SESSION = '/dashboard/session'

async function session(method: string, body?: object): Promise<Response> {
  try {
    return await fetch(SESSION, {
      method,
      credentials: 'same-origin',
      headers: {
        ...touched(),
        ...(body && { 'Content-Type': 'application/json' }),
        ...(method === 'DELETE' && csrf !== undefined && { 'X-CSRF-Token': csrf }),
      },
      ...(body && { body: JSON.stringify(body) }),
    })
  } catch {
    throw new BouncerError('ERR_UNAVAILABLE', 'cannot reach the control plane', 'Is the server up?')
  }
}

async function sessionOf(response: Response): Promise<Session> {
  if (!response.ok) {
    const { detail, code } = (await response.json().catch(() => ({}))) as { detail?: string; code?: 'ERR_UNAUTHORISED' }
    throw new BouncerError(code ?? 'ERR_UNAUTHORISED', detail ?? `the control plane answered ${response.status}`)
  }
  const known = (await response.json()) as Session
  csrf = known.csrf
  return known
}

/** Who is signed in; null: nobody. */
export async function whoAmI(): Promise<Session | null> {
  const response = await session('GET')
  return response.status === 401 ? null : sessionOf(response)
}

/** By the admin token, or by the code of a one-time link. Throws with what is wrong. */
export const signIn = async (by: { token: string } | { code: string }): Promise<Session> =>
  sessionOf(await session('POST', by))

export async function signOut(): Promise<void> {
  await session('DELETE').catch(() => {})
  csrf = undefined
}

/** What an error says to a person; how to mend it is part of that. */
export const sayError = (error: unknown): string => (error as Error).message

const RETRY_MS = 3000

/** Whoever would know gives no answer: asking again may find one. */
export const isAway = (error: unknown): boolean => (error as BouncerError | null)?.code === 'ERR_UNAVAILABLE'

/** How often something is asked for, ms; absent: once. Where nobody answers it is soon asked for again. */
export function every(ms?: number) {
  return ({ state: { status, error } }: { state: { status: string; error: Error | null } }): number | false =>
    status === 'error' && isAway(error) ? Math.min(ms ?? RETRY_MS, RETRY_MS) : (ms ?? false)
}

export const queries = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 1000,
      // A failure is told at once, and what was asked for is asked for again.
      retry: false,
      refetchInterval: every(),
      refetchOnReconnect: true,
    },
  },
})

/** All but who is signed in. */
export const forgetAnswers = (): void =>
  queries.removeQueries({ predicate: ({ queryKey }) => queryKey[0] !== keys.session[0] })

/** Names of what is asked for, so that a change can say what it made old. */
export const keys = {
  session: ['session'],
  state: ['state'],
  blocks: ['blocks'],
  status: ['status'],
  stats: (range: string) => ['stats', range],
  clients: (sort: string) => ['clients', sort],
  client: (client: string) => ['client', client],
  clientHistory: (client: string) => ['client', client, 'history'],
  explain: (...of: string[]) => ['explain', ...of],
  policyHistory: (id: string) => ['policy-history', id],
  keys: (match: string) => ['keys', match],
  audit: ['audit'],
  doctor: ['doctor'],
} as const
