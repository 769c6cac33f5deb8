import type { AuditEntry } from '@api-bouncer/limiter/contracts'
import { Code, Group, Modal, Select, SimpleGrid, Stack, Text, TextInput, UnstyledButton } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { control, every, keys } from '../../api.ts'
import { bouncer } from '../../commands.ts'
import { Answer } from '../../components/Answer.tsx'
import { CommandLine } from '../../components/CommandLine.tsx'
import { type Column, DataTable } from '../../components/DataTable.tsx'
import { EmptyState } from '../../components/EmptyState.tsx'
import { PageHead } from '../../components/PageHead.tsx'
import { disarm } from '../../foreign.ts'
import { useSearchState } from '../../search.ts'
import { clockTime } from '../../time.ts'

const KEPT = 1000

const columnsOf = (open: (id: string) => void): readonly Column<AuditEntry>[] => [
  { id: 'at', title: 'When', cell: ({ at }) => clockTime(at), sort: ({ at }) => at, width: '150px' },
  { id: 'by', title: 'Who', cell: ({ by }) => disarm(by, 40), sort: ({ by }) => by, width: '130px' },
  {
    id: 'source',
    title: 'From',
    cell: ({ source }) => disarm(source, 60),
    sort: ({ source }) => source,
    width: '130px',
  },
  { id: 'action', title: 'Did', cell: ({ action }) => action, sort: ({ action }) => action, width: '120px' },
  {
    id: 'target',
    title: 'To',
    cell: ({ id, target }) => (
      <UnstyledButton
        fz="sm"
        td="underline"
        onClick={() => open(id)}
        className="foreign"
        maw="100%"
        title={disarm(target)}
      >
        {disarm(target, 80)}
      </UnstyledButton>
    ),
    sort: ({ target }) => target,
  },
  { id: 'reason', title: 'Why', cell: ({ reason = '' }) => <span title={disarm(reason)}>{disarm(reason, 80)}</span> },
]

const pretty = (value: unknown) =>
  value === undefined || value === null ? '(nothing)' : JSON.stringify(value, null, 2)

/** Who changed what, when, from where, and what it was before. */
export default function Audit() {
  const audit = useQuery({
    queryKey: keys.audit,
    queryFn: () => control.audit({ limit: KEPT }),
    refetchInterval: every(10_000),
  })
  const [filter, setFilter] = useSearchState('filter')
  const [action, setAction] = useSearchState('action')
  const [open, setOpen] = useSearchState('entry')
  const all = audit.data ?? []
  const wanted = filter.trim().toLowerCase()
  const shown = all.filter(
    entry =>
      (action === '' || entry.action === action) &&
      [entry.by, entry.target, entry.reason ?? '', entry.source].some(text => text.toLowerCase().includes(wanted)),
  )
  const entry = all.find(({ id }) => id === open)
  return (
    <>
      <PageHead title="Audit" />
      <Group gap="xs" mb="xs">
        <TextInput
          aria-label="filter"
          placeholder="Filter by who, what, why, from where"
          value={filter}
          onChange={event => setFilter(event.currentTarget.value)}
          w={{ base: '100%', sm: 320 }}
        />
        <Select
          aria-label="action"
          placeholder="any action"
          clearable
          data={[...new Set(all.map(entry => entry.action))].sort()}
          value={action === '' ? null : action}
          onChange={value => setAction(value ?? '')}
          w={180}
        />
        <CommandLine command={bouncer(['audit'])} />
      </Group>
      <Answer of={audit} what="who changed what">
        {() =>
          all.length === 0 ? (
            <EmptyState
              what="Nobody has changed anything yet. What operators do stands here:"
              command={bouncer(['block', '192.0.2.7'], { for: '1m', reason: 'rehearsal' })}
            />
          ) : (
            <DataTable label="audit" columns={columnsOf(setOpen)} rows={shown} idOf={({ id }) => id} minWidth={860} />
          )
        }
      </Answer>
      <Modal
        opened={entry !== undefined}
        onClose={() => setOpen('')}
        size="xl"
        title={entry && `${entry.action} ${disarm(entry.target, 100)}`}
        closeButtonProps={{ 'aria-label': 'close' }}
      >
        {entry && (
          <Stack gap="sm">
            <Text size="sm">
              {clockTime(entry.at)} · {disarm(entry.by, 60)} from {disarm(entry.source, 60)}
              {entry.reason !== undefined && ` · ${disarm(entry.reason)}`}
              {entry.goesBackAt !== undefined && ` · goes back at ${clockTime(entry.goesBackAt)} unless confirmed`}
            </Text>
            <SimpleGrid cols={{ base: 1, sm: 2 }}>
              {(['before', 'after'] as const).map(when => (
                <div key={when}>
                  <Text size="xs" c="dimmed">
                    {when}
                  </Text>
                  <Code block style={{ maxHeight: 400, overflow: 'auto' }} tabIndex={0}>
                    {pretty(entry[when])}
                  </Code>
                </div>
              ))}
            </SimpleGrid>
          </Stack>
        )}
      </Modal>
    </>
  )
}
