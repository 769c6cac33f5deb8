import type { Explanation } from '@api-bouncer/limiter/contracts'
import { Anchor, Button, Group, List, Select, Stack, Text, TextInput } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { type ReactNode, useState } from 'react'
import { Link } from 'wouter'
import { control, every, keys } from '../../api.ts'
import { bouncer } from '../../commands.ts'
import { Answer } from '../../components/Answer.tsx'
import { CommandLine } from '../../components/CommandLine.tsx'
import { Countdown } from '../../components/Countdown.tsx'
import { disarm } from '../../foreign.ts'
import { LOOKS } from '../../outcomes.ts'
import { useSearchState } from '../../search.ts'
import { clockTime, duration, span } from '../../time.ts'

const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS']

/** So many refusals say why: the newest. */
const SHOWN = 5

/** `in 13m 02s, at 14:03:11`. */
function When({ at }: { at: number }) {
  return (
    <>
      at {clockTime(at)} (in <Countdown until={at} over="a moment" />)
    </>
  )
}

/** The answer. */
function Verdict({ explanation }: { explanation: Explanation }) {
  const { outcome, reason, block, denylisted, limits, policy, at, retryAfterMs } = explanation
  const passes = outcome === 'allowed' || outcome === 'exempt'
  const again = retryAfterMs === undefined ? undefined : at + retryAfterMs
  return (
    <Text size="sm" fw={600} component="div">
      <span aria-hidden style={{ color: `var(--${outcome})` }}>
        {LOOKS[outcome].mark}
      </span>{' '}
      {passes ? 'Let through' : 'Refused'} now:{' '}
      {outcome === 'allowed' ? (
        `${limits.map(({ remaining, limit }) => `${remaining} of ${limit}`).join(', ')} left under ${policy}`
      ) : outcome === 'blocked' && block && !denylisted ? (
        <>
          blocked, which ends <When at={block.until} />
          {block.offence > 1 && `; offence ${block.offence}`}
        </>
      ) : (
        disarm(reason)
      )}
      {outcome === 'limited' &&
        (again === undefined ? (
          '; waiting does not help'
        ) : (
          <>
            ; it fits again <When at={again} />
          </>
        ))}
      {outcome === 'blocked' && block && again !== undefined && again > block.until && (
        <>
          ; its limits let it in <When at={again} />
        </>
      )}
    </Text>
  )
}

function ClientStep({ client, identity: { address, hops, header } }: Explanation) {
  const trusted = hops.slice(0, -1)
  return (
    <>
      {disarm(client)}
      {address !== undefined && address !== client && `, the network of ${address}`}
      {trusted.length > 0 &&
        `, ${header ? `named by ${header}, ` : ''}behind ${trusted.length === 1 ? 'the trusted proxy' : 'the trusted proxies'} ${trusted.map(hop => disarm(hop, 60)).join(', ')}`}
    </>
  )
}

function PolicyStep({ policy, matched, method, path }: Explanation) {
  if (matched.length === 0) return `none covers ${method} ${disarm(path, 80)}`
  return (
    <List size="sm" listStyleType="none">
      {matched.map(one => (
        <List.Item key={one.policy}>
          <Anchor component={Link} href={`/policies/${encodeURIComponent(one.policy)}`} size="sm" underline="always">
            {one.policy}
          </Anchor>{' '}
          {one.policy === policy ? 'decides' : one.mode === 'shadow' ? 'on trial, refuses nobody' : 'matches too'}:{' '}
          {one.match}, {one.limits.join(', ')}, {one.algorithm}
        </List.Item>
      ))}
    </List>
  )
}

function listsText({ allowlisted, denylisted }: Explanation): string {
  if (allowlisted !== undefined) {
    const over = denylisted === undefined ? '' : `, which wins over the denylist (${denylisted})`
    return `on the allowlist by ${allowlisted}: it passes${over}`
  }
  return denylisted === undefined
    ? 'on neither the allowlist nor the denylist'
    : `on the denylist by ${denylisted}: it is refused`
}

