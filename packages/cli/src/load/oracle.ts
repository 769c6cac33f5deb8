import { own } from '@api-bouncer/limiter/client'
import type { ControlState } from '@api-bouncer/limiter/contracts'
import { compileRules } from '@api-bouncer/limiter/rules'
import { type Band, bandOfAnswered, type CompiledPolicy } from './band.ts'
import { addressOf } from './clients.ts'
import { ADMITTED, NEVER_SENT, type TraceData, UNANSWERED } from './trace.ts'

/** What is known of the limiter: its control state, and what its servers make of policies that name no algorithm. */
export interface Known {
  readonly state: ControlState
  /** By policy id. */
  readonly algorithms: Readonly<Record<string, string>>
}

/** What decides about the requests of one run. */
export interface Law {
  readonly policy: CompiledPolicy | undefined
  /** On the allowlist or the denylist for the whole run; `unsure`: an entry began to hold or ceased to. */
  listed(address: string): 'allow' | 'deny' | 'unsure' | undefined
}

/** The store's clock less ours, µs: somewhere between these two. */
export interface ClockOffset {
  readonly low: number
  readonly high: number
}

export interface ClientVerdict extends Band {
  readonly client: string
  readonly sent: number
  readonly admitted: number
}

export interface Verdict extends Band {
  readonly agrees: boolean
  readonly admitted: number
  /** Those outside their band, the worst first. */
  readonly wrong: readonly ClientVerdict[]
}

/** What the oracle has to say, or why it has nothing to say. */
export type OracleReport =
  | ({ readonly verdict: 'agrees' | 'disagrees'; readonly law: string } & Omit<Verdict, 'agrees'>)
  | { readonly verdict: 'none'; readonly reason: string }

/** Reading a clock and being scheduled take their time: an effect is looked for so much before and after, µs. */
const TOLERANCE_US = 1000

/**
 * The law from `start` to `end` (epoch ms); `undefined` when it changed meanwhile (a change that nobody confirmed went back).
 */
export function lawOf(known: Known, method: string, path: string, start: number, end: number): Law | undefined {
  const policies = known.state.policies.map(record => ({
    ...record,
    policy: withAlgorithm(record.policy, known),
    ...(record.revert && {
      revert: { ...record.revert, policy: record.revert.policy && withAlgorithm(record.revert.policy, known) },
    }),
  }))
  const rulesAt = (now: number) =>
    compileRules({ ...known.state, policies }, { algorithm: 'sliding_window', failMode: 'open' }, now)
  const [before, after] = [rulesAt(start), rulesAt(end)]
  const [policy, later] = [before.table.match(method, path), after.table.match(method, path)]
  if (JSON.stringify(policy?.source) !== JSON.stringify(later?.source)) return undefined
  const listedAt = (address: string, at: number) =>
    before.allow.find(address, at) ? 'allow' : before.deny.find(address, at) ? 'deny' : undefined
  return {
    policy,
    listed(address) {
      const first = listedAt(address, start)
      return first === listedAt(address, end) ? first : 'unsure'
    },
  }
}

type Policy = ControlState['policies'][number]['policy']

function withAlgorithm(policy: Policy, { algorithms }: Known): Policy {
  const algorithm = policy.algorithm ?? (own(algorithms, policy.id) as Policy['algorithm'])
  return algorithm === undefined ? policy : { ...policy, algorithm }
}

/**
 * Compares what was admitted with what had to be, client by client: every request took effect somewhere between when it was
 * sent and when its answer began, and before the run no client was known.
 */
export function judge({ policy, listed }: Law, trace: TraceData, clock: ClockOffset): Verdict {
  // Only a counter whose windows stand at fixed times of day cares what time it is; to the others only differences matter.
  const { low, high } = policy?.algorithm.id === 'sliding_window_counter' ? clock : { low: 0, high: 0 }
  const fromOf = (i: number) => Math.floor((trace.sentAt[i] as number) + low - TOLERANCE_US)
  const toOf = (i: number) => Math.ceil((trace.answeredAt[i] as number) + high + TOLERANCE_US)
  const end = Math.ceil(trace.endedAt + high + TOLERANCE_US)

  const verdicts = [...byClient(trace)].map(([index, requests]): ClientVerdict => {
    const client = addressOf(index)
    const ascending = (a: number, b: number) => a - b
    const answered = requests.filter(i => trace.outcome[i] !== UNANSWERED)
    const admitted = answered.filter(i => trace.outcome[i] === ADMITTED).length
    const made = { client, sent: requests.length, admitted }
    const list = listed(client)
    if (list === 'unsure') return { ...made, least: 0, most: answered.length }
    if (list === 'deny') return { ...made, least: 0, most: 0 }
    if (list === 'allow' || !policy) return { ...made, least: answered.length, most: answered.length }
    const band = bandOfAnswered(
      policy,
      { from: answered.map(fromOf).sort(ascending), to: answered.map(toOf).sort(ascending) },
      requests.filter(i => trace.outcome[i] === UNANSWERED).map(fromOf),
      end,
    )
    return { ...made, ...band }
  })
  const sum = (of: (one: ClientVerdict) => number) => verdicts.reduce((total, one) => total + of(one), 0)
  const off = ({ admitted, least, most }: ClientVerdict) => Math.max(least - admitted, admitted - most, 0)
  const wrong = verdicts.filter(one => off(one) > 0).sort((a, b) => off(b) - off(a))
  return {
    agrees: wrong.length === 0,
    admitted: sum(one => one.admitted),
    least: sum(one => one.least),
    most: sum(one => one.most),
    wrong,
  }
}

/** Indices of what was sent, by client. */
function byClient({ count, client, outcome }: TraceData): Map<number, number[]> {
  const clients = new Map<number, number[]>()
  for (let i = 0; i < count; i++) {
    if (outcome[i] === NEVER_SENT) continue
    const index = client[i] as number
    const known = clients.get(index)
    if (known) known.push(i)
    else clients.set(index, [i])
  }
  return clients
}
