import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Block, BlockPage, PolicyRecord, Status, UnblockResult } from '@api-bouncer/limiter'
import { ALGORITHMS } from '@api-bouncer/limiter'
import { type Bench, fixed, goal, type Section, whole } from '../harness.ts'
import { BenchRedis } from '../redis.ts'
import type { Calls } from './apis.ts'
import { type Answered, balance, drain, type Instance, startInstance, until } from './balanced.ts'
import { account, Follower } from './told.ts'
import { clientsOf } from './traffic.ts'

/** An earlier version of the limiter, packed as a registry has it: see the README beside it. */
const EARLIER = { version: '0.0.1', file: new URL('../../earlier/api-bouncer-limiter-0.0.1.tgz', import.meta.url) }

const INSTANCES = 3
const LIMIT = 100
/** The penalty's threshold: so often a client is told that it is over its limit, by all instances together. */
const VIOLATIONS = 5
/**
 * Units an hour of the policies that are tried beside the load, one an algorithm; none comes back meanwhile. A whole number of
 * µs a unit: the earlier gcra keeps no fraction of one.
 */
const TRIED = 9
/** Longer than an instance refuses a client it knows to be blocked without asking: who is let back in then stays so. */
const STICKS_MS = 1500

const POLICIES = [
  { id: 'default', match: '*', limits: [{ limit: LIMIT, window: '1h' }] },
  ...ALGORITHMS.map(algorithm => ({
    id: algorithm,
    match: `/${algorithm}`,
    algorithm,
    limits: [{ limit: TRIED, window: '1h' }],
    failMode: 'local' as const,
    penalty: false as const,
  })),
]

const ann = { by: 'ann' }

interface Versioned extends Instance {
  readonly version: string
}

/** Unpacked where its dependencies resolve to those of the project. */
function unpack(): { limiter: string; folder: string } {
  const dist = fileURLToPath(new URL('../../dist/', import.meta.url))
  mkdirSync(dist, { recursive: true })
  const folder = mkdtempSync(`${dist}earlier-`)
  execFileSync('tar', ['-xzf', fileURLToPath(EARLIER.file), '-C', folder])
  return { limiter: `${folder}/package/dist/index.js`, folder }
}

/** What operators do through instances of both versions, and what all instances make of it; `fleet` may change meanwhile. */
class Operators {
  /** From when a change was asked for until all instances went by it, ms. */
  readonly waits: number[] = []
  /** What was asked beside the load. */
  readonly asked: Answered[] = []
  /** Of what should not be, in words: an algorithm that admits another number than its limit, … */
  readonly miscounted: string[] = []
  /** … a client that was let back in and is refused again, or listed still, … */
  readonly returned: string[] = []
  /** … and an unblock that not every instance confirms. */
  readonly unconfirmed: string[] = []
  private readonly fleet: readonly Versioned[]
  private readonly versions = new Map<string, number>()
  private turn = 0

  constructor(fleet: readonly Versioned[]) {
    this.fleet = fleet
  }

  /** `one` makes what `other`, of another version, goes on from. */
  async change(one: Versioned, other: Versioned): Promise<void> {
    const who = `${one.version} and then ${other.version}`
    const client = `203.0.113.${++this.turn}`
    const isStatus = (expected: number) => (answer: Answered) => answer.status === expected
    await this.act(one, ['block', { client, for: '1h' }, ann], client, isStatus(429))
    const lifted = (await this.act(other, ['unblock', client, {}, ann], client, isStatus(200))) as UnblockResult
    // Only the present version says who has seen it.
    const { seen, of } = lifted.seenBy ?? { seen: INSTANCES, of: INSTANCES }
    if (seen !== INSTANCES || of !== INSTANCES) this.unconfirmed.push(`${who}: an unblock seen by ${seen} of ${of}`)

    const cidr = `198.18.${this.turn}.0/24`
    const listed = cidr.replace('0/24', '7')
    await this.act(one, ['putListEntry', 'deny', cidr, {}, ann], listed, isStatus(403))
    await this.act(other, ['deleteListEntry', 'deny', cidr, ann], listed, isStatus(200))

    const id = `of-${one.version}`
    for (const by of [one, other]) {
      const limit = LIMIT + this.waits.length
      const policy = { id, match: `/${id}`, limits: [{ limit, window: '1h' }] }
      // The present version's has a field that the earlier one does not know.
      const confirmWithin = one.version !== EARLIER.version && by === one ? ['1h'] : []
      const version = this.versions.get(id) ?? 0
      const put: Parameters<Calls['operate']> = ['putPolicy', policy, version, ann, ...confirmWithin]
      const record = await this.act(by, put, client, answer => answer.limit === limit, policy.match)
      this.versions.set(id, (record as PolicyRecord).version)
    }

    await sleep(STICKS_MS)
    for (const { status, instance } of await this.ask(client)) {
      if (status !== 200) this.returned.push(`${who}: ${instance} refuses again whom an operator let back in`)
    }
    const page = (await one.worker.call('operate', 'blocks')) as BlockPage | Block[]
    const blocks = Array.isArray(page) ? page : page.blocks
    if (blocks.some(block => block.client === client)) this.returned.push(`${who}: a block is listed that was lifted`)
  }

