import type { ClientSummary } from '@api-bouncer/limiter/contracts'
import { SegmentedControl, Table, Text } from '@mantine/core'
import { Link } from 'wouter'
import { useCalm } from '../../calm.ts'
import { ClientLink } from '../../components/Client.tsx'
import { EmptyState } from '../../components/EmptyState.tsx'
import { Headroom } from '../../components/Headroom.tsx'
import { Panel } from '../../components/Panel.tsx'
import { newestFrame, useLive } from '../../live.ts'
import { count, rate } from '../../numbers.ts'
import { totalOf } from '../../outcomes.ts'
import { useSearchState } from '../../search.ts'
import { pointsOf } from './points.ts'
import { useRange } from './range.ts'

const NONE: readonly ClientSummary[] = []

/** No client is near anything in this second: who is kept out, or was there a while ago, may be. */
function Nobody() {
  const blocks = useLive(live => newestFrame(live)?.activeBlocks) ?? 0
  const frames = useLive(live => live.frames)
  const { range, history } = useRange()
  const to = frames.at(-1)?.at ?? 0
  const came = pointsOf(range, history.data, frames, to).some(({ rates }) => rates && totalOf(rates) > 0)
  const nobody = 'Nobody has asked for anything in this second.'
  if (blocks === 0 && !came) return <EmptyState what={`${nobody} Make some traffic:`} />
  return (
    <Text size="sm" role="status">
      {nobody}{' '}
      {blocks > 0 && (
        <Link href="/blocks" className="link">
          {count(blocks)} {blocks === 1 ? 'client is' : 'clients are'} blocked
        </Link>
      )}
    </Text>
  )
}

/** Who is nearest a limit, or busiest, `rows` of them. */
export function Busiest({ rows }: { rows: number }) {
  const [asked, select] = useSearchState('clients', 'nearest')
  const sort = asked === 'busiest' ? 'busiest' : 'nearest'
  const clients = useLive(live => newestFrame(live)?.[sort] ?? NONE)
  const store = useLive(live => newestFrame(live)?.store.state)
  const { calm, hold } = useCalm(clients, ({ client }) => client)
  return (
    <Panel
      title="Clients"
      id="clients"
      tools={
        <SegmentedControl
          size="xs"
          aria-label="clients by"
          data={[
            { label: 'nearest a limit', value: 'nearest' },
            { label: 'busiest', value: 'busiest' },
          ]}
          value={sort}
          onChange={select}
        />
      }
    >
      {calm.length === 0 && store !== 'ok' ? (
        <Text size="sm" role="status">
          <b>Unknown.</b>{' '}
          {store === undefined
            ? 'Nothing has come from the control plane yet.'
            : 'The store, which has the counters, gives no answer. They are shown as soon as it does.'}
        </Text>
      ) : calm.length === 0 ? (
        <Nobody />
      ) : (
        <div className="scroll" {...hold}>
          <Table
            verticalSpacing={5}
            fz="sm"
            aria-label={sort === 'nearest' ? 'clients nearest a limit' : 'busiest clients'}
          >
            <Table.Thead>
              <Table.Tr>
                <Table.Th>Client</Table.Th>
                <Table.Th>Policy</Table.Th>
                <Table.Th>Used</Table.Th>
                <Table.Th ta="right" title="requests in the last second">
                  Last s
                </Table.Th>
              </Table.Tr>
            </Table.Thead>
            <Table.Tbody>
              {calm.slice(0, rows).map(summary => (
                <Table.Tr key={summary.client}>
                  <Table.Td maw={160}>
                    <ClientLink client={summary.client} />
                  </Table.Td>
                  <Table.Td maw={90} className="foreign">
                    {summary.policy ?? '–'}
                  </Table.Td>
                  <Table.Td>
                    <Headroom summary={summary} />
                  </Table.Td>
                  <Table.Td ta="right">
                    <Text size="sm">{rate(summary.requestsPerSecond)}</Text>
                  </Table.Td>
                </Table.Tr>
              ))}
            </Table.Tbody>
          </Table>
        </div>
      )}
    </Panel>
  )
}
