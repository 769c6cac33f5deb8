import { type Bench, type Context, inWorker, median, type Section, whole } from '../harness.ts'
import type { Calls } from '../workers/memory-embedded.ts'

const OURS = ['sliding_window', 'sliding_window_counter', 'token_bucket', 'gcra', 'fixed_window'] as const
const PEERS = ['express-rate-limit', 'rate-limiter-flexible'] as const
const UNITS = [1, 50, 100] as const
const CLIENTS = 20_000
const FULL = 100_000

async function bytes(contender: string, clients: number, units: number, rounds: number): Promise<number> {
  const measured: number[] = []
  for (let round = 0; round < rounds; round++) {
    measured.push(
      await inWorker<Calls, number>('memory-embedded', { contender }, worker => worker.call('bytes', clients, units)),
    )
  }
  return median(measured)
}

const mebibytes = (bytes: number) => `${(bytes / 2 ** 20).toFixed(1)} MiB`

async function run({ quick, log }: Context): Promise<Section> {
  const rounds = quick ? 1 : 3
  const perClient: string[][] = []
  for (const contender of [...OURS, ...PEERS]) {
    const row: string[] = [contender]
    for (const units of UNITS) row.push(whole((await bytes(contender, CLIENTS, units, rounds)) / CLIENTS))
    perClient.push(row)
    log(`  ${row.join(', ')}`)
  }
  const full: string[][] = []
  for (const contender of ['bouncer', ...PEERS]) {
    const row = [contender === 'bouncer' ? 'ours, everything (default maxClients, sliding_window)' : contender]
    for (const units of [1, 10, 100]) row.push(mebibytes(await bytes(contender, FULL, units, 1)))
    full.push(row)
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
        title: `Memory of ${whole(FULL)} clients`,
        columns: ['', 'after 1 unit each', 'after 10', 'after 100'],
        rows: full,
      },
    ],
    goals: [],
    notes: [
      'Heap and buffers after forced garbage collections, in a fresh process a figure, median of three; the key is counted (an IPv4 address as a string of its own). A client of ours also has its place in the eviction order and room for violations, refusals and a block.',
      'sliding_window is exact: it keeps the time of every unit in the window. The peers keep a counter of a fixed window, as our fixed_window does. Ours never remembers more than `maxClients`; the peers have no bound within a window.',
      'rate-limiter-flexible arms a timer a client.',
    ],
  }
}

export const memoryEmbedded: Bench = { name: 'memory-embedded', title: 'Memory of the embedded store', run }
