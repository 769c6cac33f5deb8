import { List, Stack, Table, Text } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { control, every, keys } from '../../api.ts'
import { bouncer } from '../../commands.ts'
import { Answer, Unknown } from '../../components/Answer.tsx'
import { CommandLine } from '../../components/CommandLine.tsx'
import { PageHead } from '../../components/PageHead.tsx'
import { Panel } from '../../components/Panel.tsx'
import { disarm } from '../../foreign.ts'
import { newestFrame, useLive } from '../../live.ts'
import { bytes, count, millis, rate } from '../../numbers.ts'
import { clockTime, span } from '../../time.ts'

const MARKS = {
  ok: ['●', 'var(--mantine-color-teal-6)'],
  warning: ['▲', 'var(--limited)'],
  problem: ['■', 'var(--blocked)'],
  unknown: ['○', 'var(--mantine-color-dimmed)'],
} as const

/** The instances, the store, and what a doctor finds. */
export default function Fleet() {
  const frame = useLive(newestFrame)
  const status = useQuery({ queryKey: keys.status, queryFn: () => control.status(), refetchInterval: every(5000) })
  const doctor = useQuery({ queryKey: keys.doctor, queryFn: () => control.diagnose(), refetchInterval: every(60_000) })
  const instances = frame?.instances ?? status.data?.instances ?? []
  const epoch = frame?.epoch ?? status.data?.epoch ?? 0
  const store = frame?.store ?? status.data?.store
  const versions = new Set(instances.map(({ version }) => version))
  return (
    <>
      <PageHead title="Fleet">
        <CommandLine command={bouncer(['status'])} />
      </PageHead>
      <Stack gap={10}>
        <Panel title="Store">
          {store && (
            <Text size="sm">
              {store.state === 'ok' ? 'answers' : 'degraded'} · {disarm(store.detail ?? store.kind)}
              {store.latencyMs !== undefined && ` · ${millis(store.latencyMs)}`}
              {status.data?.store.version !== undefined && ` · ${disarm(status.data.store.version, 80)}`}
              {status.data?.store.memoryBytes !== undefined && ` · ${bytes(status.data.store.memoryBytes)} in use`}
              {status.data?.store.clients !== undefined && ` · ${count(status.data.store.clients)} clients remembered`}
              {store.since !== undefined && ` · since ${clockTime(store.since)}`}
            </Text>
          )}
          <Answer of={status} what="how many policies and blocks there are">
            {({ policies = 'unknown', activeBlocks = 'unknown', degradedDecisions, dataPlane = 'off here' }) => (
              <Text size="sm" c="dimmed">
                {policies} policies · {activeBlocks} active blocks · {count(degradedDecisions)} decisions by a fail mode
                since the instances started · data plane {dataPlane}
              </Text>
            )}
          </Answer>
        </Panel>
        <Panel title="Instances">
          {versions.size > 1 && (
            <Text size="sm" mb={4}>
              {versions.size} versions side by side: {[...versions].join(', ')}.
            </Text>
          )}
          <div className="scroll">
            <Table fz="sm" miw={640} aria-label="instances">
              <Table.Thead>
                <Table.Tr>
                  <Table.Th>Instance</Table.Th>
                  <Table.Th>Version</Table.Th>
                  <Table.Th ta="right">Up</Table.Th>
                  <Table.Th ta="right">Requests/s</Table.Th>
                  <Table.Th ta="right">Refused/s</Table.Th>
                  <Table.Th ta="right">Degraded</Table.Th>
                  <Table.Th ta="right">Epoch</Table.Th>
                </Table.Tr>
              </Table.Thead>
              <Table.Tbody>
                {instances.map(one => (
                  <Table.Tr key={one.instance}>
                    <Table.Td>
                      <span className="mono">{disarm(one.instance, 80)}</span>
                      {one.decides === false && ' (control plane, decides no request)'}
                    </Table.Td>
                    <Table.Td>{disarm(one.version, 40)}</Table.Td>
                    <Table.Td ta="right">{span(one.uptimeMs)}</Table.Td>
                    <Table.Td ta="right">{rate(one.requestsPerSecond)}</Table.Td>
                    <Table.Td ta="right">{rate(one.refusedPerSecond)}</Table.Td>
                    <Table.Td ta="right">
                      {one.degradedTotal === undefined ? 'unknown' : count(one.degradedTotal)}
                    </Table.Td>
                    <Table.Td ta="right">
                      {one.epoch}
                      {one.epoch < epoch && ` (${epoch - one.epoch} behind)`}
                    </Table.Td>
                  </Table.Tr>
                ))}
              </Table.Tbody>
            </Table>
          </div>
          {instances.length > 0 && store?.state === 'degraded' && (
            <Text size="sm" mb={4} role="status">
              <b>Unknown: other instances.</b> They are heard of through the store, which gives no answer.
            </Text>
          )}
          {instances.length === 0 && (
            <Text size="sm" role="status">
              <b>Unknown.</b>{' '}
              {store
                ? 'No instance has told of itself: while the store gives no answer they are not known.'
                : 'Nothing has come from the control plane yet.'}
            </Text>
          )}
        </Panel>
        <Panel title="What a doctor finds" id="doctor" tools={<CommandLine command={bouncer(['doctor'])} />}>
          <Unknown of={doctor} what="what a doctor finds" />
          <List size="sm" listStyleType="none" spacing={4}>
            {(doctor.data ?? []).map(({ about, verdict, says, mend }) => (
              <List.Item key={about}>
                <span aria-hidden style={{ color: MARKS[verdict][1] }}>
                  {MARKS[verdict][0]}
                </span>{' '}
                <b>{about}</b> {verdict === 'ok' ? '' : `${verdict}: `}
                {disarm(says, 400)}
                {mend !== undefined && (
                  <Text size="sm" c="dimmed">
                    {disarm(mend, 400)}
                  </Text>
                )}
              </List.Item>
            ))}
          </List>
          {doctor.data?.length === 0 && (
            <Text size="sm" c="dimmed">
              Nothing to look at: the store is embedded in this process.
            </Text>
          )}
        </Panel>
      </Stack>
    </>
  )
}
