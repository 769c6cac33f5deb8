import { type Bouncer, LATENCY_BUCKETS, OUTCOMES, version } from '@api-bouncer/limiter'
import { collectDefaultMetrics, type Metric, Registry } from 'prom-client'

interface Sample {
  readonly value: number
  readonly labels?: Readonly<Record<string, string | number>>
  /** Where it is not the family's own name: `…_bucket`, `…_sum`, `…_count`. */
  readonly metricName?: string
}

/**
 * The limiter's metrics, read when they are asked for: nothing is observed in a request's way. Labels take values from
 * small sets only: outcomes, and policy ids, which operators name and requests never do.
 */
export function createMetrics(bouncer: Bouncer, { node = true }: { node?: boolean } = {}): Registry {
  const registry = new Registry()
  const family = (name: string, type: 'counter' | 'gauge' | 'histogram', help: string, read: () => Reading) => {
    // What a registry wants of a metric; prom-client's own classes would keep a second copy of each number.
    const get = async () => ({ name, help, type, aggregator: 'sum', values: await read() })
    registry.registerMetric({ name, help, type, get, reset() {} } as unknown as Metric)
  }

  family('rate_limit_hits_total', 'counter', 'Requests decided, by policy ("-": none) and outcome', () =>
    outcomesOf(bouncer, OUTCOMES),
  )
  family(
    'rate_limit_shadow_hits_total',
    'counter',
    'What shadow policies would have done; part of no other count',
    () => outcomesOf(bouncer, ['shadow-allowed', 'shadow-limited']),
  )
  family('rate_limit_blocks_total', 'counter', 'Blocks that repeated violations have set', () => [
    { value: bouncer.totals().blocks },
  ])
  family('rate_limit_duration_seconds', 'histogram', 'Time taken to decide a request', () => durations(bouncer))
  family('rate_limit_store_up', 'gauge', '1 while the store answers, 0 while fail modes decide', () => [
    { value: Number(bouncer.health().state === 'ok') },
  ])
  family(
    'rate_limit_store_latency_seconds',
    'gauge',
    'Round trip of the last answer; none for the embedded store',
    () => {
      const { latencyMs } = bouncer.health()
      return latencyMs === undefined ? [] : [{ value: latencyMs / 1000 }]
    },
  )
  family('rate_limit_active_blocks', 'gauge', 'Clients blocked now; none while the store does not say', () =>
    bouncer.control.blocks().then(
      blocks => [{ value: blocks.length }],
      () => [],
    ),
  )
  family('api_bouncer_build_info', 'gauge', 'Always 1; what is running is in the labels', () => [
    { value: 1, labels: { version, node: process.version } },
  ])
  if (node) collectDefaultMetrics({ register: registry })
  return registry
}

type Reading = readonly Sample[] | Promise<readonly Sample[]>

type Counts = ReturnType<Bouncer['totals']>['policies'] extends ReadonlyMap<string, infer C> ? C : never

function outcomesOf(bouncer: Bouncer, outcomes: readonly (keyof Counts)[]): Sample[] {
  const samples: Sample[] = []
  for (const [policy, counts] of bouncer.totals().policies) {
    // A policy has the outcomes of requests or those of a trial; what never was is told only beside what was.
    if (outcomes.every(outcome => counts[outcome] === 0)) continue
    for (const outcome of outcomes) {
      samples.push({ value: counts[outcome], labels: { policy, outcome: outcome.replace('shadow-', '') } })
    }
  }
  return samples
}

function durations(bouncer: Bouncer): Sample[] {
  const { latency, latencySum } = bouncer.totals()
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
