import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { openRedisControl } from '@api-bouncer/limiter'
import type { Redis } from 'ioredis'
import { startControlPlane, TOKEN } from '../control-plane.ts'
import {
  type Bench,
  type Context,
  fixed,
  type Goal,
  goalOf,
  interleave,
  inWorker,
  ratios,
  type Section,
  spread,
  type Table,
  whole,
} from '../harness.ts'
import { BenchRedis } from '../redis.ts'
import type { Args as Delayed, Calls as DelayedCalls } from '../workers/delayed.ts'

const BOUNCER = fileURLToPath(new URL('../../../packages/cli/bin/bouncer.js', import.meta.url))
const KEYS = 1_000_000
const BLOCKS = 10_000
const EMPTY = 'an empty `node`'
/** Through a server; those that only read, or leave no more than a line in the audit. */
const COMMANDS = [
  'status',
  'clients',
  'inspect 192.0.2.1',
  'explain 192.0.2.1',
  'events',
  'unblock 192.0.2.1',
  'block 192.0.2.2 --for 15m --reason bench',
  'blocks',
  'allow list',
  'deny list',
  'policy list',
  'policy get default',
  'doctor',
  'audit',
  'keys',
  'completion bash',
]
const UNBLOCK = '`bouncer unblock 192.0.2.1`'
/** µs: a call that takes longer keeps everybody else waiting. */
const SLOW_US = 10_000

