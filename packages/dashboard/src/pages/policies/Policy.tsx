import type { ControlState, PolicyRecord } from '@api-bouncer/limiter/contracts'
import { Alert, Button, Group, Stack, Text } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { useCallback, useEffect, useMemo, useState } from 'react'
import { useLocation } from 'wouter'
import { actor, control, every, keys } from '../../api.ts'
import { bouncer } from '../../commands.ts'
import { ActionDialog } from '../../components/ActionDialog.tsx'
import { Answer } from '../../components/Answer.tsx'
import { CommandLine } from '../../components/CommandLine.tsx'
import { PageHead } from '../../components/PageHead.tsx'
import { Panel } from '../../components/Panel.tsx'
import { disarm } from '../../foreign.ts'
import { useSearchState } from '../../search.ts'
import { useReadOnly } from '../../session.ts'
import { clockTime } from '../../time.ts'
import { changeField, readDraft, template, write } from './draft.ts'
import { Form } from './Form.tsx'
import { History } from './History.tsx'
import { Pending } from './Pending.tsx'
import { SaveDialog } from './SaveDialog.tsx'
import { Trial } from './Trial.tsx'
import { YamlDiff, YamlEditor } from './Yaml.tsx'

/** One policy: a form and its YAML, two ways to the same draft. */
export default function Policy({ id }: { id: string }) {
  const state = useQuery({ queryKey: keys.state, queryFn: () => control.state(), refetchInterval: every(10_000) })
  const [create] = useSearchState('create')
  const find = ({ policies }: ControlState) => policies.find(({ policy }) => policy.id === id)
  return (
    <>
      {!state.data && <PageHead title={disarm(id, 80)} />}
      <Answer of={state} what="the policies">
        {known => <Editor id={id} record={find(known)} isNew={create === 'yes'} />}
      </Answer>
    </>
  )
}

interface EditorProps {
  readonly id: string
  /** What is there now; it may change, or go, while one edits. */
  readonly record: PolicyRecord | undefined
  readonly isNew: boolean
}

