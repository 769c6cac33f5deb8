import { type Bench, type Context, inWorker, type Section, whole } from '../harness.ts'
import type { Args, Calls } from '../workers/memory-embedded.ts'

const OURS = ['sliding_window', 'sliding_window_counter', 'token_bucket', 'gcra', 'fixed_window'] as const
export const PEERS = ['express-rate-limit', 'rate-limiter-flexible', '@fastify/rate-limit'] as const
const UNITS = [1, 100] as const
const CLIENTS = 20_000

/** In a fresh process a figure. */
export const bytes = (args: Args, units = 1): Promise<number> =>
  inWorker<Calls, number>('memory-embedded', args, worker => worker.call('bytes', units))

export const mebibytes = (bytes: number) => `${(bytes / 2 ** 20).toFixed(1)} MiB`

async function run({ quick, log }: Context): Promise<Section> {
  const perClient: string[][] = []
  for (const contender of [...OURS, ...PEERS]) {
    const measured = await Promise.all(UNITS.map(units => bytes({ contender, clients: CLIENTS }, units)))
    const row = [contender, ...measured.map(held => whole(held / CLIENTS))]
    perClient.push(row)
    log(`  ${row.join(', ')}`)
  }
  const crowds = [
    { clients: 100_000, units: 1 },
    { clients: 100_000, units: 10 },
    { clients: quick ? 200_000 : 1_000_000, units: 1 },
  ]
  const heaps: string[][] = []
  for (const contender of ['bouncer', ...PEERS]) {
    const measured = await Promise.all(crowds.map(({ clients, units }) => bytes({ contender, clients }, units)))
    const row = [contender === 'bouncer' ? 'ours, everything (sliding_window)' : contender, ...measured.map(mebibytes)]
    heaps.push(row)
    log(`  ${row.join(', ')}`)
  }
  return {
    tables: [
      {
        title: `Bytes a client, limit 100 a minute, ${whole(CLIENTS)} clients`,
        columns: ['', ...UNITS.map(units => `after ${units} unit${units === 1 ? '' : 's'}`)],
        rows: perClient,
      },
      {
        title: 'Heap of a server that remembers so many clients',
        columns: [
          '',
          ...crowds.map(({ clients, units }) => `${whole(clients)}, ${units} unit${units > 1 ? 's' : ''} each`),
        ],
        rows: heaps,
      },
    ],
    goals: [],
    notes: [
      'Heap and buffers after forced garbage collections, in a fresh process a figure; the key is counted (an IPv4 address as a string of its own). A client of ours also has its place in the eviction order and room for violations, refusals and a block.',
      'sliding_window is exact: it keeps the time of every unit in the window. The peers keep a counter of a fixed window, as our fixed_window does. Ours never remembers more than `maxClients` (100,000 by default, raised here for 1,000,000), @fastify/rate-limit not more than its `cache` (5,000 by default, raised here); the other peers have no bound within a window.',
      'rate-limiter-flexible arms a timer a client.',
    ],
  }
}

export const memoryEmbedded: Bench = { name: 'memory-embedded', title: 'Memory of the embedded store', run }
