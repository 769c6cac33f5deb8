import { Group, Title } from '@mantine/core'
import { type ReactNode, useEffect } from 'react'

/** A page's name, in the window's title too, and what can be done on it. */
export function PageHead({ title, children }: { title: string; children?: ReactNode }) {
  useEffect(() => {
    document.title = `${title} · API Bouncer`
  }, [title])
  return (
    <Group justify="space-between" mb="sm" gap="xs">
      <Title order={1} className="foreign" style={{ minWidth: 0 }}>
        {title}
      </Title>
      {children !== undefined && <Group gap="xs">{children}</Group>}
    </Group>
  )
}