  /** A newcomer asks each in turn for twice as much as each algorithm admits. */
  async count(): Promise<void> {
    const client = `203.0.114.${++this.turn}`
    for (const algorithm of ALGORITHMS) {
      const answers: Answered[] = []
      while (answers.length < 2 * TRIED) answers.push(...(await this.ask(client, `/${algorithm}`)))
      const admitted = answers.filter(({ status }) => status === 200).length
      if (admitted !== TRIED) this.miscounted.push(`${algorithm} admits ${admitted} of ${TRIED}`)
    }
  }

  private async ask(client: string, path?: string): Promise<Answered[]> {
    const answers = await Promise.all(
      this.fleet.map(async ({ clients, name }) => ({
        ...(await clients.get(client, performance.now(), path)),
        instance: name,
      })),
    )
    this.asked.push(...answers)
    return answers
  }

  /** An operator's change through one of them; waits until all go by it. */
  private async act(
    { worker }: Versioned,
    change: Parameters<Calls['operate']>,
    client: string,
    holds: (answer: Answered) => boolean,
    path?: string,
  ): Promise<unknown> {
    const [made, wait] = await Promise.all([
      worker.call('operate', ...change),
      until(async () => (await this.ask(client, path)).every(holds)),
    ])
    this.waits.push(wait)
    return made
  }
}

