import type { KeyInfo } from '@api-bouncer/limiter/contracts'
import { Button, Code, Drawer, Group, Stack, Text, TextInput } from '@mantine/core'
import { useInfiniteQuery, useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { actor, control, keys as names } from '../../api.ts'
import { bouncer } from '../../commands.ts'
import { ActionDialog } from '../../components/ActionDialog.tsx'
import { Answer } from '../../components/Answer.tsx'
import { CommandLine } from '../../components/CommandLine.tsx'
import { type Column, DataTable } from '../../components/DataTable.tsx'
import { EmptyState } from '../../components/EmptyState.tsx'
import { PageHead } from '../../components/PageHead.tsx'
import { disarm } from '../../foreign.ts'
import { bytes, count } from '../../numbers.ts'
import { useSearchState } from '../../search.ts'
import { useReadOnly } from '../../session.ts'
import { span } from '../../time.ts'

const PAGE = 200
const VALUE = 20_000

const TTL: Column<KeyInfo> = {
  id: 'ttl',
  title: 'Gone in',
  cell: ({ ttlMs }) => (ttlMs === undefined ? '–' : span(ttlMs)),
  sort: ({ ttlMs = Number.POSITIVE_INFINITY }) => ttlMs,
  width: '100px',
}

const BYTES: Column<KeyInfo> = {
  id: 'bytes',
  title: 'Memory',
  cell: info => (info.bytes === undefined ? '–' : bytes(info.bytes)),
  sort: info => info.bytes ?? 0,
  align: 'right',
  width: '100px',
}

/** The embedded store knows neither when a key ends nor how large it is: then nothing is said of that. */
const columnsOf = (open: (key: string) => void, rows: readonly KeyInfo[]): readonly Column<KeyInfo>[] => [
  {
    id: 'key',
    title: 'Key',
    cell: ({ key }) => (
      <Button variant="transparent" size="compact-sm" px={0} fw={400} onClick={() => open(key)} className="mono">
        {disarm(key, 120)}
      </Button>
    ),
    sort: ({ key }) => key,
  },
  {
    id: 'words',
    title: 'What it is',
    cell: ({ words }) => <span title={disarm(words)}>{disarm(words, 120)}</span>,
    sort: ({ words }) => words,
  },
  ...(rows.some(({ ttlMs }) => ttlMs !== undefined) ? [TTL] : []),
  ...(rows.some(info => info.bytes !== undefined) ? [BYTES] : []),
]

/** Part of a name matches all names that have it, as on the command line. */
const globOf = (text: string) => (text === '' ? '*' : /[*?[]/.test(text) ? text : `*${text}*`)

/** One key, decoded. */
function Key({ name, onClose }: { name: string; onClose: () => void }) {
  const key = useQuery({ queryKey: ['key', name], queryFn: () => control.key(name) })
  const [deleting, setDeleting] = useState(false)
  const readOnly = useReadOnly()
  const value = key.data?.value === undefined ? undefined : JSON.stringify(key.data.value, null, 2)
  return (
    <Drawer
      opened
      onClose={onClose}
      position="right"
      size="lg"
      title={disarm(name, 120)}
      closeButtonProps={{ 'aria-label': 'close' }}
    >
      <Stack gap="sm">
        <Answer of={key} what="this key">
          {info => (
            <>
              <Text size="sm">{disarm(info.words, 500)}</Text>
              <Text size="sm" c="dimmed">
                {info.type}
                {info.ttlMs === undefined ? '' : `, gone in ${span(info.ttlMs)}`}
                {info.bytes !== undefined && `, ${bytes(info.bytes)}`}
              </Text>
              {value !== undefined && (
                <Code block style={{ maxHeight: 360, overflow: 'auto' }} tabIndex={0}>
                  {value.length > VALUE ? `${value.slice(0, VALUE)}…` : value}
                </Code>
              )}
            </>
          )}
        </Answer>
        <CommandLine command={bouncer(['key', 'show', name])} />
        <Group>
          <Button
            variant="default"
            onClick={() => setDeleting(true)}
            disabled={readOnly !== undefined}
            {...(readOnly && { title: readOnly })}
          >
            Delete
          </Button>
        </Group>
      </Stack>
      <ActionDialog
        opened={deleting}
        onClose={() => setDeleting(false)}
        action={{
          title: 'Delete a key',
          verb: 'Delete',
          destructive: true,
          effect: `Forgets ${disarm(name, 200)}: ${disarm(key.data?.words ?? '', 200)}. What it counted starts afresh; this cannot be taken back.`,
          command: bouncer(['key', 'rm', name]),
          run: () => control.deleteKey(name, actor),
          done: () => {
            onClose()
            return `Deleted ${disarm(name, 120)}`
          },
        }}
      />
    </Drawer>
  )
}

/** What is stored, in words. */
export default function Keys() {
  const [match, setMatch] = useSearchState('match', '*')
  const [open, setOpen] = useSearchState('key')
  const [pattern, setPattern] = useState(match)
  const pages = useInfiniteQuery({
    queryKey: names.keys(match),
    queryFn: ({ pageParam }) => control.keys({ match, cursor: pageParam, limit: PAGE }),
    initialPageParam: '0',
    getNextPageParam: last => (last.cursor === '0' ? undefined : last.cursor),
    refetchOnWindowFocus: false,
  })
  // A cursor may give a key twice.
  const rows = [...new Map((pages.data?.pages ?? []).flatMap(page => page.keys).map(info => [info.key, info])).values()]
  return (
    <>
      <PageHead title="Keys" />
      <form
        onSubmit={event => {
          event.preventDefault()
          setMatch(globOf(pattern.trim()))
        }}
      >
        <Group gap="xs" mb="xs" wrap="nowrap" maw={620}>
          <TextInput
            style={{ flex: 1 }}
            aria-label="pattern"
            placeholder="*1.2.3.4*"
            value={pattern}
            onChange={event => setPattern(event.currentTarget.value)}
            maxLength={500}
          />
          <Button type="submit" variant="default">
            Search
          </Button>
        </Group>
      </form>
      <Answer of={pages} what="the keys">
        {() =>
          rows.length === 0 && !pages.hasNextPage ? (
            <EmptyState what={`No key matches ${match}.`} command={bouncer(['keys'])} />
          ) : (
            <>
              <DataTable
                label="keys"
                columns={columnsOf(setOpen, rows)}
                rows={rows}
                idOf={({ key }) => key}
                minWidth={860}
                height="calc(100vh - 240px)"
              />
              <Group gap="xs" mt="xs">
                <Text size="sm" c="dimmed" role="status">
                  {count(rows.length)} shown{pages.hasNextPage ? ', there are more' : ', that is all'}
                </Text>
                {pages.hasNextPage && (
                  <Button
                    size="compact-sm"
                    variant="default"
                    loading={pages.isFetchingNextPage}
                    onClick={() => void pages.fetchNextPage()}
                  >
                    More
                  </Button>
                )}
                <CommandLine command={bouncer(match === '*' ? ['keys'] : ['keys', match])} />
              </Group>
            </>
          )
        }
      </Answer>
      {open !== '' && <Key name={open} onClose={() => setOpen('')} />}
    </>
  )
}
