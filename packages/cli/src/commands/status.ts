import { deciding, formatRemaining } from '@api-bouncer/limiter/client'
import type { Status } from '@api-bouncer/limiter/contracts'
import type { CommandRoom } from '../command.ts'
import { count, rate } from '../numbers.ts'
import { type Column, columnsOf as fitOf, printOne, type Styles, table } from '../output.ts'
import { flow, fold, safe } from '../text.ts'
import { exact } from '../time.ts'

export const command: CommandRoom = {
  register(program, context) {
    program
      .command('status')
      .description('The store, the instances and what they do, in one look')
      .addHelpText('after', EXAMPLES)
      .action(async (_, command) => {
        const of = context(command)
        const status = await (await of.control()).status()
        const cells = { rows: status.instances, columns: columnsOf(status), lines: true }
        const text = (styles: Styles) => statusText(status, styles, of.now(), fitOf(of.stdout))
        printOne(of, status, styles => fold(text(styles), of.stdout.columns), cells)
      })
  },
}

const EXAMPLES = `
Examples
  bouncer status
  bouncer status -o json | jq .activeBlocks
  watch -n1 bouncer status`

type Instance = Status['instances'][number]

const columnsOf = ({ epoch }: Status): Column<Instance>[] => [
  {
    name: 'instance',
    value: ({ instance }) => instance,
    text: ({ instance, decides = true }) => (decides ? instance : `${instance} (control plane)`),
  },
  { name: 'version', value: ({ version }) => version, cut: 1 },
  {
    name: 'up',
    csv: 'uptime_s',
    value: ({ uptimeMs }) => Math.round(uptimeMs / 1000),
    text: ({ uptimeMs }) => formatRemaining(uptimeMs),
  },
  {
    name: 'req/s',
    csv: 'requests_per_second',
    value: at => at.requestsPerSecond,
    text: at => rate(at.requestsPerSecond),
    align: 'right',
  },
  {
    name: 'refused/s',
    csv: 'refused_per_second',
    value: at => at.refusedPerSecond,
    text: at => rate(at.refusedPerSecond),
    align: 'right',
  },
  {
    name: 'degraded',
    value: ({ degradedTotal }) => degradedTotal,
    text: ({ degradedTotal }) => (degradedTotal === undefined ? 'unknown' : String(degradedTotal)),
    align: 'right',
    style: ({ degradedTotal = 0 }, { bad }) => (degradedTotal > 0 ? bad : text => text),
  },
  {
    name: 'epoch',
    value: at => at.epoch,
    text: at => (at.epoch < epoch ? `${at.epoch} of ${epoch}` : String(at.epoch)),
    align: 'right',
    style: (at, { warn }) => (at.epoch < epoch ? warn : text => text),
  },
]

/** The answer first: how it stands; then instance by instance. */
export function statusText(status: Status, styles: Styles, now: number, fit?: number): string {
  const { store, instances, policies, activeBlocks, degradedDecisions, state } = status
  const latency = store.latencyMs === undefined ? '' : ` (${store.latencyMs.toFixed(1)} ms)`
  const clients = store.clients === undefined ? [] : [count(store.clients, 'client')]
  const alive = deciding(instances).length
  // While the store is away, who is alive is not known.
  const nobody = state === 'ok' && alive === 0
  const parts = [
    `${store.detail ? safe(store.detail) : store.kind}${latency}`,
    ...clients,
    ...(nobody ? [] : [count(alive, 'instance')]),
    // While the store is away a server knows neither.
    policies === undefined ? 'policies unknown' : count(policies, 'policy', 'policies'),
    activeBlocks === undefined ? 'blocks unknown' : count(activeBlocks, 'active block'),
  ]
  const ill = store.since === undefined ? 'degraded' : `degraded since ${exact(store.since, now)}`
  const word =
    state !== 'ok'
      ? styles.bad(ill)
      : nobody
        ? `store healthy · ${styles.warn('no instance is alive: nothing is limited')}`
        : styles.good('healthy')
  const head = `${flow([word, ...parts], fit, ' · ')}\n`
  const since =
    instances.length === 0
      ? 'of this server since it started; what the others decide is not known meanwhile'
      : 'since the instances started'
  const degraded =
    degradedDecisions > 0 ? `${count(degradedDecisions, 'decision')} made by the fail mode ${since}\n` : ''
  return `${head}${degraded}${instances.length > 0 ? `\n${table(instances, columnsOf(status), styles, fit)}` : ''}`
}