async function run({ quick, seed, log }: Parameters<Bench['run']>[0]): Promise<Section> {
  const rps = quick ? 150 : 500
  const { limiter, folder } = unpack()
  const redis = await BenchRedis.start()
  const where = redis.where as { host: string; port: number }
  const follower = await Follower.of(where)
  const { version } = await follower.control.status()
  let born = 0
  const start = async (isEarlier: boolean): Promise<Versioned> => {
    const instance = await startInstance(`api-${++born}`, {
      api: 'ours, open',
      // How long a busy machine takes is not what is tried here.
      redis: { ...where, deadline: '2s' },
      limit: LIMIT,
      options: { policies: POLICIES },
      ...(isEarlier && { limiter }),
    })
    // The balancer has it when the fleet shows it.
    return Object.assign(instance, { serving: false, version: isEarlier ? EARLIER.version : version })
  }
  const fleet = await Promise.all(Array.from({ length: INSTANCES }, () => start(true)))
  const operators = new Operators(fleet)

  /** What each shows when it is asked itself is just these, with their versions. */
  const show = (instances: readonly Versioned[]) => async () => {
    const expected = instances.map(({ name, version }) => `${name} ${version}`).sort()
    for (const { worker } of instances) {
      const status = (await worker.call('operate', 'status')) as Status
      const shown = status.instances.map(({ instance, version }) => `${instance} ${version}`).sort()
      if (shown.join() !== expected.join()) return false
    }
    return true
  }
  const seen: number[] = []
  const complaints: string[] = []
  const hear = async ({ worker, name, version }: Versioned): Promise<void> => {
    const lines = [...(await worker.call('log')), ...(await worker.call('unhandled'))]
    const fine = /^Redis at \S+ answers; counting is shared/
    complaints.push(...lines.filter(line => !fine.test(line)).map(line => `${name} ${version}: ${line}`))
  }
  try {
    await until(show(fleet))
    for (const instance of fleet) instance.serving = true
    // The earlier version is replaced one by one, and put back in one place; or in all, and replaced again.
    const places = Array.from({ length: INSTANCES }, (_, place) => place)
    const replace = (isEarlier: boolean, some: readonly number[]) => some.map(place => ({ place, isEarlier }))
    const steps = quick
      ? [...replace(false, places), ...replace(true, [0])]
      : [...replace(false, places), ...replace(true, places), ...replace(false, [0, 1])]
    const { order, modest, greedy } = clientsOf({ limit: LIMIT, rps, seconds: steps.length * 7, seed })
    const traffic = balance(fleet, order)
    for (const { place, isEarlier } of steps) {
      const old = fleet[place] as Versioned
      await drain(old)
      await hear(old)
      await old.clients.close()
      await old.worker.stop()
      seen.push(await until(show(fleet.filter(one => one !== old))))
      const one = await start(isEarlier)
      fleet[place] = one
      seen.push(await until(show(fleet)))
      one.serving = true
      const other = fleet.find(({ version }) => version !== one.version)
      if (!other) continue
      await operators.change(one, other)
      await operators.change(other, one)
      await operators.count()
    }
    const replaced = performance.now()
    const answers = await traffic
    const loadBeyond = Math.max(...answers.map(({ due }) => due)) - replaced
    await sleep(2500)
    const blocked = (await follower.control.blocks()).total
    await follower.end()
    for (const instance of fleet) await hear(instance)
    // How many each has heard of shows when it must count for itself.
    await redis.stop()
    const shares = await Promise.all(
      fleet.map(async ({ clients }) => {
        let admitted = 0
        for (let i = 0; i < TRIED; i++) {
          const { status } = await clients.get('203.0.115.1', performance.now(), '/sliding_window')
          if (status === 200) admitted++
        }
        return admitted
      }),
    )

    const allowed = new Map<string, number>()
    for (const { client, status } of answers) {
      if (status === 200) allowed.set(client, (allowed.get(client) ?? 0) + 1)
    }
    const beyond = greedy.reduce((sum, one) => sum + Math.max(0, (allowed.get(one) ?? 0) - LIMIT), 0)
    const isModest = new Set(modest)
    const wronglyRefused = answers.filter(({ status, client }) => status === 429 && isModest.has(client)).length
    const all = [...answers, ...operators.asked]
    const errors = all.filter(({ status }) => status === 0 || status >= 500).length
    const alone = all.filter(({ outcome }) => outcome.startsWith('degraded')).length
    const limited = answers.filter(({ outcome }) => outcome === 'limited').length
    const told = account(
      all
        .filter(({ outcome }) => outcome === 'limited')
        .map(({ instance, client, due, waitMs }) => ({ instance, client, at: performance.timeOrigin + due + waitMs })),
      follower,
    )
    const slowest = Math.max(...seen)
    const inForce = Math.max(...operators.waits)
    const { miscounted, returned, unconfirmed } = operators
    for (const line of [...complaints, ...miscounted, ...returned, ...unconfirmed]) log(`  ${line}`)
    log(
      `  ${steps.length} replaced: fleet right after at most ${whole(slowest)} ms, changes after ${whole(inForce)} ms`,
    )
    const share = Math.floor(TRIED / INSTANCES)
    return {
      tables: [
        {
          title: `${INSTANCES} instances of ${EARLIER.version} and ${version}, ${rps} requests a second, ${steps.length} replaced`,
          columns: ['', ''],
          rows: [
            ['requests', whole(answers.length)],
            ['they go on after the last change for', `${fixed(1)(loadBeyond / 1000)} s`],
            ['refusals, and blocks set', `${whole(limited)}, ${whole(blocked)}`],
            ['answered without Redis', whole(alone)],
            ['every instance shows a start or a stop after, slowest', `${whole(slowest)} ms`],
            ['operators’ changes, half of them by the earlier version', whole(operators.waits.length)],
            ['in force on every instance after, slowest', `${whole(inForce)} ms`],
          ],
        },
      ],
      goals: [
        goal('5xx and requests without an answer', '0', whole(errors), errors === 0),
        goal('admitted beyond a limit', '0', whole(beyond), beyond === 0),
        goal('refused that might have passed', '0', whole(wronglyRefused), wronglyRefused === 0),
        goal(
          'clients over their limit that are blocked',
          whole(greedy.length),
          whole(blocked),
          blocked === greedy.length,
        ),
        goal(
          'refusals before that',
          `${VIOLATIONS} each`,
          fixed(2)(limited / greedy.length),
          limited === VIOLATIONS * greedy.length,
        ),
        goal('refusals that no event tells of', '0', whole(told.lost), told.lost === 0),
        goal(
          'refusals told of twice, or that were none',
          '0',
          whole(told.twice + told.surplus),
          told.twice + told.surplus === 0,
        ),
        goal(
          'the view of every instance, of either version, is right after',
          'at most 5 s',
          `${fixed(1)(slowest / 1000)} s`,
          slowest <= 5000,
        ),
        goal(
          'blocks, unblocks, lists and policies of either version are in force on all after',
          'at most 1 s',
          `${fixed(1)(inForce / 1000)} s`,
          inForce <= 1000,
        ),
        goal('let back in and refused again, or listed still', '0', whole(returned.length), returned.length === 0),
        goal('unblocks that not every instance confirms', '0', whole(unconfirmed.length), unconfirmed.length === 0),
        goal(
          'algorithms that admit another number than their limit',
          '0',
          whole(miscounted.length),
          miscounted.length === 0,
        ),
        goal(
          'without Redis each counts as one of',
          whole(INSTANCES),
          shares.map(one => fixed(1)(TRIED / one)).join(', '),
          shares.every(one => one === share),
        ),
        goal('logged but that Redis answers', '0', whole(complaints.length), complaints.length === 0),
      ],
      notes: [
        `The earlier version is the first that shared through Redis (46f989f, of 2026-11-23), packed as ${EARLIER.version}. Each that is replaced leaves the balancer first; the one in its place serves when every instance shows it. While both versions serve, one of each blocks, lists and makes policies, and the other one lets back in, takes off the list and goes on from that policy.`,
      ],
    }
  } finally {
    for (const { worker, clients } of fleet) {
      await clients.close()
      await worker.stop()
    }
    await redis.stop()
    rmSync(folder, { recursive: true })
  }
}

export const versions: Bench = { name: 'versions', title: 'Two versions side by side', run }
