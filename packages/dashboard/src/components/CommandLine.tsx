import { ActionIcon, Code, CopyButton, Group, Tooltip } from '@mantine/core'

/** The `bouncer` line that does the same as what stands beside it, to copy. */
export function CommandLine({ command }: { command: string }) {
  return (
    <Group gap={4} wrap="nowrap" maw="100%">
      <Code className="foreign" style={{ flex: '0 1 auto', minWidth: 0 }} title={command}>
        {command}
      </Code>
      <CopyButton value={command} timeout={1500}>
        {({ copied, copy }) => (
          <Tooltip label={copied ? 'copied' : 'copy'}>
            <ActionIcon variant="subtle" size="sm" onClick={copy} aria-label={`copy the command ${command}`}>
              {copied ? '✓' : '⧉'}
            </ActionIcon>
          </Tooltip>
        )}
      </CopyButton>
    </Group>
  )
}
