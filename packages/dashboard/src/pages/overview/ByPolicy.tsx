import { Anchor, Table, Text } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { Link } from 'wouter'
import { control, keys } from '../../api.ts'
import { Panel } from '../../components/Panel.tsx'
import { useLive } from '../../live.ts'
import { percent, rate } from '../../numbers.ts'
import { sumRecent } from '../../recent.ts'

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
