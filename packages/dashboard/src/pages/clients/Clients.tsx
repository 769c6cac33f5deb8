import type { ClientSummary } from '@api-bouncer/limiter/contracts'
import { Button, Group, SegmentedControl, TextInput } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { useLocation } from 'wouter'
import { control, every, keys } from '../../api.ts'
import { useCalm } from '../../calm.ts'
import { Answer } from '../../components/Answer.tsx'
import { ClientLink, clientPath } from '../../components/Client.tsx'
import { type Column, DataTable } from '../../components/DataTable.tsx'
import { EmptyState } from '../../components/EmptyState.tsx'
import { Headroom } from '../../components/Headroom.tsx'
import { PageHead } from '../../components/PageHead.tsx'
import { useLive } from '../../live.ts'
import { rate } from '../../numbers.ts'
import { useSearchState } from '../../search.ts'

const SHOWN_CLIENTS = 200

const columns: readonly Column<ClientSummary>[] = [
  { id: 'client', title: 'Client', cell: ({ client }) => <ClientLink client={client} />, sort: ({ client }) => client },
  {
    id: 'rate',
    title: 'Requests/s',
    cell: ({ requestsPerSecond }) => rate(requestsPerSecond),
    sort: ({ requestsPerSecond }) => requestsPerSecond,
    align: 'right',
    width: '110px',
  },
  { id: 'policy', title: 'Fullest policy', cell: ({ policy }) => policy ?? '–', sort: ({ policy }) => policy ?? '' },
  {
    id: 'used',
    title: 'Used',
    cell: summary => <Headroom summary={summary} />,
    sort: ({ used, limit }) => (limit === 0 ? 0 : used / limit),
    width: '190px',
  },
  {
    id: 'state',
    title: 'State',
    cell: ({ state, allowlisted }) => (allowlisted === undefined ? state : 'allowlisted'),
    sort: ({ state }) => state,
    width: '100px',
  },
]

/** Who is busiest, who is nearest a limit; and the way to any other. */
export default function Clients() {
  const [sort, setSort] = useSearchState('by', 'busiest')
  const by = sort === 'nearest' ? 'nearest' : 'busiest'
  const [wanted, setWanted] = useState('')
  const [, go] = useLocation()
  const paused = useLive(live => live.paused)
  const clients = useQuery({
    queryKey: keys.clients(by),
    queryFn: () => control.clients({ sort: by, limit: SHOWN_CLIENTS }),
    refetchInterval: every(paused ? undefined : 2000),
  })
  const { calm, hold } = useCalm(clients.data ?? [], ({ client }) => client)
  return (
    <>
      <PageHead title="Clients">
        <SegmentedControl
          size="xs"
          aria-label="order"
          value={by}
          onChange={setSort}
          data={[
            { label: 'busiest', value: 'busiest' },
            { label: 'nearest a limit', value: 'nearest' },
          ]}
        />
      </PageHead>
      <form
        onSubmit={event => {
          event.preventDefault()
          if (wanted.trim() !== '') go(clientPath(wanted.trim()))
        }}
      >
        <Group gap="xs" mb="sm" wrap="nowrap" maw={520}>
          <TextInput
            style={{ flex: 1 }}
            aria-label="any client"
            placeholder="Any address or client id"
            value={wanted}
            onChange={event => setWanted(event.currentTarget.value)}
            maxLength={200}
          />
          <Button type="submit" variant="default">
            Inspect
          </Button>
        </Group>
      </form>
      <Answer of={clients} what="who asks">
        {() =>
          calm.length === 0 ? (
            <EmptyState what="Nobody has asked for anything lately. Make some traffic:" />
          ) : (
            <div {...hold}>
              <DataTable label="clients" columns={columns} rows={calm} idOf={({ client }) => client} minWidth={700} />
            </div>
          )
        }
      </Answer>
    </>
  )
}
