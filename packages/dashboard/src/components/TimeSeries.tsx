import { useComputedColorScheme } from '@mantine/core'
import { useEffect, useRef } from 'react'
import uPlot from 'uplot'
import 'uplot/dist/uPlot.min.css'
import { LOOKS, SHOWN, type Shown, type Tally } from '../outcomes.ts'

/** One step: what became of the requests in it, a second or a minute; null: nobody told of it, a gap. */
export interface Point {
  /** Epoch ms. */
  readonly at: number
  readonly rates: Tally | null
}

/** Something that happened at a moment: a line across, and for what happens often a mark at the top. */
export interface Mark {
  readonly at: number
  readonly text: string
  readonly kind: 'violation' | 'block' | 'change'
}

interface Props {
  readonly points: readonly Point[]
  readonly marks?: readonly Mark[]
  /** Outcomes that are left out. */
  readonly hidden?: ReadonlySet<Shown>
  /** What it shows, for who cannot see it; the newest figures follow it in words. */
  readonly label: string
  readonly height?: number
  /** Steps so long that each stands for itself: bars, which a lonely one is seen by. */
  readonly bars?: boolean
  /** What the rates are by. */
  readonly per?: 'second' | 'minute'
  /** Epoch ms; what stands at the edges. */
  readonly from: number
  readonly to: number
}

/** From the ground up: refusals are what one looks for, so they stand on top. */
const STACK: readonly Shown[] = ['exempt', 'allowed', 'degraded', 'limited', 'blocked']

type Column = (number | null)[]

/** Each outcome on the shoulders of those below it. */
function stack(points: readonly Point[], hidden: ReadonlySet<Shown>): [number[], ...Column[]] {
  const below = points.map(() => 0)
  const columns = STACK.map(key =>
    points.map(({ rates }, i): number | null => {
      if (rates === null) return null
      if (!hidden.has(key)) below[i] = (below[i] as number) + rates[key]
      return below[i] as number
    }),
  )
  // uPlot counts in seconds, and draws the tallest first.
  return [points.map(({ at }) => at / 1000), ...columns.reverse()]
}

const barPaths = uPlot.paths.bars?.({ size: [0.9, 40], align: 1 })
const paths = barPaths as uPlot.Series.PathBuilder

const NONE: ReadonlySet<Shown> = new Set()
const NO_MARKS: readonly Mark[] = []

/** Requests by outcome over time, stacked. Drawn without React: new points cost no render. */
export function TimeSeries({
  points,
  marks = NO_MARKS,
  hidden = NONE,
  label,
  height = 240,
  bars = false,
  per = 'second',
  from,
  to,
}: Props) {
  const host = useRef<HTMLDivElement>(null)
  const plot = useRef<uPlot>(undefined)
  const tip = useRef<HTMLDivElement>(null)
  const scheme = useComputedColorScheme('light')
  const latest = useRef({ points, marks, hidden, per, from, to })
  latest.current = { points, marks, hidden, per, from, to }

  useEffect(() => {
    const element = host.current as HTMLDivElement
    const style = getComputedStyle(element)
    const text = style.getPropertyValue('--mantine-color-dimmed').trim()
    const grid = style.getPropertyValue('--mantine-color-default-border').trim()
    const series = [...STACK].reverse().map((key): uPlot.Series => {
      const color = LOOKS[key][scheme]
      return {
        label: LOOKS[key].name,
        stroke: color,
        fill: color,
        width: 1,
        points: { show: false },
        spanGaps: false,
        ...(bars && { paths }),
      }
    })
    const axis: uPlot.Axis = { stroke: text, grid: { stroke: grid, width: 1 }, ticks: { stroke: grid, width: 1 } }
    const options: uPlot.Options = {
      width: Math.max(200, element.clientWidth),
      height,
      legend: { show: false },
      // On the right the last time of day needs half its width.
      padding: [14, 24, 0, 0],
      cursor: { y: false, drag: { x: false, y: false }, points: { show: false } },
      scales: {
        x: { time: true, range: () => [latest.current.from / 1000, latest.current.to / 1000] },
        y: { range: (_, __, most) => [0, Math.max(1, (most ?? 0) * 1.1)] },
      },
      axes: [
        {
          ...axis,
          size: 28,
          space: 70,
          values: (_, times) => times.map(time => (time % 60 === 0 ? minutes : clock).format(time * 1000)),
        },
        { ...axis, size: 52, space: 32 },
      ],
      series: [{}, ...series],
      hooks: {
        draw: [u => drawMarks(u, latest.current.marks, scheme)],
        setCursor: [u => showTip(u, tip.current as HTMLDivElement, latest.current)],
      },
    }
    const made = new uPlot(options, stack(latest.current.points, latest.current.hidden) as uPlot.AlignedData, element)
    plot.current = made
    const observer = new ResizeObserver(() => {
      if (element.clientWidth > 0) made.setSize({ width: element.clientWidth, height })
    })
    observer.observe(element)
    return () => {
      observer.disconnect()
      made.destroy()
      plot.current = undefined
    }
  }, [scheme, height, bars])

  useEffect(() => {
    plot.current?.setData(stack(points, hidden) as uPlot.AlignedData)
  }, [points, hidden])

  // biome-ignore lint/correctness/useExhaustiveDependencies: the marks are read when it is drawn
  useEffect(() => {
    plot.current?.redraw(false)
  }, [marks])

  const newest = points.findLast(({ rates }) => rates !== null)?.rates
  const words = newest ? SHOWN.map(key => `${LOOKS[key].name} ${newest[key].toFixed(1)}`).join(', ') : 'nothing yet'
  return (
    <div style={{ position: 'relative', minHeight: height, minWidth: 0, overflow: 'hidden' }}>
      <div
        ref={host}
        style={{ minWidth: 0, overflow: 'hidden' }}
        role="img"
        aria-label={`${label}. Newest, a ${per}: ${words}`}
      />
      <div ref={tip} className="chart-tip" hidden />
    </div>
  )
}