function Editor({ id, record, isNew }: EditorProps) {
  /** What the draft was made from. */
  const [base, setBase] = useState(record)
  const [text, setText] = useState(() => (record ? write(record.policy) : template(id)))
  const [saving, setSaving] = useState(false)
  const [promoting, setPromoting] = useState(false)
  const [deleting, setDeleting] = useState(false)
  const [, go] = useLocation()
  const readOnly = useReadOnly()
  const draft = useMemo(() => readDraft(text, id), [text, id])
  const check = useCallback((typed: string) => readDraft(typed, id).problems, [id])
  const baseText = base ? write(base.policy) : ''
  const isChanged = base === undefined || text !== baseText
  const isStale = record !== undefined && base !== undefined && record.version !== base.version
  const isGone = record === undefined && base !== undefined

  // Who has changed nothing sees what is there.
  useEffect(() => {
    if (record && record.version !== base?.version && (!isChanged || base === undefined)) {
      setBase(record)
      setText(write(record.policy))
    }
  }, [record, base, isChanged])

  const again = () => {
    setBase(undefined)
    go(`/policies/${encodeURIComponent(id)}?create=yes`, { replace: true })
  }
  const take = (newest: PolicyRecord) => {
    setBase(newest)
    setText(write(newest.policy))
  }
  if (!record && !base && !isNew) {
    return (
      <>
        <PageHead title={disarm(id, 80)} />
        <Stack align="start">
          <Text>There is no policy {disarm(id, 80)}.</Text>
          <Group>
            <Button
              onClick={() => go(`/policies/${encodeURIComponent(id)}?create=yes`, { replace: true })}
              disabled={readOnly !== undefined}
            >
              Write it
            </Button>
            <Button variant="default" onClick={() => go('/policies')}>
              All policies
            </Button>
          </Group>
        </Stack>
      </>
    )
  }
  return (
    <>
      <PageHead title={disarm(id, 80)}>
        <Text size="sm" c="dimmed">
          {record
            ? `v${record.version}, ${clockTime(record.updatedAt)} by ${disarm(record.updatedBy, 40)}`
            : 'not saved yet'}
        </Text>
        <Button
          size="compact-sm"
          onClick={() => setSaving(true)}
          disabled={readOnly !== undefined || !draft.policy || !isChanged || isStale || isGone}
          {...(readOnly && { title: readOnly })}
        >
          Save…
        </Button>
        {isChanged && record && !isStale && (
          <Button size="compact-sm" variant="default" onClick={() => take(record)}>
            Discard
          </Button>
        )}
        {record && (
          <Button
            size="compact-sm"
            variant="default"
            onClick={() => setDeleting(true)}
            disabled={readOnly !== undefined}
            {...(readOnly && { title: readOnly })}
          >
            Delete
          </Button>
        )}
      </PageHead>
      {record?.revert && <Pending record={record} />}
      {isStale && isChanged && record && base && (
        <Alert
          color="yellow"
          mb="sm"
          role="alert"
          title={`${disarm(record.updatedBy, 40)} saved version ${record.version} while you edited version ${base.version}`}
        >
          <Text size="sm">What they changed:</Text>
          <YamlDiff before={baseText} after={write(record.policy)} label="what they changed" />
          <Text size="sm" mt="xs">
            Your draft, against theirs:
          </Text>
          <YamlDiff before={write(record.policy)} after={text} label="your draft against theirs" />
          <Group mt="xs">
            <Button size="compact-sm" onClick={() => setBase(record)}>
              Keep mine, to save over theirs
            </Button>
            <Button size="compact-sm" variant="default" onClick={() => take(record)}>
              Take theirs
            </Button>
          </Group>
        </Alert>
      )}
      {isGone && (
        <Alert color="yellow" mb="sm" role="alert" title="Somebody deleted this policy while you looked at it">
          <Text size="sm">Your draft is kept here.</Text>
          <Group mt="xs">
            <Button size="compact-sm" onClick={again} disabled={readOnly !== undefined}>
              Create it again
            </Button>
            <Button size="compact-sm" variant="default" onClick={() => go('/policies')}>
              Let it go
            </Button>
          </Group>
        </Alert>
      )}
      <div className="row row-half">
        <Panel title="Form">
          <Form
            value={draft.value}
            onField={(path, value) => setText(changeField(text, path, value))}
            disabled={readOnly !== undefined}
          />
        </Panel>
        <Panel title="YAML">
          <YamlEditor text={text} onChange={setText} check={check} readOnly={readOnly !== undefined} />
          <div role="status" aria-label="problems">
            {draft.problems.map(({ message, from }) => (
              <Text key={`${from} ${message}`} size="sm" c="var(--blocked)" mt={4}>
                line {text.slice(0, from).split('\n').length}: {message}
              </Text>
            ))}
          </div>
          <Group mt="xs">
            <CommandLine command={bouncer(['policy', 'edit', id], { create: !record })} />
          </Group>
        </Panel>
      </div>
      <div className="row row-half" style={{ marginTop: 10 }}>
        {record?.policy.mode === 'shadow' && (
          <Trial policy={record.policy} unsaved={isChanged} onPromote={() => setPromoting(true)} />
        )}
        {record && <History id={id} present={record.policy} />}
      </div>
      {saving && draft.policy && (
        <SaveDialog
          policy={draft.policy}
          record={record}
          expectedVersion={base?.version ?? 0}
          onClose={() => setSaving(false)}
          onSaved={version => {
            if (draft.policy) setBase({ policy: draft.policy, version, updatedAt: Date.now(), updatedBy: '' })
            setText(draft.policy ? write(draft.policy) : text)
            if (isNew) go(`/policies/${encodeURIComponent(id)}`, { replace: true })
          }}
        />
      )}
      {promoting && record && (
        <SaveDialog
          policy={{ ...record.policy, mode: 'enforce' }}
          record={record}
          expectedVersion={record.version}
          onClose={() => setPromoting(false)}
          onSaved={() => {}}
        />
      )}
      {record && (
        <ActionDialog
          opened={deleting}
          onClose={() => setDeleting(false)}
          action={{
            title: `Delete the policy ${id}`,
            verb: 'Delete',
            destructive: true,
            effect: 'Where it applied, the next best match decides from now on; where none does, nothing is limited.',
            command: bouncer(['policy', 'rm', id]),
            run: () => control.deletePolicy(id, record.version, actor),
            done: () => {
              go('/policies')
              return `Deleted ${id}. It can be brought back: ${bouncer(['policy', 'rollback', id, String(record.version)])}`
            },
          }}
        />
      )}
    </>
  )
}
