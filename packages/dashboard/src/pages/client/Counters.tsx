import type { ClientDetail } from '@api-bouncer/limiter/contracts'
import { Anchor, Table, Text } from '@mantine/core'
import { Link } from 'wouter'
import { Countdown } from '../../components/Countdown.tsx'
import { Headroom } from '../../components/Headroom.tsx'
import { count } from '../../numbers.ts'
import { duration } from '../../time.ts'

/** What it has used of every limit, and when that comes back. */
export function Counters({ detail: { usage, at } }: { detail: ClientDetail }) {
  if (usage.length === 0) {
    return (
      <Text size="sm" c="dimmed">
        No policy is in force: nothing is counted.
      </Text>
    )
  }
  return (
    <div className="scroll">
      <Table style={{ whiteSpace: 'nowrap' }} fz="sm" verticalSpacing={5} horizontalSpacing={6} aria-label="counters">
        <Table.Thead>
          <Table.Tr>
            <Table.Th>Limit</Table.Th>
            <Table.Th>Used</Table.Th>
            <Table.Th style={{ whiteSpace: 'normal' }}>Next unit in</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {usage.flatMap(({ policy, mode, algorithm, limits }) =>
            limits.map(({ limit, perWindow, windowMs, remaining, resetAfterMs }) => {
              const used = limit - remaining
              return (
                <Table.Tr key={`${policy} ${windowMs}`}>
                  <Table.Td maw={140} className="foreign" title={algorithm}>
                    <Anchor component={Link} href={`/policies/${encodeURIComponent(policy)}`} size="sm">
                      {policy}
                    </Anchor>
                    {mode === 'shadow' && ' (shadow)'}
                    <br />
                    {count(perWindow ?? limit)} per {duration(windowMs)}
                    {perWindow !== undefined && ` (burst ${count(limit)})`}
                  </Table.Td>
                  <Table.Td>
                    <Headroom
                      summary={{ used, limit, state: remaining === 0 ? 'limited' : used * 2 > limit ? 'near' : 'ok' }}
                    />
                  </Table.Td>
                  <Table.Td>{used === 0 ? 'all there' : <Countdown until={at + resetAfterMs} over="now" />}</Table.Td>
                </Table.Tr>
              )
            }),
          )}
        </Table.Tbody>
      </Table>
    </div>
  )
}
