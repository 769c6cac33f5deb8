import { Pool } from 'undici'
import { random } from '../harness.ts'
import { LagWatch, type Stall } from './lag.ts'

export interface Sent {
  readonly client: string
  /** performance.now() at which it was due. */
  readonly due: number
  readonly waitMs: number
  /** HTTP status; 0 when there was no answer. */
  readonly status: number
  /** What ours says that it decided. */
  readonly outcome: string
  /** The limit that the answer names. */
  readonly limit: number
}

/** A request to come. */
export interface Planned {
  readonly client: string
  /** From the beginning, s. */
  readonly at: number
}

export interface Plan {
  /** Units each client may have. */
  readonly limit: number
  readonly rps: number
  readonly seconds: number
  readonly seed: number
  /** One more client asks for twice what it may in this span, s, and at no other time. */
  readonly rush?: readonly [from: number, to: number]
}

/** The client that comes in a rush. */
export const RUSHING = '198.51.150.1'

/** Who is not answered in this time never is. */
const PATIENCE_MS = 30_000

/**
 * Half of all requests come from clients that send just what they may, evenly; half from such that send twice as much. In an
 * order of chance, the same for all.
 */
export function clientsOf({ limit, rps, seconds, seed, rush }: Plan): {
  order: Planned[]
  modest: string[]
  greedy: string[]
} {
  const half = (rps * seconds) / 2
  const name = (kind: number, i: number) => `198.51.${kind}.${i + 1}`
  const modest = Array.from({ length: Math.round(half / limit) }, (_, i) => name(100, i))
  const greedy = Array.from({ length: Math.round(half / (2 * limit)) }, (_, i) => name(200, i))
  const chance = random(seed)
  const spread = (client: string, requests: number, [from, to] = [0, seconds] as Plan['rush'] & {}) =>
    Array.from({ length: requests }, (_, i) => ({ client, at: from + ((i + chance()) / requests) * (to - from) }))
  const requests = [
    ...modest.flatMap(client => spread(client, limit)),
    ...greedy.flatMap(client => spread(client, 2 * limit)),
    ...(rush ? spread(RUSHING, 2 * limit, rush) : []),
  ]
  return { order: requests.sort((a, b) => a.at - b.at), modest, greedy: rush ? [...greedy, RUSHING] : greedy }
}

/** Asks the API on this port, as clients behind a proxy do. */
export class Clients {
  private readonly pool: Pool

  constructor(port: number) {
    this.pool = new Pool(`http://127.0.0.1:${port}`, {
      connections: 2000,
      headersTimeout: PATIENCE_MS,
      bodyTimeout: PATIENCE_MS,
    })
  }

  async get(client: string, due = performance.now(), path = '/api/data'): Promise<Sent> {
    let [status, outcome, limit] = [0, '', 0]
    try {
      const headers = { 'x-forwarded-for': client }
      const answer = await this.pool.request({ path, method: 'GET', headers })
      await answer.body.dump()
      status = answer.statusCode
      outcome = String(answer.headers['x-outcome'] ?? '')
      limit = Number(answer.headers['x-ratelimit-limit'] ?? 0)
    } catch {
      // Told by its status.
    }
    return { client, due, waitMs: performance.now() - due, status, outcome, limit }
  }

  close(): Promise<void> {
    return this.pool.destroy()
  }
}

/** Sends at the times planned, whatever became of the requests before: who is slow is not spared. */
export async function send(clients: Clients, order: readonly Planned[]): Promise<{ sent: Sent[]; stalls: Stall[] }> {
  const lag = new LagWatch()
  const started = performance.now()
  const under: Promise<Sent>[] = []
  await new Promise<void>(resolve => {
    const timer = setInterval(() => {
      const now = performance.now()
      while (under.length < order.length) {
        const { client, at } = order[under.length] as Planned
        const due = started + at * 1000
        if (due > now) return
        under.push(clients.get(client, due))
      }
      clearInterval(timer)
      resolve()
    }, 2)
  })
  const sent = await Promise.all(under)
  lag.close()
  // Whatever kept the sender, it is nothing that the API did.
  return { sent, stalls: [...lag.machine, ...lag.own] }
}
