import { deciding } from '@api-bouncer/limiter/client'
import type { LiveFrame } from '@api-bouncer/limiter/contracts'
import { Paper, Text } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { control, keys } from '../../api.ts'
import { newestFrame, useLive } from '../../live.ts'
import { millis, percent, percentile, rate } from '../../numbers.ts'
import { hitRate, LOOKS, type Shown, tallyOfPolicies } from '../../outcomes.ts'
import { RECENT, recent, recentOf } from '../../recent.ts'
import { serverNow } from '../../time.ts'
import { pointsOf } from './points.ts'

const MINUTE = 60

/** The last minute of a figure, small; of less, its end. */
function Sparkline({ values, color }: { values: readonly number[]; color: string }) {
  if (values.length < 2) return <div style={{ height: 22 }} />
  const most = Math.max(...values, Number.EPSILON)
  const points = values.map(
    (value, i) =>
      `${(100 - ((values.length - 1 - i) / (MINUTE - 1)) * 100).toFixed(1)},${(21 - (value / most) * 20).toFixed(1)}`,
  )
  return (
    <svg viewBox="0 0 100 22" preserveAspectRatio="none" width="100%" height={22} aria-hidden="true">
      <polyline
        points={points.join(' ')}
        fill="none"
        stroke={color}
        strokeWidth={1.5}
        vectorEffect="non-scaling-stroke"
      />
    </svg>
  )
}

interface TileProps {
  readonly name: string
  readonly value: string
  /** Small, behind the value. */
  readonly beside?: string
  readonly exact?: string
  readonly note?: string | undefined
  readonly values?: readonly number[]
  readonly color?: string
  readonly mark?: string
  /** It is the mean of the last seconds. */
  readonly mean?: boolean
}

function Tile({
  name,
  value,
  beside,
  exact,
  note,
  values,
  color = 'var(--mantine-color-dimmed)',
  mark,
  mean = false,
}: TileProps) {
  return (
    <Paper withBorder px="xs" py={6} role="group" aria-label={name} style={{ minWidth: 0 }}>
      <Text size="xs" c="dimmed" tt="uppercase" fw={600} className="foreign">
        {mark !== undefined && (
          <span aria-hidden style={{ color }}>
            {mark}{' '}
          </span>
        )}
        {name}
        {mean && (
          <Text span inherit tt="none" fw={400}>
            {` · ${RECENT} s`}
          </Text>
        )}
      </Text>
      <Text fz={22} fw={600} lh={1.3} title={exact} {...(beside === undefined && { className: 'foreign' })}>
        {value}
        {beside !== undefined && (
          <>
            {' '}
            <Text span size="xs" c="dimmed" fw={400} display="inline-block">
              {beside}
            </Text>
          </>
        )}
      </Text>
      {values ? (
        <Sparkline values={values} color={color} />
      ) : (
        <Text size="xs" c="dimmed" className="foreign" title={note} h={22}>
          {note}
        </Text>
      )}
    </Paper>
  )
}

const NOTHING = tallyOfPolicies({})

const sumOf = (histograms: readonly (readonly number[])[]): number[] =>
  histograms.reduce<number[]>((sum, one) => one.map((n, i) => n + (sum[i] ?? 0)), [])

/** Each minute-old frame's p99, ms; 0 where nothing was decided. */
const p99s = (frames: readonly LiveFrame[]) => frames.map(({ latency }) => finite(percentile(latency, 0.99)) ?? 0)
const finite = (n: number | undefined) => (n === undefined || Number.isFinite(n) ? n : 1000)

const sayTime = (ms: number | undefined) => (ms === Number.POSITIVE_INFINITY ? '> 1 s' : millis(ms))

/** One look: rates by outcome, how much is refused, how long deciding takes, and whether the store is well. */
export function Tiles() {
  const frames = useLive(live => live.frames)
  const newest = useLive(newestFrame)
  const history = useQuery({ queryKey: keys.stats('5m'), queryFn: () => control.stats({ range: '5m' }) })
  // What came before this page was opened belongs to the minute too.
  const rates = pointsOf('5m', history.data, frames, newest?.at ?? history.data?.at ?? serverNow())
    .slice(-MINUTE)
    .map(({ rates }) => rates ?? NOTHING)
  const now = recentOf(frames)
  const outcome = (key: Shown) => ({
    name: `${LOOKS[key].name} /s`,
    mark: LOOKS[key].mark,
    color: `var(--${key})`,
    mean: true,
    value: rate(now.rates?.[key]),
    exact: now.rates
      ? `${now.rates[key].toFixed(2)} a second, mean of the last ${RECENT} s: ${LOOKS[key].meaning}`
      : '',
    values: rates.map(tally => tally[key]),
  })
  const latency = sumOf(recent(frames).map(frame => frame.latency))
  const [p50, p99] = [percentile(latency, 0.5), percentile(latency, 0.99)]
  const set =
    (history.data?.buckets ?? []).reduce((sum, { blocks }) => sum + blocks, 0) +
    frames.reduce((sum, { at, blocks }) => sum + (at > (history.data?.at ?? 0) ? blocks : 0), 0)
  return (
    <div className="tiles">
      <Tile {...outcome('allowed')} />
      <Tile {...outcome('limited')} />
      <Tile {...outcome('blocked')} />
      <Tile
        name="refused"
        mean
        value={percent(now.refused)}
        exact={`hit rate: what share of the requests of the last ${RECENT} s was limited or blocked`}
        values={rates.map(tally => hitRate(tally) ?? 0)}
      />
      <Tile
        name="decision p99"
        mean
        value={sayTime(p99)}
        {...(p50 !== undefined && { beside: `p50 ${sayTime(p50)}` })}
        exact={`time to decide, last ${RECENT} s`}
        values={p99s(frames.slice(-MINUTE))}
      />
      <Tile
        name="active blocks"
        value={newest ? (newest.activeBlocks === undefined ? 'unknown' : String(newest.activeBlocks)) : '–'}
        note={history.data ? `${set > 0 ? `+${set}` : 'none'} in 5m` : 'unknown how many in 5m'}
      />
      <Tile
        name="store"
        value={newest ? storeOf(newest) : '–'}
        exact={newest?.store.detail ?? ''}
        note={newest && fleetOf(newest)}
      />
    </div>
  )
}

/** How long it takes to answer: its name stands below, where there is room for it. */
function storeOf({ store }: Pick<LiveFrame, 'store'>): string {
  if (store.state === 'degraded') return 'degraded'
  return store.latencyMs === undefined ? nameOf(store) : millis(store.latencyMs)
}

const nameOf = ({ kind }: LiveFrame['store']) => (kind === 'memory' ? 'embedded' : 'Redis')

function fleetOf({ store, instances }: Pick<LiveFrame, 'store' | 'instances'>): string {
  if (store.state === 'degraded') return `${nameOf(store)} · others unknown`
  const alive = deciding(instances).length
  const seen = `${alive} instance${alive === 1 ? '' : 's'}`
  return storeOf({ store }) === nameOf(store) ? seen : `${nameOf(store)} · ${seen}`
}
