import { Group, Text, UnstyledButton } from '@mantine/core'
import { LOOKS, SHOWN, type Shown } from '../outcomes.ts'
import type { Mark } from './TimeSeries.tsx'

interface Props {
  readonly hidden: ReadonlySet<Shown>
  readonly onChange: (hidden: ReadonlySet<Shown>) => void
  /** What is counted: `requests a second`. */
  readonly unit: string
  /** What else is drawn there, by its kind. */
  readonly marks: Partial<Record<Mark['kind'], string>>
}

const LINES: Readonly<Record<Mark['kind'], readonly [mark: string, color: string]>> = {
  violation: ['▼', 'var(--limited)'],
  block: ['■┊', 'var(--blocked)'],
  change: ['○│', 'var(--exempt)'],
}

/** Which colour is which outcome, each to be hidden and shown; and what the chart counts. */
export function Legend({ hidden, onChange, unit, marks }: Props) {
  const toggle = (key: Shown) => {
    const next = new Set(hidden)
    if (!next.delete(key)) next.add(key)
    onChange(next)
  }
  return (
    <Group gap="sm" mb={4} role="group" aria-label="outcomes shown">
      {SHOWN.map(key => (
        <UnstyledButton
          key={key}
          onClick={() => toggle(key)}
          aria-pressed={!hidden.has(key)}
          title={`${LOOKS[key].meaning}; click to ${hidden.has(key) ? 'show' : 'hide'}`}
          fz="xs"
          td={hidden.has(key) ? 'line-through' : undefined}
        >
          <span aria-hidden style={{ color: `var(--${key})` }}>
            {LOOKS[key].mark}
          </span>{' '}
          {LOOKS[key].name}
        </UnstyledButton>
      ))}
      {(Object.entries(marks) as [Mark['kind'], string][]).map(([kind, name]) => (
        <Text span size="xs" key={kind}>
          <span aria-hidden style={{ color: LINES[kind][1] }}>
            {LINES[kind][0]}
          </span>{' '}
          {name}
        </Text>
      ))}
      <Text span size="xs" c="dimmed" ml="auto">
        {unit}
      </Text>
    </Group>
  )
}
