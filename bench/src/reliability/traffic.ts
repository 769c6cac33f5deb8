import { monitorEventLoopDelay } from 'node:perf_hooks'
import { Pool } from 'undici'
import { random } from '../harness.ts'

export interface Sent {
  readonly client: string
  /** performance.now() at which it was due. */
  readonly due: number
  readonly waitMs: number
  /** HTTP status; 0 when there was no answer. */
  readonly status: number
  /** What ours says that it decided. */
  readonly outcome: string
}

export interface Plan {
  /** Units each client may have. */
  readonly limit: number
  readonly rps: number
  readonly seconds: number
  readonly seed: number
}

/** Who is not answered in this time never is. */
const PATIENCE_MS = 30_000

/**
 * Half of all requests come from clients that send just what they may, evenly; half from such that send twice as much. In an
 * order of chance, the same for all.
 */
export function clientsOf({ limit, rps, seconds, seed }: Plan): {
  order: string[]
  modest: string[]
  greedy: string[]
} {
  const half = (rps * seconds) / 2
  const name = (kind: number, i: number) => `198.51.${kind}.${i + 1}`
  const modest = Array.from({ length: Math.round(half / limit) }, (_, i) => name(100, i))
  const greedy = Array.from({ length: Math.round(half / (2 * limit)) }, (_, i) => name(200, i))
  const chance = random(seed)
  const spread = (client: string, requests: number) =>
    Array.from({ length: requests }, (_, i) => ({ client, at: (i + chance()) / requests }))
  const requests = [
    ...modest.flatMap(client => spread(client, limit)),
    ...greedy.flatMap(client => spread(client, 2 * limit)),
  ]
  return { order: requests.sort((a, b) => a.at - b.at).map(({ client }) => client), modest, greedy }
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
    let [status, outcome] = [0, '']
    try {
      const headers = { 'x-forwarded-for': client }
      const answer = await this.pool.request({ path, method: 'GET', headers })
      await answer.body.dump()
      status = answer.statusCode
      outcome = String(answer.headers['x-outcome'] ?? '')
    } catch {
      // Told by its status.
    }
    return { client, due, waitMs: performance.now() - due, status, outcome }
  }

  close(): Promise<void> {
    return this.pool.destroy()
  }
}

/** Sends at the times planned, whatever became of the requests before: who is slow is not spared. */
export async function send(
  clients: Clients,
  order: readonly string[],
  rps: number,
): Promise<{ sent: Sent[]; lagMs: number }> {
  const lag = monitorEventLoopDelay({ resolution: 1 })
  lag.enable()
  const started = performance.now()
  const under: Promise<Sent>[] = []
  await new Promise<void>(resolve => {
    const timer = setInterval(() => {
      const now = performance.now()
      while (under.length < order.length) {
        const due = started + (under.length * 1000) / rps
        if (due > now) return
        under.push(clients.get(order[under.length] as string, due))
      }
      clearInterval(timer)
      resolve()
    }, 2)
  })
  const sent = await Promise.all(under)
  lag.disable()
  return { sent, lagMs: lag.max / 1e6 }
}
