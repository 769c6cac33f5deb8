import { ScrollArea, Text } from '@mantine/core'
import { actor, control, sayError } from '../../api.ts'
import { bouncer } from '../../commands.ts'
import { ActionDialog } from '../../components/ActionDialog.tsx'
import { count } from '../../numbers.ts'

/** So many at once: an operator must not make a flood of their own. */
const AT_ONCE = 8
const NAMED = 50

const clientsOf = (n: number) => (n === 1 ? 'client' : 'clients')

interface Outcome {
  readonly done: number
  readonly failed: readonly string[]
}

async function unblockAll(clients: readonly string[]): Promise<Outcome> {
  const waiting = [...clients]
  const failed: string[] = []
  const lane = async () => {
    for (let client = waiting.pop(); client !== undefined; client = waiting.pop()) {
      const name = client
      await control.unblock(name, {}, actor).catch(error => failed.push(`${name}: ${sayError(error)}`))
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, lane))
  if (failed.length === clients.length) throw new Error(`None could be unblocked. ${failed[0]}`)
  return { done: clients.length - failed.length, failed }
}

interface Props {
  readonly clients: readonly string[]
  readonly opened: boolean
  readonly onClose: () => void
  readonly onDone: () => void
}

/** Lets several clients back in, asked once. */
export function UnblockManyDialog({ clients, opened, onClose, onDone }: Props) {
  return (
    <ActionDialog
      opened={opened}
      onClose={onClose}
      action={{
        title: `Unblock ${count(clients.length)} ${clientsOf(clients.length)}`,
        verb: `Unblock ${count(clients.length)}`,
        effect: 'Lifts their blocks on every instance and clears their violations and counters.',
        command: bouncer(['unblock', ...clients]),
        run: () => unblockAll(clients),
        done: ({ done, failed }) => {
          onDone()
          return failed.length === 0
            ? `Unblocked ${count(done)} ${clientsOf(done)}`
            : `Unblocked ${count(done)}; not: ${failed.slice(0, 5).join('; ')}`
        },
        children: (
          <ScrollArea.Autosize mah={160}>
            <Text size="sm" className="mono">
              {clients.slice(0, NAMED).join(' ')}
              {clients.length > NAMED && ` and ${count(clients.length - NAMED)} more`}
            </Text>
          </ScrollArea.Autosize>
        ),
      }}
    />
  )
}
