import { deciding, formatRemaining } from '@api-bouncer/limiter/client'
import type { Status } from '@api-bouncer/limiter/contracts'
import type { CommandRoom } from '../command.ts'
import { count, rate } from '../numbers.ts'
import { type Column, columnsOf as fitOf, printOne, type Styles, table } from '../output.ts'
import { flow, fold, safe } from '../text.ts'
import { exact } from '../time.ts'
import { bytesText } from './key.ts'

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
    // The mark first: a narrow terminal cuts the end.
    text: ({ instance, decides = true }) => (decides ? instance : `control: ${instance}`),
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
  { name: 'decides', value: ({ decides = true }) => decides, csvOnly: true },
]

/** How many decide; without the store a server has heard of no other. */
export const instancesText = ({ instances, policies }: Status): string =>
  policies === undefined ? 'instances unknown' : count(deciding(instances).length, 'instance')

/** The answer first: how it stands; then instance by instance. */
export function statusText(status: Status, styles: Styles, now: number, fit?: number): string {
  const { store, instances, policies, activeBlocks, degradedDecisions, state } = status
  // The version has the name in it.
  const where = store.version ? store.detail?.replace(/^Redis\b/, store.version) : store.detail
  const latency = store.latencyMs === undefined ? '' : ` (${store.latencyMs.toFixed(1)} ms)`
  const clients = store.clients === undefined ? [] : [count(store.clients, 'client')]
  // While the store is away, who is alive is not known.
  const nobody = state === 'ok' && deciding(instances).length === 0
  const parts = [
    `${where ? safe(where) : store.kind}${latency}`,
    ...(store.memoryBytes === undefined ? [] : [bytesText(store.memoryBytes)]),
    ...clients,
    // While the store is away a server knows none of these.
    ...(nobody ? [] : [instancesText(status)]),
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
    policies === undefined
      ? 'of this server since it started; what the others decide is not known meanwhile'
      : 'since the instances started'
  const degraded =
    degradedDecisions > 0 ? `${count(degradedDecisions, 'decision')} made by the fail mode ${since}\n` : ''
  return `${head}${degraded}${instances.length > 0 ? `\n${table(instances, columnsOf(status), styles, fit)}` : ''}`
}
