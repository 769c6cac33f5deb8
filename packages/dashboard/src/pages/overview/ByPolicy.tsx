import { Anchor, Table, Text } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { Link } from 'wouter'
import { control, keys } from '../../api.ts'
import { Answer } from '../../components/Answer.tsx'
import { Panel } from '../../components/Panel.tsx'
import { useLive } from '../../live.ts'
import { percent, rate } from '../../numbers.ts'
import { RECENT, recentOf, sumRecent } from '../../recent.ts'

/** Stands in for a policy where none applied. */
const NO_POLICY = '-'

/** Every policy: its rate, and what share it refuses; and all together, which is what the tiles say. */
export function ByPolicy() {
  const state = useQuery({ queryKey: keys.state, queryFn: () => control.state() })
  const frames = useLive(live => live.frames)
  const all = recentOf(frames)
  const none = sumRecent(frames, NO_POLICY)
  return (
    <Panel title="By policy" id="by-policy" tools={<Text size="xs" c="dimmed">{`mean of the last ${RECENT} s`}</Text>}>
      <Answer of={state} what="the policies">
        {({ policies }) => (
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
                        <Anchor
                          component={Link}
                          href={`/policies/${encodeURIComponent(id)}`}
                          size="sm"
                          className="foreign"
                        >
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
                {(none.perSecond ?? 0) > 0 && (
                  <Table.Tr>
                    <Table.Td c="dimmed">none applies</Table.Td>
                    <Table.Td />
                    <Table.Td ta="right">{rate(none.perSecond)}</Table.Td>
                    <Table.Td ta="right">{percent(none.refused)}</Table.Td>
                  </Table.Tr>
                )}
              </Table.Tbody>
              {policies.length > 0 && (
                <Table.Tfoot>
                  <Table.Tr>
                    <Table.Th colSpan={2}>all requests</Table.Th>
                    <Table.Th ta="right">{rate(all.perSecond)}</Table.Th>
                    <Table.Th ta="right">{percent(all.refused)}</Table.Th>
                  </Table.Tr>
                </Table.Tfoot>
              )}
            </Table>
            {policies.length === 0 && (
              <Text size="sm" c="dimmed">
                No policy: nothing is limited.
              </Text>
            )}
          </div>
        )}
      </Answer>
    </Panel>
  )
}
