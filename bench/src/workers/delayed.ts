import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { random } from '../harness.ts'

export interface Args {
  /** Most answers take so long, ms; one in twenty five times as long. */
  readonly delayMs: number
  readonly seed: number
}

export interface Calls {
  port(): number
  /** How long the answers since the last call really took, ms, by percentile. */
  took(): { p50: number; p99: number }
}

/** A server whose delays are known: what a load generator says of them can be checked. */
export default async function start({ delayMs, seed }: Args): Promise<Calls> {
  const chance = random(seed)
  let took: number[] = []
  const server = createServer((_, res) => {
    const started = performance.now()
    setTimeout(
      () => {
        took.push(performance.now() - started)
        res.end('ok')
      },
      delayMs * (chance() < 0.05 ? 5 : 1),
    )
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: () => (server.address() as AddressInfo).port,
    took() {
      const sorted = took.sort((a, b) => a - b)
      took = []
      const at = (share: number) => sorted[Math.floor(sorted.length * share)] ?? Number.NaN
      return { p50: at(0.5), p99: at(0.99) }
    },
  }
}