function drawMarks(u: uPlot, marks: readonly Mark[], scheme: 'light' | 'dark'): void {
  const { ctx, bbox } = u
  ctx.save()
  ctx.lineWidth = devicePixelRatio
  const side = 4 * devicePixelRatio
  for (const { at, kind } of marks) {
    const x = u.valToPos(at / 1000, 'x', true)
    if (x < bbox.left || x > bbox.left + bbox.width) continue
    ctx.beginPath()
    if (kind === 'violation') {
      ctx.fillStyle = LOOKS.limited[scheme]
      ctx.moveTo(x - side, bbox.top)
      ctx.lineTo(x + side, bbox.top)
      ctx.lineTo(x, bbox.top + side * 1.6)
      ctx.fill()
      continue
    }
    const color = LOOKS[kind === 'block' ? 'blocked' : 'exempt'][scheme]
    ctx.strokeStyle = color
    ctx.setLineDash(kind === 'block' ? [2 * devicePixelRatio, 3 * devicePixelRatio] : [])
    ctx.moveTo(x, bbox.top)
    ctx.lineTo(x, bbox.top + bbox.height)
    ctx.stroke()
    // Above the chart, where nothing of its colour hides it.
    if (kind === 'block') {
      ctx.fillStyle = color
      ctx.fillRect(x - side, bbox.top - side * 2.5, side * 2, side * 2)
    } else {
      ctx.setLineDash([])
      ctx.beginPath()
      ctx.arc(x, bbox.top - side * 1.5, side * 0.9, 0, 2 * Math.PI)
      ctx.stroke()
    }
  }
  ctx.restore()
}

const clock = new Intl.DateTimeFormat(undefined, {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  hour12: false,
})

const minutes = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', hour12: false })

/** Exact values at the pointer, and what happened there. */
function showTip(
  u: uPlot,
  tip: HTMLDivElement,
  { points, marks, per = 'second', from, to }: Pick<Props, 'points' | 'marks' | 'per' | 'from' | 'to'>,
): void {
  const { idx, left = -1 } = u.cursor
  const point = idx === null || idx === undefined || left < 0 ? undefined : points[idx]
  tip.hidden = point === undefined
  if (!point) return
  const time = u.posToVal(left, 'x') * 1000
  const near = ((to - from) / Math.max(1, u.bbox.width / devicePixelRatio)) * 6
  const lines = [
    clock.format(point.at),
    ...(point.rates
      ? SHOWN.map(
          key =>
            `${LOOKS[key].mark} ${LOOKS[key].name} ${(point.rates as Tally)[key].toFixed(per === 'second' ? 1 : 0)}/${per === 'second' ? 's' : 'min'}`,
        )
      : ['nobody told of this time']),
    ...(marks ?? []).filter(({ at }) => Math.abs(at - time) <= near).map(({ text }) => text),
  ]
  tip.replaceChildren(
    ...lines.slice(0, 12).map(line => {
      const row = document.createElement('div')
      row.textContent = line
      return row
    }),
  )
  const wide = u.over.clientWidth
  tip.style.transform = `translate(${left > wide / 2 ? left - tip.offsetWidth + 40 : left + 64}px, 12px)`
}
