import type { ListEntry, ListName } from '@api-bouncer/limiter/contracts'
import { Button, Group, SegmentedControl, Text, TextInput } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { contains, parseRange } from '../../addresses.ts'
import { actor, control, keys } from '../../api.ts'
import { bouncer } from '../../commands.ts'
import { ActionDialog } from '../../components/ActionDialog.tsx'
import { Answer } from '../../components/Answer.tsx'
import { Countdown } from '../../components/Countdown.tsx'
import { type Column, DataTable } from '../../components/DataTable.tsx'
import { EmptyState } from '../../components/EmptyState.tsx'
import { PageHead } from '../../components/PageHead.tsx'
import { disarm } from '../../foreign.ts'
import { setSearch, useSearchState } from '../../search.ts'
import { useReadOnly } from '../../session.ts'
import { clockTime, leftUntil } from '../../time.ts'
import { AddDialog } from './AddDialog.tsx'

const columnsOf = (remove: (entry: ListEntry) => void): readonly Column<ListEntry>[] => [
  { id: 'cidr', title: 'Range', cell: ({ cidr }) => <span className="mono">{cidr}</span>, sort: ({ cidr }) => cidr },
  {
    id: 'comment',
    title: 'Comment',
    cell: ({ comment = '' }) => <span title={disarm(comment)}>{disarm(comment, 80)}</span>,
    sort: ({ comment = '' }) => comment,
  },
  {
    id: 'expires',
    title: 'Leaves in',
    cell: ({ expiresAt }) => (expiresAt === undefined ? 'stays' : <Countdown until={expiresAt} />),
    sort: ({ expiresAt = Number.POSITIVE_INFINITY }) => expiresAt,
    width: '120px',
  },
  {
    id: 'by',
    title: 'Added by',
    cell: ({ addedBy }) => disarm(addedBy, 40),
    sort: ({ addedBy }) => addedBy,
    width: '140px',
  },
  {
    id: 'at',
    title: 'Added at',
    cell: ({ addedAt }) => clockTime(addedAt),
    sort: ({ addedAt }) => addedAt,
    width: '140px',
  },
  {
    id: 'act',
    title: 'Action',
    cell: entry => (
      <button type="button" className="row-action" onClick={() => remove(entry)} aria-label={`remove ${entry.cidr}`}>
        remove
      </button>
    ),
    width: '90px',
  },
]

const EFFECT: Readonly<Record<ListName, string>> = {
  allow: 'Requests from these addresses pass uncounted; this wins over blocks and over the denylist.',
  deny: 'Requests from these addresses are refused with 403.',
}

/** Is an address on a list, and by which entry? */
function Check({ entries }: { entries: readonly ListEntry[] | undefined }) {
  const [address, setAddress] = useState('')
  const range = parseRange(address.trim())
  const found = range && entries ? entries.filter(({ cidr }) => contains(cidr, address.trim())) : []
  const says =
    address.trim() === ''
      ? ''
      : range === undefined
        ? 'no address yet'
        : entries === undefined
          ? 'the lists are not known'
          : found.length === 0
            ? 'on neither list'
            : found.map(({ list, cidr }) => `on the ${list}list by ${cidr}`).join('; ')
  return (
    <Group gap="xs">
      <TextInput
        aria-label="check an address"
        placeholder="Is this address on a list?"
        value={address}
        onChange={event => setAddress(event.currentTarget.value)}
        w={{ base: '100%', sm: 260 }}
        maxLength={60}
      />
      <Text size="sm" role="status">
        {says}
      </Text>
    </Group>
  )
}

/** With the way back to what it was, and not for longer. */
function sayRemoved({ list, cidr, comment, expiresAt }: ListEntry): string {
  const left = expiresAt === undefined ? undefined : leftUntil(expiresAt)
  if (expiresAt !== undefined && left === undefined) return `Removed ${cidr}`
  return `Removed ${cidr}. Put it back: ${bouncer([list, 'add', cidr], { for: left, comment })}`
}

const NONE: readonly ListEntry[] = []

/** Who always passes, and who never does. */
export default function Lists() {
  const [tab, setTab] = useSearchState('list', 'allow')
  const list: ListName = tab === 'deny' ? 'deny' : 'allow'
  const [adding, setAdding] = useSearchState('add')
  const [cidr] = useSearchState('cidr')
  const [removing, setRemoving] = useState<ListEntry>()
  const readOnly = useReadOnly()
  const state = useQuery({ queryKey: keys.state, queryFn: () => control.state() })
  const entries = state.data?.lists ?? NONE
  const shown = entries.filter(entry => entry.list === list)
  return (
    <>
      <PageHead title="Lists">
        <SegmentedControl
          size="xs"
          aria-label="list"
          value={list}
          onChange={setTab}
          data={[
            { label: 'allowlist', value: 'allow' },
            { label: 'denylist', value: 'deny' },
          ]}
        />
        <Button
          size="compact-sm"
          onClick={() => setAdding(list)}
          disabled={readOnly !== undefined}
          {...(readOnly && { title: readOnly })}
        >
          Add to the {list}list
        </Button>
      </PageHead>
      <Text size="sm" c="dimmed" mb="xs">
        {EFFECT[list]}
      </Text>
      <Check entries={state.data?.lists} />
      <div style={{ marginTop: 12 }}>
        <Answer of={state} what={`who is on the ${list}list`}>
          {() =>
            shown.length === 0 ? (
              <EmptyState
                what={`Nobody is on the ${list}list.`}
                command={bouncer([list, 'add', '192.0.2.0/24'], { comment: 'why' })}
              />
            ) : (
              <DataTable
                label={`${list}list`}
                columns={columnsOf(setRemoving)}
                rows={shown}
                idOf={entry => entry.cidr}
                minWidth={760}
              />
            )
          }
        </Answer>
      </div>
      {(adding === 'allow' || adding === 'deny') && (
        <AddDialog
          key={`${adding} ${cidr}`}
          list={adding}
          cidr={cidr}
          entries={entries}
          onClose={() => setSearch({ add: '', cidr: '' })}
        />
      )}
      {removing && (
        <ActionDialog
          opened
          onClose={() => setRemoving(undefined)}
          action={{
            title: `Remove ${removing.cidr} from the ${removing.list}list`,
            verb: 'Remove',
            destructive: true,
            effect:
              removing.list === 'allow'
                ? 'These addresses are counted and limited again; a block of theirs holds again.'
                : 'These addresses are let in again, as far as policies allow.',
            command: bouncer([removing.list, 'rm', removing.cidr]),
            run: () => control.deleteListEntry(removing.list, removing.cidr, actor),
            done: () => sayRemoved(removing),
          }}
        />
      )}
    </>
  )
}
