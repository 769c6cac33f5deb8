import type { Explanation } from '@api-bouncer/limiter/contracts'
import { Button, Group, List, Select, Stack, Text, TextInput } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { control, keys, sayError } from '../../api.ts'
import { bouncer } from '../../commands.ts'
import { CommandLine } from '../../components/CommandLine.tsx'
import { Outcome } from '../../components/Outcome.tsx'
import { Panel } from '../../components/Panel.tsx'
import { disarm } from '../../foreign.ts'
import { useSearchState } from '../../search.ts'
import { clockTime, duration, span } from '../../time.ts'

const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS']

/** The steps of a decision, in the order in which they are taken. */
function stepsOf({
  client,
  identity,
  policy,
  matched,
  method,
  path,
  allowlisted,
  denylisted,
  block,
  violations,
  limits,
}: Explanation) {
  const others = matched.filter(one => one.policy !== policy)
  const won = matched.find(one => one.policy === policy)
  return [
    [
      'client',
      `${disarm(client)}${
        identity.hops.length > 1
          ? `, through ${identity.hops
              .slice(0, -1)
              .map(hop => disarm(hop, 60))
              .join(', ')}${identity.header ? ` (${identity.header})` : ''}`
          : ''
      }`,
    ],
    [
      'policy',
      won
        ? `${won.policy} (${won.match}: ${won.limits.join(', ')}, ${won.algorithm})${others.length > 0 ? `; also matched: ${others.map(one => `${one.policy}${one.mode === 'shadow' ? ' (shadow)' : ''}`).join(', ')}` : ''}`
        : `none covers ${method} ${disarm(path, 80)}`,
    ],
    [
      'lists',
      allowlisted !== undefined
        ? `on the allowlist by ${allowlisted}: it passes`
        : denylisted !== undefined
          ? `on the denylist by ${denylisted}: it is refused`
          : 'on neither the allowlist nor the denylist',
    ],
    [
      'block',
      block
        ? `${disarm(block.reason)}, until ${clockTime(block.until)}`
        : `none; ${violations.length} violation${violations.length === 1 ? '' : 's'} count towards one`,
    ],
    [
      'limits',
      limits.length === 0
        ? 'none'
        : limits
            .map(
              ({ limit, windowMs, remaining, retryAfterMs }) =>
                `${limit - remaining} of ${limit} per ${duration(windowMs)} used${
                  retryAfterMs === undefined
                    ? ', and this would never fit'
                    : retryAfterMs > 0
                      ? `; room again in ${span(retryAfterMs)}`
                      : ''
                }`,
            )
            .join('; '),
    ],
  ] as const
}

/** What a request of this client would get now and why; counts nothing. The same as `bouncer explain`. */
export function Explain({ client }: { client: string }) {
  const [asked, setAsked] = useSearchState('explain', 'GET /')
  const [method = 'GET', path = '/'] = asked.split(/ (.*)/s)
  const [nextMethod, setMethod] = useState(method)
  const [nextPath, setPath] = useState(path)
  const explanation = useQuery({
    queryKey: keys.explain(client, method, path),
    queryFn: () => control.explain({ client, method, path }),
    refetchInterval: 3000,
  })
  const known = explanation.data
  return (
    <Panel title="Why: what a request would get now" id="explain">
      <form
        onSubmit={event => {
          event.preventDefault()
          setAsked(`${nextMethod} ${nextPath.startsWith('/') ? nextPath : `/${nextPath}`}`)
        }}
      >
        <Group gap="xs" align="end" mb="xs">
          <Select
            aria-label="method"
            data={METHODS}
            value={nextMethod}
            onChange={value => setMethod(value ?? 'GET')}
            w={110}
            allowDeselect={false}
          />
          <TextInput
            aria-label="path"
            value={nextPath}
            onChange={event => setPath(event.currentTarget.value)}
            style={{ flex: 1, minWidth: 140 }}
            maxLength={2000}
          />
          <Button type="submit" variant="default">
            Explain
          </Button>
        </Group>
      </form>
      {explanation.isError && (
        <Text size="sm" role="alert">
          {sayError(explanation.error)}
        </Text>
      )}
      {known && (
        <Stack gap={6}>
          <Text size="sm" fw={600} component="div">
            <Outcome outcome={known.outcome} /> {disarm(known.reason)}
            {known.retryAfterMs !== undefined &&
              known.retryAfterMs > 0 &&
              `, served again in ${span(known.retryAfterMs)}`}
          </Text>
          <List type="ordered" size="sm" spacing={2}>
            {stepsOf(known).map(([name, text]) => (
              <List.Item key={name}>
                <b>{name}</b> {text}
              </List.Item>
            ))}
          </List>
        </Stack>
      )}
      <CommandLine command={bouncer(['explain', client, method, path])} />
    </Panel>
  )
}
