import { Group, Paper, Title } from '@mantine/core'
import type { CSSProperties, ReactNode } from 'react'

interface PanelProps {
  readonly title: string
  /** Links to it: `#events`. */
  readonly id?: string
  readonly tools?: ReactNode
  readonly children: ReactNode
  readonly style?: CSSProperties
}

/** A part of a page with a name and a place to link to. No panel stands in another. */
export function Panel({ title, id, tools, children, style }: PanelProps) {
  const name = id ?? title.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-')
  return (
    <Paper
      component="section"
      withBorder
      p="sm"
      id={name}
      aria-labelledby={`${name}-title`}
      style={{ display: 'flex', flexDirection: 'column', minWidth: 0, minHeight: 0, ...style }}
    >
      <Group justify="space-between" gap="xs" mb="xs">
        <Title order={2} id={`${name}-title`}>
          {title}
        </Title>
        {tools}
      </Group>
      {children}
    </Paper>
  )
}
