import { own } from '@api-bouncer/limiter/client'
import type { Policy } from '@api-bouncer/limiter/contracts'
import { Button, Group, Text } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { control, every, keys } from '../../api.ts'
import { Answer } from '../../components/Answer.tsx'
import { Panel } from '../../components/Panel.tsx'
import { count, percent } from '../../numbers.ts'
import { addTallies, hitRate, tallyOf, totalOf, ZERO } from '../../outcomes.ts'
import { useReadOnly } from '../../session.ts'
import { clockTime } from '../../time.ts'

interface Props {
  readonly policy: Policy
  /** There is a draft, which is not what is on trial. */
  readonly unsaved: boolean
  readonly onPromote: () => void
}

/** What a shadow policy would have refused, beside what was refused; and the step that makes it real. */
export function Trial({ policy, unsaved, onPromote }: Props) {
  const history = useQuery({
    queryKey: keys.stats('1h'),
    queryFn: () => control.stats({ range: '1h' }),
    refetchInterval: every(2000),
  })
  const readOnly = useReadOnly()
  const buckets = history.data?.buckets ?? []
  const sum = (outcome: 'shadow-allowed' | 'shadow-limited') =>
    buckets.reduce((total, { policies }) => total + (own(policies, policy.id)?.[outcome] ?? 0), 0)
  const [passed, refused] = [sum('shadow-allowed'), sum('shadow-limited')]
  const others = buckets.flatMap(({ policies }) => Object.entries(policies).filter(([id]) => id !== policy.id))
  const enforced = others.length === 0 ? ZERO : addTallies(others.map(([, counts]) => tallyOf(counts)))
  return (
    <Panel title="On trial, the last hour" id="trial">
      <Answer of={history} what="what it would have done">
        {({ at }) => (
          <>
            <Text size="sm">
              As of {clockTime(at)}:{' '}
              {passed + refused === 0
                ? 'no request has come where it applies.'
                : `it would have refused ${count(refused)} of ${count(passed + refused)} requests (${percent(refused / (passed + refused))}).`}
            </Text>
            <Text size="sm">
              What is enforced refused {count(enforced.limited + enforced.blocked)} of {count(totalOf(enforced))}{' '}
              requests everywhere ({percent(hitRate(enforced))}).
            </Text>
          </>
        )}
      </Answer>
      <Group mt="xs">
        <Button
          size="compact-sm"
          onClick={onPromote}
          disabled={readOnly !== undefined || unsaved}
          {...(readOnly && { title: readOnly })}
        >
          Enforce it
        </Button>
        {unsaved && (
          <Text size="xs" c="dimmed">
            Save or discard the draft first: what is on trial is the saved version.
          </Text>
        )}
      </Group>
    </Panel>
  )
}
