import { play, tell } from '../src/benches/redis.ts'
import { BenchRedis } from '../src/redis.ts'
const mode = process.argv[2]
const c = mode === 'one' ? await BenchRedis.start() : await BenchRedis.cluster()
const peers = mode === 'one' ? ['rate-limiter-flexible','rate-limit-redis'] : ['rate-limiter-flexible']
const names = ['ours', ...(mode === 'one' ? ['ours, whole'] : []), ...peers, ...(mode === 'one' ? ['PING'] : [])]
const inFlights = (process.argv[3] ?? '64').split(',').map(Number)
try {
  const setups = Object.fromEntries(names.map(n => [n, {contender: n, limit: 100}]))
  const played = await play(c, setups as never, inFlights.map(inFlight => ({inFlight, clients: 1000, each: inFlight === 1 ? 10 : 60, rounds: 5})) as never, {generations:1, warm:2, seed:1} as never)
  for (const [i, p] of played.entries()) { console.log(inFlights[i] + ' in flight'); const t = tell('x', p as never, peers as never)
  for (const r of t.rows) console.log('  ' + r.join(' | ')) }
} finally { await c.stop() }