function Refusals({ refusals, now }: { refusals: Explanation['refusals']; now: number }) {
  if (refusals.length === 0) return null
  return (
    <div className="scroll">
      <table className="evidence" aria-label="what it was refused">
        <tbody>
          {refusals.map(({ at, policy, route, limit }, i) => (
            // biome-ignore lint/suspicious/noArrayIndexKey: two of one millisecond are alike
            <tr key={`${at} ${route} ${i}`}>
              <td className="mono">{clockTime(at, now)}</td>
              <td>{policy}</td>
              <td className="mono" title={disarm(route)}>
                {disarm(route, 80)}
              </td>
              <td>over {limit}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}

/** The block and the refusals that led to it, or the violations that may lead to one. */
function BlockStep({ block, violations, refusals, allowlisted, at }: Explanation) {
  if (!block) {
    const n = violations.length
    return (
      <>
        none; {n === 0 ? 'no violation counts' : n === 1 ? '1 violation counts' : `${n} violations count`} towards one
        <Refusals refusals={refusals.slice(0, Math.min(n, SHOWN))} now={at} />
      </>
    )
  }
  const auto = block.by === 'auto'
  return (
    <>
      {auto ? `${disarm(block.reason)} set it` : `${disarm(block.by, 40)} set it (${disarm(block.reason)})`} at{' '}
      {clockTime(block.since, at)}; it ends <When at={block.until} />
      {allowlisted !== undefined && '; the allowlist wins over it'}
      {auto && <Refusals refusals={refusals.filter(one => one.at <= block.since).slice(0, SHOWN)} now={at} />}
    </>
  )
}

function LimitsStep({ limits, policy, at, outcome }: Explanation) {
  if (limits.length === 0) return 'none to count'
  return (
    <List size="sm" listStyleType="none">
      {limits.map(({ limit, perWindow, windowMs, remaining, resetAfterMs, retryAfterMs }) => (
        <List.Item key={windowMs}>
          {policy}: {limit - remaining} of {limit}
          {perWindow === undefined
            ? ` per ${duration(windowMs)} used`
            : ` used, ${perWindow} per ${duration(windowMs)} (burst ${limit})`}
          , {remaining} left
          {resetAfterMs > 0 && (
            <>
              ; the next unit <When at={at + resetAfterMs} />
            </>
          )}
          {retryAfterMs === undefined
            ? '; this request would never fit'
            : retryAfterMs > 0 &&
              `; it ${outcome === 'blocked' ? 'would refuse too' : 'refuses'} for ${span(retryAfterMs)}`}
        </List.Item>
      ))}
    </List>
  )
}

/** The line that changes it. */
function nextOf({
  client,
  outcome,
  block,
  allowlisted,
  denylisted,
}: Explanation): readonly [string, string] | undefined {
  if (allowlisted !== undefined) return ['Limit it again', bouncer(['allow', 'rm', allowlisted])]
  if (denylisted !== undefined) return ['Let it back in', bouncer(['deny', 'rm', denylisted])]
  if (block || outcome === 'limited') return ['Let it back in', bouncer(['unblock', client])]
  return undefined
}

const STEPS: readonly (readonly [name: string, step: (explanation: Explanation) => ReactNode])[] = [
  ['client', ClientStep],
  ['policy', PolicyStep],
  ['lists', listsText],
  ['block', BlockStep],
  ['limits', LimitsStep],
]

/** What a request of this client would get now and why; counts nothing. The same as `bouncer explain`. `route`: where it begins. */
export function Explain({ client, route }: { client: string; route: string }) {
  // It stays where it began, wherever the client is refused meanwhile.
  const [first] = useState(route)
  const [asked, setAsked] = useSearchState('explain')
  const [method = 'GET', path = '/'] = (asked || first).split(/ (.*)/s)
  const [nextMethod, setMethod] = useState(method)
  const [nextPath, setPath] = useState(path)
  const explanation = useQuery({
    queryKey: keys.explain(client, method, path),
    queryFn: () => control.explain({ client, method, path }),
    refetchInterval: every(3000),
  })
  const next = explanation.data && nextOf(explanation.data)
  return (
    <>
      <form
        onSubmit={event => {
          event.preventDefault()
          setAsked(`${nextMethod} ${nextPath.startsWith('/') ? nextPath : `/${nextPath}`}`)
        }}
      >
        <Group gap="xs" align="end" mb="xs">
          <Select
            aria-label="method"
            data={METHODS.includes(nextMethod) ? METHODS : [...METHODS, nextMethod]}
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
      <Answer of={explanation} what="what a request would get">
        {known => (
          <Stack gap={6}>
            <Verdict explanation={known} />
            <ol className="steps">
              {STEPS.map(([name, step]) => (
                <li key={name}>
                  <b>{name}</b>
                  <div>{step(known)}</div>
                </li>
              ))}
            </ol>
          </Stack>
        )}
      </Answer>
      <Group gap="md" mt={4}>
        {[...(next ? [next] : []), ['The same', bouncer(['explain', client, method, path])] as const].map(
          ([what, command]) => (
            <Group key={what} gap="xs" maw="100%">
              <Text size="xs" c="dimmed">
                {what}
              </Text>
              <CommandLine command={command} />
            </Group>
          ),
        )}
      </Group>
    </>
  )
}
