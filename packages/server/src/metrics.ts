import { type Bouncer, LATENCY_BUCKETS, OUTCOMES, type Totals, version } from '@api-bouncer/limiter'
import { collectDefaultMetrics, type Metric, Registry } from 'prom-client'

interface Sample {
  readonly value: number
  readonly labels?: Readonly<Record<string, string | number>>
  /** Where it is not the family's own name: `…_bucket`, `…_sum`, `…_count`. */
  readonly metricName?: string
}

type Answer<T> = T | Promise<T>

/** Whose counts and store are shown: a bouncer's, or those of all worker processes. */
export interface Measured {
  totals(): Answer<Totals>
  health(): Answer<ReturnType<Bouncer['health']>>
}

export interface MetricsOptions {
  /** Node's own metrics of this process, too. Default true. */
  readonly node?: boolean
  /** Default: the bouncer. */
  readonly measured?: Measured | undefined
  /** Of the control plane that is asked; absent: there is none. */
  readonly wrong?: { readonly total: number } | undefined
}

/**
 * The limiter's metrics, read when they are asked for: nothing is observed in a request's way. Labels take values from
 * small sets only: outcomes, and policy ids, which operators name and requests never do.
 */
export function createMetrics(
  bouncer: Bouncer,
  { node = true, measured = bouncer, wrong }: MetricsOptions = {},
): Registry {
  const registry = new Registry()
  const family = (name: string, type: 'counter' | 'gauge' | 'histogram', help: string, read: () => Reading) => {
    // What a registry wants of a metric; prom-client's own classes would keep a second copy of each number.
    const get = async () => ({ name, help, type, aggregator: 'sum', values: await read() })
    registry.registerMetric({ name, help, type, get, reset() {} } as unknown as Metric)
  }

  family('rate_limit_hits_total', 'counter', 'Requests decided, by policy ("-": none) and outcome', () =>
    outcomesOf(measured, OUTCOMES),
  )
  family(
    'rate_limit_shadow_hits_total',
    'counter',
    'What shadow policies would have done; part of no other count',
    () => outcomesOf(measured, ['shadow-allowed', 'shadow-limited']),
  )
  family('rate_limit_blocks_total', 'counter', 'Blocks that repeated violations have set', async () => [
    { value: (await measured.totals()).blocks },
  ])
  family('rate_limit_duration_seconds', 'histogram', 'Time taken to decide a request', () => durations(measured))
  family('rate_limit_store_up', 'gauge', '1 while the store answers, 0 while fail modes decide', async () => [
    { value: Number((await measured.health()).state === 'ok') },
  ])
  family(
    'rate_limit_store_latency_seconds',
    'gauge',
    'Round trip of the last answer; none for the embedded store',
    async () => {
      const { latencyMs } = await measured.health()
      return latencyMs === undefined ? [] : [{ value: latencyMs / 1000 }]
    },
  )
  family(
    'rate_limit_forgotten_clients_total',
    'counter',
    'Clients that the embedded store had to forget for others while something of them counted; none on Redis',
    async () => {
      const { forgotten } = await measured.health()
      return forgotten === undefined ? [] : [{ value: forgotten }]
    },
  )
  family(
    'rate_limit_active_blocks',
    'gauge',
    'Blocks in force, those that the allowlist wins over too; none while the store does not say',
    async () => {
      // A scrape does not wait for a store that is known to be away.
      if (bouncer.health().state !== 'ok') return []
      return bouncer.control.blocks({ limit: 1 }).then(
        ({ total }) => [{ value: total }],
        () => [],
      )
    },
  )
  if (wrong) {
    const help = 'Wrong admin tokens and sign-in codes sent to this control plane'
    family('api_bouncer_wrong_tokens_total', 'counter', help, () => [{ value: wrong.total }])
  }
  family('api_bouncer_build_info', 'gauge', 'Always 1; what is running is in the labels', () => [
    { value: 1, labels: { version, node: process.version } },
  ])
  if (node) collectDefaultMetrics({ register: registry })
  return registry
}

type Reading = Answer<readonly Sample[]>

type Counts = Totals['policies'] extends ReadonlyMap<string, infer C> ? C : never

async function outcomesOf(measured: Measured, outcomes: readonly (keyof Counts)[]): Promise<Sample[]> {
  const samples: Sample[] = []
  for (const [policy, counts] of (await measured.totals()).policies) {
    // A policy has the outcomes of requests or those of a trial; what never was is told only beside what was.
    if (outcomes.every(outcome => counts[outcome] === 0)) continue
    for (const outcome of outcomes) {
      samples.push({ value: counts[outcome], labels: { policy, outcome: outcome.replace('shadow-', '') } })
    }
  }
  return samples
}

async function durations(measured: Measured): Promise<Sample[]> {
  const { latency, latencySum } = await measured.totals()
  let sum = 0
  const buckets = latency.map((count, i): Sample => {
    sum += count
    return {
      metricName: 'rate_limit_duration_seconds_bucket',
      labels: { le: LATENCY_BUCKETS[i] ?? '+Inf' },
      value: sum,
    }
  })
  return [
    ...buckets,
    { metricName: 'rate_limit_duration_seconds_sum', value: latencySum },
    { metricName: 'rate_limit_duration_seconds_count', value: sum },
  ]
}
