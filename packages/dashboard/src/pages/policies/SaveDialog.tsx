import type { Policy, PolicyRecord } from '@api-bouncer/limiter/contracts'
import { Alert, List, Select, TextInput } from '@mantine/core'
import { useState } from 'react'
import { actor, control } from '../../api.ts'
import { bouncer } from '../../commands.ts'
import { ActionDialog } from '../../components/ActionDialog.tsx'
import { instancesOf } from '../../numbers.ts'
import { clockTime, serverNow } from '../../time.ts'
import { consequences, write } from './draft.ts'
import { YamlDiff } from './Yaml.tsx'

interface Props {
  readonly policy: Policy
  /** What it is changed from; absent: it is new. */
  readonly record: PolicyRecord | undefined
  readonly expectedVersion: number
  readonly onClose: () => void
  readonly onSaved: (version: number) => void
}

/** Shows what changes, asks once, and writes only if nobody else did meanwhile. */
export function SaveDialog({ policy, record: present, expectedVersion, onClose, onSaved }: Props) {
  const [within, setWithin] = useState<string | null>('')
  const [reason, setReason] = useState('')
  const why = reason.trim() === '' ? undefined : reason.trim()
  const confirmWithin = within || undefined
  const before = present?.policy
  const effects = consequences(before, policy)
  // What is saved while another change waits for its confirmation goes back with it.
  const pending = present?.revert && present.revert.at > serverNow() ? present.revert : undefined
  return (
    <ActionDialog
      opened
      onClose={onClose}
      action={{
        title: expectedVersion > 0 ? `Save ${policy.id} as version ${expectedVersion + 1}` : `Create ${policy.id}`,
        verb: 'Save',
        effect: 'In force on every instance within a second.',
        command: `${bouncer(['policy', 'apply'], { file: '-', 'confirm-within': confirmWithin, reason: why })} <<'EOF'\n${write(policy)}EOF`,
        run: async () => {
          const by = why === undefined ? actor : { ...actor, reason: why }
          const record = await control.putPolicy(policy, expectedVersion, by, confirmWithin)
          const { epoch } = await control.state()
          // One that was deleted has no version between, and one that is new none before.
          const undo = expectedVersion > 0 ? ['rollback', policy.id, String(expectedVersion)] : ['rm', policy.id]
          return { record, seen: await control.seenBy(epoch), undo: bouncer(['policy', ...undo]) }
        },
        done: ({ record, seen, undo }) => {
          onSaved(record.version)
          const back = record.revert
            ? ` Goes back at ${clockTime(record.revert.at)} unless: ${bouncer(['policy', 'confirm', policy.id])}.`
            : ''
          return `Saved ${policy.id} v${record.version}, in force on ${instancesOf(seen)}.${back} Undo: ${undo}`
        },
        children: (
          <>
            <YamlDiff before={before ? write(before) : ''} after={write(policy)} label="what changes" />
            {effects.length > 0 && (
              <Alert color="yellow">
                <List size="sm">
                  {effects.map(effect => (
                    <List.Item key={effect}>{effect}</List.Item>
                  ))}
                </List>
              </Alert>
            )}
            <Select
              label="Goes back by itself"
              description="Unless confirmed within this time, whoever is alive"
              data={[
                {
                  value: '',
                  label: pending
                    ? `at ${clockTime(pending.at)}, with version ${present?.version}, which is not confirmed yet`
                    : 'no: it stays',
                },
                { value: '2m', label: 'after 2 minutes' },
                { value: '10m', label: 'after 10 minutes' },
                { value: '1h', label: 'after an hour' },
              ]}
              value={within}
              onChange={setWithin}
              allowDeselect={false}
            />
            <TextInput
              label="Reason"
              description="For the audit"
              maxLength={500}
              value={reason}
              onChange={event => setReason(event.currentTarget.value)}
            />
          </>
        ),
      }}
    />
  )
}
