import type { PolicyRecord } from '@api-bouncer/limiter/contracts'
import { Anchor, Button, Group, Modal, Stack, Text, TextInput } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { Link, useLocation } from 'wouter'
import { control, every, keys } from '../../api.ts'
import { bouncer } from '../../commands.ts'
import { Answer } from '../../components/Answer.tsx'
import { CommandLine } from '../../components/CommandLine.tsx'
import { type Column, DataTable } from '../../components/DataTable.tsx'
import { EmptyState } from '../../components/EmptyState.tsx'
import { PageHead } from '../../components/PageHead.tsx'
import { disarm } from '../../foreign.ts'
import { useLive } from '../../live.ts'
import { percent, rate } from '../../numbers.ts'
import { RECENT, sumRecent } from '../../recent.ts'
import { useSearchState } from '../../search.ts'
import { useReadOnly } from '../../session.ts'
import { clockTime } from '../../time.ts'
import { Pending } from './Pending.tsx'

const pathOf = (id: string) => `/policies/${encodeURIComponent(id)}`

function Rate({ id }: { id: string }) {
  const frames = useLive(live => live.frames)
  return <>{rate(sumRecent(frames, id).perSecond)}</>
}

function Refused({ record: { policy } }: { record: PolicyRecord }) {
  const frames = useLive(live => live.frames)
  const { refused, wouldRefuse } = sumRecent(frames, policy.id)
  return <>{policy.mode === 'shadow' ? `would: ${percent(wouldRefuse)}` : percent(refused)}</>
}

const columns: readonly Column<PolicyRecord>[] = [
  {
    id: 'id',
    title: 'Policy',
    cell: ({ policy: { id } }) => (
      <Anchor component={Link} href={pathOf(id)} size="sm">
        {id}
      </Anchor>
    ),
    sort: ({ policy }) => policy.id,
  },
  { id: 'mode', title: 'Mode', cell: ({ policy }) => policy.mode, sort: ({ policy }) => policy.mode, width: '90px' },
  {
    id: 'match',
    title: 'Where',
    cell: ({ policy: { match } }) => <span title={match.join('\n')}>{disarm(match.join(', '), 60)}</span>,
  },
  {
    id: 'limits',
    title: 'Limits',
    cell: ({ policy: { limits } }) => limits.map(({ limit, window }) => `${limit} per ${window}`).join(', '),
  },
  { id: 'rate', title: '/s', cell: ({ policy }) => <Rate id={policy.id} />, align: 'right', width: '80px' },
  { id: 'refused', title: 'Refused', cell: record => <Refused record={record} />, align: 'right', width: '130px' },
  {
    id: 'version',
    title: 'Version',
    cell: ({ version }) => `v${version}`,
    sort: ({ version }) => version,
    align: 'right',
    width: '80px',
  },
  {
    id: 'changed',
    title: 'Changed',
    cell: ({ updatedAt, updatedBy }) => `${clockTime(updatedAt)} by ${disarm(updatedBy, 30)}`,
    sort: ({ updatedAt }) => updatedAt,
  },
]

function NewDialog({ opened, onClose }: { opened: boolean; onClose: () => void }) {
  const [id, setId] = useState('')
  const [, go] = useLocation()
  const bad = id !== '' && !/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(id)
  return (
    <Modal opened={opened} onClose={onClose} title="New policy" closeButtonProps={{ 'aria-label': 'close' }}>
      <form
        onSubmit={event => {
          event.preventDefault()
          if (id !== '' && !bad) go(`${pathOf(id)}?create=yes`)
        }}
      >
        <Stack>
          <TextInput
            label="Id"
            description="It names the counters, and stands in headers"
            value={id}
            onChange={event => setId(event.currentTarget.value)}
            error={bad ? '1 to 64 letters, digits, ".", "_" or "-"' : undefined}
            data-autofocus
            required
          />
          <CommandLine command={bouncer(['policy', 'edit', id === '' ? 'ID' : id], { create: true })} />
          <Group justify="flex-end">
            <Button type="submit" disabled={id === '' || bad}>
              Write it
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  )
}

/** What is limited where, and what each policy does now. */
export default function Policies() {
  const state = useQuery({ queryKey: keys.state, queryFn: () => control.state(), refetchInterval: every(10_000) })
  const [dialog, setDialog] = useSearchState('do')
  const readOnly = useReadOnly()
  const policies = state.data?.policies ?? []
  return (
    <>
      <PageHead title="Policies">
        <Button
          size="compact-sm"
          onClick={() => setDialog('new')}
          disabled={readOnly !== undefined}
          {...(readOnly && { title: readOnly })}
        >
          New policy
        </Button>
      </PageHead>
      {policies
        .filter(({ revert }) => revert)
        .map(record => (
          <Pending key={record.policy.id} record={record} />
        ))}
      <Answer of={state} what="the policies">
        {({ settings: { penalty, ipv6Prefix } }) => (
          <>
            {policies.length === 0 ? (
              <EmptyState
                what="No policy: nothing is limited. Write one:"
                command={bouncer(['policy', 'set', 'default'], { create: true, limit: '100/1m' })}
              />
            ) : (
              <DataTable
                label="policies"
                columns={columns}
                rows={policies}
                idOf={({ policy }) => policy.id}
                minWidth={980}
              />
            )}
            <Text size="sm" c="dimmed" mt="xs">
              /s and refused: mean of the last {RECENT} s. The fleet’s penalty:{' '}
              {penalty === false
                ? 'none'
                : `${penalty.threshold} violations within ${penalty.window} block for ${penalty.block.join(', then ')}`}
              . IPv6 clients are counted by /{ipv6Prefix}.
            </Text>
          </>
        )}
      </Answer>
      <NewDialog opened={dialog === 'new'} onClose={() => setDialog('')} />
    </>
  )
}
