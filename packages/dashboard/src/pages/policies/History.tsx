import type { Policy, PolicyRecord } from '@api-bouncer/limiter/contracts'
import { Button, Modal, Table } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { actor, control, keys } from '../../api.ts'
import { bouncer } from '../../commands.ts'
import { ActionDialog } from '../../components/ActionDialog.tsx'
import { Answer } from '../../components/Answer.tsx'
import { Panel } from '../../components/Panel.tsx'
import { disarm } from '../../foreign.ts'
import { useReadOnly } from '../../session.ts'
import { clockTime } from '../../time.ts'
import { write } from './draft.ts'
import { YamlDiff } from './Yaml.tsx'

/** Its versions, what changed, and the way back. */
export function History({ id, present }: { id: string; present: Policy | undefined }) {
  const history = useQuery({ queryKey: keys.policyHistory(id), queryFn: () => control.policyHistory(id) })
  const [shown, setShown] = useState<PolicyRecord>()
  const [back, setBack] = useState<PolicyRecord>()
  const readOnly = useReadOnly()
  const records = [...(history.data ?? [])].sort((a, b) => b.version - a.version)
  const newest = records[0]?.version
  return (
    <Panel title="History">
      <Answer of={history} what="its versions">
        {() => (
          <div className="scroll">
            <Table fz="sm" aria-label="history">
              <Table.Tbody>
                {records.map(record => (
                  <Table.Tr key={record.version}>
                    <Table.Td>v{record.version}</Table.Td>
                    <Table.Td style={{ overflowWrap: 'anywhere' }}>
                      {clockTime(record.updatedAt)} by {disarm(record.updatedBy, 40)}
                    </Table.Td>
                    <Table.Td ta="right" style={{ whiteSpace: 'nowrap' }}>
                      <Button
                        size="compact-xs"
                        variant="default"
                        onClick={() => setShown(record)}
                        aria-label={`diff of version ${record.version}`}
                      >
                        diff
                      </Button>{' '}
                      {record.version !== newest && (
                        <Button
                          size="compact-xs"
                          variant="default"
                          onClick={() => setBack(record)}
                          aria-label={`roll back to version ${record.version}`}
                          disabled={readOnly !== undefined}
                          {...(readOnly && { title: readOnly })}
                        >
                          roll back
                        </Button>
                      )}
                    </Table.Td>
                  </Table.Tr>
                ))}
              </Table.Tbody>
            </Table>
          </div>
        )}
      </Answer>
      <Modal
        opened={shown !== undefined}
        onClose={() => setShown(undefined)}
        size="lg"
        title={shown && `From version ${shown.version} to what is there now`}
        closeButtonProps={{ 'aria-label': 'close' }}
      >
        {shown && (
          <YamlDiff
            before={write(shown.policy)}
            after={present ? write(present) : ''}
            label={`since version ${shown.version}`}
          />
        )}
      </Modal>
      {back && (
        <ActionDialog
          opened
          onClose={() => setBack(undefined)}
          action={{
            title: `Roll ${id} back to version ${back.version}`,
            verb: 'Roll back',
            effect: 'What it said then is saved as a new version and is in force on every instance within a second.',
            command: bouncer(['policy', 'rollback', id, String(back.version)]),
            run: () => control.rollbackPolicy(id, back.version, actor),
            done: record => {
              const undo = newest === undefined ? '' : `. Undo: ${bouncer(['policy', 'rollback', id, String(newest)])}`
              return `${id} is as in version ${back.version} again, as v${record.version}${undo}`
            },
            children: (
              <YamlDiff before={present ? write(present) : ''} after={write(back.policy)} label="what changes" />
            ),
          }}
        />
      )}
    </Panel>
  )
}
