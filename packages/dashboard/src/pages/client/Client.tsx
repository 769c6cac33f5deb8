import type { ClientDetail } from '@api-bouncer/limiter/contracts'
import { Alert, Button, Group, Stack, Text } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { useLocation } from 'wouter'
import { parseRange } from '../../addresses.ts'
import { control, every, keys } from '../../api.ts'
import { bouncer } from '../../commands.ts'
import { Answer } from '../../components/Answer.tsx'
import { BlockDialog } from '../../components/BlockDialog.tsx'
import { CommandLine } from '../../components/CommandLine.tsx'
import { Countdown } from '../../components/Countdown.tsx'
import { PageHead } from '../../components/PageHead.tsx'
import { Panel } from '../../components/Panel.tsx'
import { UnblockDialog } from '../../components/UnblockDialog.tsx'
import { disarm } from '../../foreign.ts'
import { useLive } from '../../live.ts'
import { useSearchState } from '../../search.ts'
import { useReadOnly } from '../../session.ts'
import { clockTime } from '../../time.ts'
import { Counters } from './Counters.tsx'
import { Explain } from './Explain.tsx'
import { History } from './History.tsx'
import { Timeline } from './Timeline.tsx'

/** What holds for the client now, in a sentence. */
function Standing({ detail }: { detail: ClientDetail }) {
  const { block, allowlisted, denylisted, offences, graceUntil, client } = detail
  if (allowlisted !== undefined) {
    return (
      <Alert color="gray" title="Allowed">
        On the allowlist by {allowlisted}: every request passes uncounted{block ? ', in spite of its block' : ''}.
      </Alert>
    )
  }
  if (denylisted !== undefined) {
    return (
      <Alert color="red" title="Denied">
        On the denylist by {denylisted}: every request is refused with 403.
      </Alert>
    )
  }
  if (block) {
    return (
      <Alert
        color="red"
        title={
          <span>
            Blocked: ends in <Countdown until={block.until} />
          </span>
        }
      >
        {disarm(block.reason)} · set at {clockTime(block.since)} by {disarm(block.by, 40)}
        {block.policy !== undefined && ` under ${block.policy}`} · until {clockTime(block.until)}
        {offences > 1 && ` · offence ${offences}`}
        <CommandLine command={bouncer(['unblock', client])} />
      </Alert>
    )
  }
  return (
    <Text size="sm">
      Not blocked, on neither list.
      {graceUntil !== undefined && (
        <>
          {' '}
          Its violations cannot block it for another <Countdown until={graceUntil} />.
        </>
      )}
    </Text>
  )
}

/** Everything about one client: what it did, what it may still do, why it was refused, and what can be done about it. */
export default function Client({ client }: { client: string }) {
  const paused = useLive(live => live.paused)
  const detail = useQuery({
    queryKey: keys.client(client),
    queryFn: () => control.client(client),
    refetchInterval: every(paused ? undefined : 2000),
  })
  const history = useQuery({
    queryKey: keys.clientHistory(client),
    queryFn: () => control.clientHistory(client),
    refetchInterval: every(paused ? undefined : 10_000),
  })
  const [dialog, setDialog] = useSearchState('do')
  const [, go] = useLocation()
  const readOnly = useReadOnly()
  const close = () => setDialog('')
  const known = detail.data
  // 203.0.113.7 is itself; an IPv6 address is counted by its network.
  const name = known?.client ?? client
  const list = (to: 'allow' | 'deny') => go(`/lists?add=${to}&cidr=${encodeURIComponent(name)}`)
  // Only addresses go on lists.
  const isAddress = parseRange(name) !== undefined
  const refuse = readOnly === undefined ? {} : { disabled: true, title: readOnly }
  return (
    <>
      <PageHead title={disarm(name, 80)}>
        <Button size="compact-sm" variant="default" onClick={() => setDialog('unblock')} {...refuse}>
          Unblock
        </Button>
        <Button size="compact-sm" variant="default" onClick={() => setDialog('block')} {...refuse}>
          Block
        </Button>
        {isAddress && (
          <>
            <Button size="compact-sm" variant="default" onClick={() => list('allow')} {...refuse}>
              Allow
            </Button>
            <Button size="compact-sm" variant="default" onClick={() => list('deny')} {...refuse}>
              Deny
            </Button>
          </>
        )}
      </PageHead>
      <Stack gap={10}>
        <Answer of={detail} what="how it stands">
          {known => (
            <>
              {name !== client && (
                <Text size="sm" c="dimmed">
                  {disarm(client, 80)} is counted as {name}.
                </Text>
              )}
              <Standing detail={known} />
            </>
          )}
        </Answer>
        <Panel title="Requests by outcome, the last hour" id="history">
          <Answer of={history} what="its requests">
            {known => <History history={known} />}
          </Answer>
        </Panel>
        <div className="row row-half">
          <Panel title="Counters">
            <Answer of={detail} what="what it has used">
              {known => <Counters detail={known} />}
            </Answer>
          </Panel>
          <Panel title="What happened to it, and when" id="timeline">
            <Answer of={history} what="its violations and blocks">
              {history => known && <Timeline detail={known} history={history} />}
            </Answer>
          </Panel>
        </div>
        <Panel title="Why: what a request would get now" id="explain">
          {/* It begins where the client was refused last. */}
          <Answer of={detail} what="its last refusals">
            {({ refusals: [last] }) => <Explain client={name} route={last?.route ?? 'GET /'} />}
          </Answer>
        </Panel>
        <Group gap="xs">
          <Text size="xs" c="dimmed">
            On the command line
          </Text>
          <CommandLine command={bouncer(['inspect', name])} />
        </Group>
      </Stack>
      <BlockDialog client={name} opened={dialog === 'block'} onClose={close} />
      <UnblockDialog client={name} opened={dialog === 'unblock'} onClose={close} />
    </>
  )
}
