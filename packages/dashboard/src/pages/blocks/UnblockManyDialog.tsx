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
  /** Of these: let in by somebody else, or its block had ended. */
  readonly already: number
  readonly failed: readonly string[]
}

async function unblockAll(clients: readonly string[]): Promise<Outcome> {
  const waiting = [...clients]
  const failed: string[] = []
  let already = 0
  const lane = async () => {
    for (let client = waiting.pop(); client !== undefined; client = waiting.pop()) {
      const name = client
      await control.unblock(name, {}, actor).then(
        ({ wasBlocked }) => {
          if (!wasBlocked) already++
        },
        error => failed.push(`${name}: ${sayError(error)}`),
      )
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, lane))
  if (failed.length === clients.length) throw new Error(`None could be unblocked. ${failed[0]}`)
  return { done: clients.length - failed.length, already, failed }
}

interface Props {
  readonly clients: readonly string[]
  readonly onClose: () => void
  readonly onDone: () => void
}

/** Lets several clients back in, asked once. */
export function UnblockManyDialog({ clients, onClose, onDone }: Props) {
  return (
    <ActionDialog
      opened
      onClose={onClose}
      action={{
        title: `Unblock ${count(clients.length)} ${clientsOf(clients.length)}`,
        verb: `Unblock ${count(clients.length)}`,
        effect: 'Lifts their blocks on every instance and clears their violations and counters.',
        command: bouncer(['unblock', ...clients]),
        run: () => unblockAll(clients),
        done: ({ done, already, failed }) => {
          onDone()
          const said = `Unblocked ${count(done)} ${clientsOf(done)}${already > 0 ? ` (already let in: ${count(already)})` : ''}`
          return failed.length === 0 ? said : `${said}; not: ${failed.slice(0, 5).join('; ')}`
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
