import type { ControlPlane, PolicyRecord } from './control.ts'
import { BouncerError, type ErrorCode } from './errors.ts'

export interface HttpControlOptions {
  /** Of the control plane: `http://127.0.0.1:8900`. */
  readonly url: string
  /** Sent as `Authorization: Bearer`; absent where a session cookie stands for it. */
  readonly token?: string | undefined
  /** An answer takes at most so long, ms. Default 10 s. */
  readonly timeoutMs?: number
  /** Another way to send: Node's own fetch takes 0.1 s to load, which a command line would rather not wait for. */
  readonly fetch?: Fetch
}

/** What of fetch() is used here. */
export type Fetch = (
  url: string,
  init: {
    readonly method: string
    readonly signal: AbortSignal
    readonly redirect: 'error'
    readonly headers: Record<string, string>
    readonly body?: string
  },
) => Promise<{ readonly ok: boolean; readonly status: number; text(): Promise<string> }>

const CODES: Readonly<Record<number, ErrorCode>> = {
  400: 'ERR_INVALID',
  401: 'ERR_UNAUTHORISED',
  403: 'ERR_UNAUTHORISED',
  404: 'ERR_NOT_FOUND',
  409: 'ERR_CONFLICT',
}

/** The control plane through a server's admin API: what the command line and the dashboard speak. */
export function httpControlPlane({ url, token, timeoutMs = 10_000, fetch: send }: HttpControlOptions): ControlPlane {
  const base = url.replace(/\/+$/, '')

  async function call<T>(
    method: string,
    path: string,
    { query = {}, body, by, reads = method === 'GET' }: Call = {},
  ): Promise<T> {
    const search = new URLSearchParams()
    for (const [name, value] of Object.entries(query)) if (value !== undefined) search.set(name, String(value))
    const target = `${base}${path}${search.size > 0 ? `?${search}` : ''}`
    let response: Awaited<ReturnType<Fetch>>
    try {
      response = await (send ?? fetch)(target, {
        method,
        signal: AbortSignal.timeout(timeoutMs),
        redirect: 'error',
        headers: {
          ...(token !== undefined && { Authorization: `Bearer ${token}` }),
          ...(by !== undefined && { 'X-Bouncer-Actor': encodeURIComponent(by) }),
          ...(body !== undefined && { 'Content-Type': 'application/json' }),
        },
        ...(body !== undefined && { body: JSON.stringify(body) }),
      })
    } catch (error) {
      const cause = causeOf(error)
      throw reads || NEVER_SENT.has(cause)
        ? new BouncerError('ERR_UNAVAILABLE', `cannot reach the control plane at ${base} (${cause})`)
        : noAnswer(base, cause)
    }
    if (response.status === 204) return undefined as T
    const text = await response.text().catch(() => undefined)
    if (text === undefined && !reads) throw noAnswer(base, 'it broke off')
    const answer = parse(text ?? '')
    if (response.ok && answer !== undefined) return answer as T
    const { code, detail } = (answer ?? {}) as { code?: ErrorCode; detail?: string }
    // What a control plane does not have it says with a code; another server, such as the data plane, knows none.
    if (code === undefined && (detail === undefined || response.status === 404 || response.status === 429)) {
      throw new BouncerError(
        'ERR_UNAVAILABLE',
        `${method} ${path} answered ${response.status}, which is no answer of a control plane: ${base} is something else`,
      )
    }
    throw new BouncerError(code ?? CODES[response.status] ?? 'ERR_UNAVAILABLE', detail ?? `answered ${response.status}`)
  }

  const part = encodeURIComponent
  return {
    status: () => call('GET', '/admin/status'),
    clients: async query => (await call<{ clients: [] }>('GET', '/admin/clients', { query })).clients,
    client: client => call('GET', `/admin/clients/${part(client)}`),
    clientHistory: client => call('GET', `/admin/clients/${part(client)}/history`),
    stats: query => call('GET', '/admin/stats', { query }),
    explain: query => call('POST', '/admin/explain', { body: query, reads: true }),
    blocks: query => call('GET', '/admin/blocks', query && { query }),
    block: (body, { by }) => call('POST', '/admin/blocks', { body, by }),
    unblock: (client, options, { by, reason }) =>
      call('POST', `/admin/unblock/${part(client)}`, {
        body: { ...(reason !== undefined && { reason }), ...options },
        by,
      }),
    state: () => call('GET', '/admin/state'),
    putPolicy: (policy, expectedVersion, { by, reason }, confirmWithin) =>
      call('PUT', `/admin/policies/${part(String((policy as { id?: unknown } | null)?.id))}`, {
        body: { policy, expectedVersion, confirmWithin, reason },
        by,
      }),
    confirmPolicy: (id, { by }) => call('POST', `/admin/policies/${part(id)}/confirm`, { by }),
    policyHistory: async id =>
      (await call<{ history: PolicyRecord[] }>('GET', `/admin/policies/${part(id)}/history`)).history,
    rollbackPolicy: (id, version, { by, reason }) =>
      call('POST', `/admin/policies/${part(id)}/rollback`, { body: { version, reason }, by }),
    deletePolicy: (id, expectedVersion, { by, reason }) =>
      call('DELETE', `/admin/policies/${part(id)}`, { query: { expectedVersion, reason }, by }),
    putListEntry: (list, cidr, body, { by }) => call('PUT', `/admin/lists/${list}/${part(cidr)}`, { body, by }),
    deleteListEntry: (list, cidr, { by }) => call('DELETE', `/admin/lists/${list}/${part(cidr)}`, { by }),
    putSettings: (body, { by }) => call('PUT', '/admin/settings', { body, by }),
    keys: query => call('GET', '/admin/keys', { query }),
    key: key => call('GET', `/admin/keys/${part(key)}`),
    deleteKey: (key, { by }) => call('DELETE', `/admin/keys/${part(key)}`, { by }),
    events: query => call('GET', '/admin/events', { query }),
    audit: async query => (await call<{ audit: [] }>('GET', '/admin/audit', { query })).audit,
    seenBy: epoch => call('GET', '/admin/seen', { query: { epoch } }),
    diagnose: async () => (await call<{ diagnoses: [] }>('GET', '/admin/diagnose')).diagnoses,
  }
}

interface Call {
  readonly query?: Readonly<Record<string, string | number | undefined>>
  readonly body?: unknown
  readonly by?: string
  /** It changes nothing: without an answer nothing can have been done. */
  readonly reads?: boolean
}

/** Causes that mean that no connection came about. */
const NEVER_SENT = new Set(['connection refused', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH', 'EACCES'])

const noAnswer = (base: string, cause: string) =>
  new BouncerError(
    'ERR_UNAVAILABLE',
    `sent to the control plane at ${base}, but no answer came (${cause}): it may have been done`,
  )

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** `connection refused` rather than `fetch failed`. */
function causeOf(error: unknown): string {
  const { name, message, cause } = error as Error & { cause?: { code?: string; message?: string } }
  if (name === 'TimeoutError') return 'no answer in time'
  if (cause?.code === 'ECONNREFUSED') return 'connection refused'
  return cause?.code ?? cause?.message ?? message
}