/** Runs a program to its end: seconds, and what it printed. */
async function run(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<{ seconds: number; out: string }> {
  const started = performance.now()
  const child = spawn(process.execPath, args, {
    env: { PATH: process.env.PATH, HOME: process.env.HOME, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let out = ''
  child.stdout.setEncoding('utf8').on('data', text => {
    out += text
  })
  const [code] = await once(child, 'close')
  // What the doctor finds is no failure.
  if (code !== 0 && !(code === 1 && args.includes('doctor')))
    throw new Error(`node ${args.join(' ')} ended with ${code}`)
  return { seconds: (performance.now() - started) / 1000, out }
}

async function starts(
  url: string,
  redis: { host: string; port: number },
  { quick, log }: Context,
): Promise<{ table: Table; goals: Goal[] }> {
  const direct = `redis://${redis.host}:${redis.port}`
  const commands: Record<string, readonly string[]> = {
    [EMPTY]: ['-e', '0'],
    '`bouncer --version`': [BOUNCER, '--version'],
    [`${UNBLOCK}, straight on Redis`]: [BOUNCER, '--redis', direct, 'unblock', '192.0.2.1'],
    ...Object.fromEntries(
      COMMANDS.map(typed => [`\`bouncer ${typed}\``, [BOUNCER, '--url', url, ...typed.split(' ')]]),
    ),
  }
  const names = Object.keys(commands)
  const took = await interleave(names, quick ? 2 : 7, async name => {
    const { seconds } = await run(commands[name] as readonly string[], { BOUNCER_TOKEN: TOKEN })
    return seconds * 1000
  })
  const of = (name: string) => took[name] as number[]
  const ratio = (name: string) => ratios(of(name), of(EMPTY))
  const rows = names.map(name => [name, spread(of(name), whole), spread(ratio(name), fixed(2))])
  log(`  ${rows.map(([name, ms]) => `${name} ${ms} ms`).join('; ')}`)
  return {
    table: {
      title: 'From typing to the end of the process, through a server unless it says otherwise',
      columns: ['', 'ms', '× an empty `node`'],
      rows,
    },
    goals: [
      goalOf('`bouncer --version` against an empty node', 'at most', 1.5, ratio('`bouncer --version`')),
      goalOf('`bouncer unblock` through a server', 'at most', 2.5, ratio(UNBLOCK)),
      goalOf('`bouncer unblock` straight on Redis', 'at most', 3.5, ratio(`${UNBLOCK}, straight on Redis`)),
    ],
  }
}

/** Clients' counters, as the limiter writes them. */
async function fill(connection: Redis, keys: number): Promise<void> {
  const chunk = 20_000
  for (let from = 0; from < keys; from += chunk) {
    await connection.eval(
      `for i = ARGV[1], ARGV[1] + ARGV[2] - 1 do
  local key = string.format('api_bouncer:sliding_window:{10.%d.%d.%d}:default:60s', i / 65536, i / 256 % 256, i % 256)
  redis.call('RPUSH', key, '1795000000000000')
  redis.call('PEXPIRE', key, 3600000)
end`,
      0,
      from,
      chunk,
    )
  }
}

async function listings(
  url: string,
  redis: BenchRedis,
  { quick, log }: Context,
): Promise<{ table: Table; goals: Goal[] }> {
  const [connection] = redis.connections as [Redis]
  const keys = quick ? KEYS / 10 : KEYS
  await fill(connection, keys)
  const control = await openRedisControl(redis.where as { host: string; port: number })
  const waiting = Array.from({ length: BLOCKS }, (_, i) => `172.16.${i >> 8}.${i & 255}`)
  const lane = async () => {
    for (let client = waiting.pop(); client !== undefined; client = waiting.pop()) {
      await control.block({ client, for: '1h', reason: 'bench' }, { by: 'bench' })
    }
  }
  await Promise.all(Array.from({ length: 32 }, lane))
  await control.close()
  await connection.config('SET', 'slowlog-log-slower-than', String(SLOW_US))
  await connection.slowlog('RESET')
  const env = { BOUNCER_TOKEN: TOKEN }
  const commands = {
    '`bouncer keys`, first page': ['keys'],
    '`bouncer keys 10.7`': ['keys', '10.7'],
    '`bouncer blocks`': ['blocks'],
    '`bouncer status`': ['status'],
    '`bouncer clients`': ['clients'],
  } as const
  const names = Object.keys(commands) as (keyof typeof commands)[]
  const took = await interleave(names, quick ? 2 : 5, async name => {
    const { seconds } = await run([BOUNCER, '--url', url, ...commands[name]], env)
    return seconds * 1000
  })
  const slow = (await connection.slowlog('LEN')) as number
  const rows = names.map(name => [name, spread(took[name], whole)])
  log(`  ${rows.map(([name, ms]) => `${name} ${ms} ms`).join('; ')}; ${slow} slow calls`)
  return {
    table: {
      title: `${whole(keys)} keys and ${whole(BLOCKS)} blocks in Redis: from typing to the end`,
      columns: ['', 'ms'],
      rows: [...rows, [`calls of Redis above ${SLOW_US / 1000} ms meanwhile (SLOWLOG)`, whole(slow)]],
    },
    goals: [
      goalOf('The first page of `keys`', 'at most', 500, took['`bouncer keys`, first page'], ' ms'),
      goalOf(`\`blocks\` with ${whole(BLOCKS)} blocks`, 'at most', 500, took['`bouncer blocks`'], ' ms'),
      goalOf('Calls of Redis above 10 ms', 'at most', 0, [slow], ''),
    ],
  }
}

async function loads({ quick, seed, log }: Context): Promise<{ table: Table; goals: Goal[] }> {
  const rows: string[][] = []
  const goals: Goal[] = []
  const args: Delayed = { delayMs: 20, seed }
  await inWorker<DelayedCalls, void>('delayed', args, async server => {
    const target = `http://127.0.0.1:${await server.call('port')}/`
    for (const rps of [200, 2000]) {
      const asked = [
        'load',
        '--rps',
        String(rps),
        '--duration',
        quick ? '3s' : '10s',
        '--no-oracle',
        '-o',
        'json',
        target,
      ]
      await server.call('took')
      const { out } = await run([BOUNCER, ...asked])
      const { rps: made, sendLagMs, latencyMs, dropped } = JSON.parse(out)
      const real = await server.call('took')
      const off = (said: number, was: number) => Math.abs(said / was - 1) * 100
      rows.push([
        `${whole(rps)} rps`,
        fixed(1)(made),
        whole(dropped),
        fixed(2)(sendLagMs.p99),
        `${fixed(1)(latencyMs.p50)} (${fixed(1)(real.p50)})`,
        `${fixed(1)(latencyMs.p99)} (${fixed(1)(real.p99)})`,
      ])
      goals.push(
        goalOf(`load at ${whole(rps)} rps: off the rate that was asked for`, 'at most', 1, [off(made, rps)], ' %'),
        goalOf(`load at ${whole(rps)} rps: p99 of the send lag`, 'at most', 5, [sendLagMs.p99], ' ms'),
        goalOf(
          `load at ${whole(rps)} rps: percentiles off those of the server`,
          'at most',
          5,
          [Math.max(off(latencyMs.p50, real.p50), off(latencyMs.p99, real.p99))],
          ' %',
        ),
      )
      log(`  load: ${rows.at(-1)?.join(' · ')}`)
    }
    // Far above what one process can send: what comes is the most.
    const { out } = await run([
      ...[BOUNCER, 'load', '--rps', '20000', '--duration', '4s', '--no-oracle', '-o', 'json', target],
    ])
    rows.push(['as fast as it can (asked for 20,000)', fixed(0)(JSON.parse(out).rps), '', '', '', ''])
  })
  const columns = ['`bouncer load`', 'sent a second', 'dropped', 'send lag p99, ms', 'p50 ms (the server’s)', 'p99 ms']
  return {
    table: {
      title: 'bouncer load, 10 s, against a server that answers after 20 ms, one in twenty after 100',
      columns,
      rows,
    },
    goals,
  }
}

async function bench(context: Context): Promise<Section> {
  // From its bundle, as people run it.
  await run([
    '--import',
    import.meta.resolve('tsx'),
    fileURLToPath(new URL('../../../scripts/build-cli.ts', import.meta.url)),
  ])
  const redis = await BenchRedis.start()
  const where = redis.where as { host: string; port: number }
  const server = await startControlPlane(where)
  try {
    const started = await starts(server.url, where, context)
    const loaded = await loads(context)
    const listed = await listings(server.url, redis, context)
    return {
      tables: [started.table, listed.table, loaded.table],
      goals: [...started.goals, ...listed.goals, ...loaded.goals],
      notes: [
        'Whole processes, from their start to their end; the server is the control plane (`DATA_PLANE=off`) on the same Redis.',
        '`load`: the delays are timers, which come late; what the server itself measured stands in brackets. Load generator and server share the cores.',
      ],
    }
  } finally {
    await server.stop()
    await redis.stop()
  }
}

export const cli: Bench = { name: 'cli', title: 'The command line', run: bench }
