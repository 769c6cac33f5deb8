import { ActionIcon, Code, CopyButton, Group, Tooltip } from '@mantine/core'

/** The `bouncer` line that does the same as what stands beside it, to copy. */
export function CommandLine({ command }: { command: string }) {
  return (
    <Group gap={4} wrap="nowrap" maw="100%">
      {command.includes('\n') ? (
        <Code block tabIndex={0} style={{ flex: 1, minWidth: 0, maxHeight: 160, overflow: 'auto' }}>
          {command}
        </Code>
      ) : (
        <Code className="foreign" style={{ flex: '0 1 auto', minWidth: 0 }} title={command}>
          {command}
        </Code>
      )}
      <CopyButton value={command} timeout={1500}>
        {({ copied, copy }) => (
          <Tooltip label={copied ? 'copied' : 'copy'}>
            <ActionIcon variant="subtle" size="sm" onClick={copy} aria-label={`copy the command ${command}`}>
              <svg
                width="14"
                height="14"
                viewBox="0 0 16 16"
                fill="none"
                stroke="currentColor"
                strokeWidth="1.6"
                aria-hidden="true"
              >
                {copied ? <path d="M3 8.5l3.5 3.5L13 4.5" /> : <path d="M5.5 5.5h8v8h-8zM10.5 5.5v-3h-8v8h3" />}
              </svg>
            </ActionIcon>
          </Tooltip>
        )}
      </CopyButton>
    </Group>
  )
}
