import type { BlockPage, ListedBlock } from '@api-bouncer/limiter/contracts'
import { Button, Group, Text, TextInput } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { useMemo, useState } from 'react'
import { control, every, keys } from '../../api.ts'
import { Answer } from '../../components/Answer.tsx'
import { BlockDialog } from '../../components/BlockDialog.tsx'
import { ClientLink } from '../../components/Client.tsx'
import { Countdown } from '../../components/Countdown.tsx'
import { type Column, DataTable } from '../../components/DataTable.tsx'
import { EmptyState } from '../../components/EmptyState.tsx'
import { PageHead } from '../../components/PageHead.tsx'
import { UnblockDialog } from '../../components/UnblockDialog.tsx'
import { disarm } from '../../foreign.ts'
import { count } from '../../numbers.ts'
import { useSearchState } from '../../search.ts'
import { useReadOnly } from '../../session.ts'
import { clockTime, useNow } from '../../time.ts'
import { UnblockManyDialog } from './UnblockManyDialog.tsx'

const matches = (block: ListedBlock, filter: string) =>
  filter === '' ||
  [block.client, block.reason, block.policy ?? '', block.by].some(text => text.toLowerCase().includes(filter))

const columnsOf = (unblock: (client: string) => void): readonly Column<ListedBlock>[] => [
  { id: 'client', title: 'Client', cell: ({ client }) => <ClientLink client={client} />, sort: ({ client }) => client },
  {
    id: 'until',
    title: 'Ends in',
    cell: ({ until }) => <Countdown until={until} />,
    sort: ({ until }) => until,
    width: '100px',
  },
  {
    id: 'reason',
    title: 'Reason',
    cell: ({ reason, allowlisted }) => (
      <span title={disarm(reason)}>
        {allowlisted !== undefined && <b>let in by the allowlist ({allowlisted}): </b>}
        {disarm(reason, 80)}
      </span>
    ),
    sort: ({ reason }) => reason,
  },
  {
    id: 'policy',
    title: 'Policy',
    cell: ({ policy }) => policy ?? '–',
    sort: ({ policy }) => policy ?? '',
    width: '110px',
  },
  {
    id: 'offence',
    title: 'Offence',
    cell: ({ offence }) => offence,
    sort: ({ offence }) => offence,
    align: 'right',
    width: '80px',
  },
  { id: 'by', title: 'By', cell: ({ by }) => disarm(by, 40), sort: ({ by }) => by, width: '100px' },
  { id: 'since', title: 'Since', cell: ({ since }) => clockTime(since), sort: ({ since }) => since, width: '110px' },
  {
    id: 'act',
    title: 'Action',
    cell: ({ client }) => (
      <button type="button" className="row-action" onClick={() => unblock(client)} aria-label={`unblock ${client}`}>
        unblock
      </button>
    ),
    width: '90px',
  },
]

const NONE: BlockPage = { blocks: [], total: 0 }

/** The control plane tells no more at once. */
const SHOWN = 10_000

const COMPARED = ['client', 'since', 'until', 'reason', 'allowlisted'] as const
const isSame = (a: ListedBlock | undefined, b: ListedBlock) =>
  a !== undefined && COMPARED.every(field => a[field] === b[field])

/** What is still as it was keeps its identity, as the library sees to at several times the cost: it compares every field. */
function share(old: unknown, now: unknown): BlockPage {
  const [was, is] = [(old ?? NONE) as BlockPage, now as BlockPage]
  const same = was.total === is.total && was.blocks.length === is.blocks.length
  return same && is.blocks.every((block, i) => isSame(was.blocks[i], block)) ? was : is
}

/** Who is kept out, why and for how long. */
export default function Blocks() {
  const blocks = useQuery({
    queryKey: keys.blocks,
    queryFn: () => control.blocks({ limit: SHOWN }),
    structuralSharing: share,
    refetchInterval: every(15_000),
  })
  const [filter, setFilter] = useSearchState('filter')
  const [dialog, setDialog] = useSearchState('do')
  const [unblocking, setUnblocking] = useState<string>()
  const [selected, setSelected] = useState<ReadonlySet<string>>(new Set())
  /** Who was chosen when it was asked: whoever is let in meanwhile stays named in the question. */
  const [several, setSeveral] = useState<readonly string[]>()
  const readOnly = useReadOnly()
  const now = useNow(5000)
  const { blocks: all, total } = blocks.data ?? NONE
  // Soonest to end first. The same rows for as long as none of them ends: thousands are not filtered and sorted again for nothing.
  const next = all.findIndex(({ until }) => until > now)
  const ended = next === -1 ? all.length : next
  const shown = useMemo(
    () => all.slice(ended).filter(block => matches(block, filter.trim().toLowerCase())),
    [all, ended, filter],
  )
  const chosen = shown.filter(({ client }) => selected.has(client)).map(({ client }) => client)
  const columns = useMemo(() => columnsOf(setUnblocking), [])
  return (
    <>
      <PageHead title="Blocks">
        <Button
          size="compact-sm"
          onClick={() => setDialog('block')}
          disabled={readOnly !== undefined}
          {...(readOnly && { title: readOnly })}
        >
          Block a client
        </Button>
      </PageHead>
      <Group gap="xs" mb="xs">
        <TextInput
          aria-label="filter"
          placeholder="Filter by client, reason, policy, by"
          value={filter}
          onChange={event => setFilter(event.currentTarget.value)}
          w={{ base: '100%', sm: 320 }}
        />
        <Text size="sm" c="dimmed" role="status">
          {blocks.data ? `${count(shown.length)} of ${count(total)} in force` : ''}
          {all.length < total && `: the first ${count(all.length)} to end are looked at here`}
        </Text>
        {chosen.length > 0 && (
          <Button size="compact-sm" variant="default" onClick={() => setSeveral(chosen)}>
            Unblock {count(chosen.length)}
          </Button>
        )}
      </Group>
      <Answer of={blocks} what="who is blocked">
        {() =>
          all.length === 0 ? (
            <EmptyState what="Nobody is blocked. Who breaks limits again and again will be; see it happen:" />
          ) : (
            <DataTable
              label="blocks"
              columns={columns}
              rows={shown}
              idOf={({ client }) => client}
              minWidth={900}
              selection={{ selected, onChange: setSelected }}
            />
          )
        }
      </Answer>
      <BlockDialog opened={dialog === 'block'} onClose={() => setDialog('')} />
      {unblocking !== undefined && (
        <UnblockDialog client={unblocking} opened onClose={() => setUnblocking(undefined)} />
      )}
      {several && (
        <UnblockManyDialog
          clients={several}
          onClose={() => setSeveral(undefined)}
          onDone={() => setSelected(new Set())}
        />
      )}
    </>
  )
}
