import type { LiveFrame, OutcomeCounts } from '@api-bouncer/limiter/contracts'
import { Anchor, Table, Text } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { Link } from 'wouter'
import { control, keys } from '../../api.ts'
import { Panel } from '../../components/Panel.tsx'
import { useLive } from '../../live.ts'
import { percent, rate } from '../../numbers.ts'
import { hitRate, tallyOf, totalOf } from '../../outcomes.ts'

const RECENT = 10

/** What a policy did in the last seconds; a shadow policy: what it would have. */
export function sumRecent(frames: readonly LiveFrame[], policy: string) {
  const recent = frames.slice(-RECENT)
  const seconds = recent.reduce((sum, { spanMs }) => sum + spanMs / 1000, 0)
  const sum: Record<string, number> = {}
  for (const frame of recent) {
    for (const [outcome, n] of Object.entries(frame.policies[policy] ?? {}))
      sum[outcome] = (sum[outcome] ?? 0) + (n as number)
  }
  const counts = sum as OutcomeCounts
  const tally = tallyOf(counts)
  const tried = (counts['shadow-allowed'] ?? 0) + (counts['shadow-limited'] ?? 0)
  return {
    perSecond: seconds === 0 ? 0 : (totalOf(tally) + tried) / seconds,
    refused: hitRate(tally),
    wouldRefuse: tried === 0 ? undefined : (counts['shadow-limited'] ?? 0) / tried,
  }
}

/** Every policy: its rate, and what share it refuses. */
export function ByPolicy() {
  const state = useQuery({ queryKey: keys.state, queryFn: () => control.state() })
  const frames = useLive(live => live.frames)
  const policies = state.data?.policies ?? []
  return (
    <Panel title="By policy" id="by-policy">
      <div className="scroll">
        <Table verticalSpacing={5} fz="sm" aria-label="policies">
          <Table.Thead>
            <Table.Tr>
              <Table.Th>Policy</Table.Th>
              <Table.Th>Mode</Table.Th>
              <Table.Th ta="right">/s</Table.Th>
              <Table.Th ta="right">Refused</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {policies.map(({ policy: { id, mode } }) => {
              const { perSecond, refused, wouldRefuse } = sumRecent(frames, id)
              return (
                <Table.Tr key={id}>
                  <Table.Td maw={200}>
                    <Anchor component={Link} href={`/policies/${encodeURIComponent(id)}`} size="sm" className="foreign">
                      {id}
                    </Anchor>
                  </Table.Td>
                  <Table.Td>{mode}</Table.Td>
                  <Table.Td ta="right">{rate(perSecond)}</Table.Td>
                  <Table.Td ta="right">
                    {mode === 'shadow' ? `would: ${percent(wouldRefuse)}` : percent(refused)}
                  </Table.Td>
                </Table.Tr>
              )
            })}
          </Table.Tbody>
        </Table>
        {state.isSuccess && policies.length === 0 && (
          <Text size="sm" c="dimmed">
            No policy: nothing is limited.
          </Text>
        )}
        {state.isError && (
          <Text size="sm" c="dimmed">
            Policies are not known: {state.error.message}
          </Text>
        )}
      </div>
    </Panel>
  )
}
