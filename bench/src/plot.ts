import { median } from './harness.ts'

/** Bars side by side: a median each, with the range of its rounds. */
export interface Bars {
  readonly title: string
  /** `checks a second, more is better`. */
  readonly unit: string
  readonly bars: readonly { readonly name: string; readonly values: readonly number[] }[]
}

/** How medians grow: one line a contender, one place after another. */
export interface Lines {
  readonly title: string
  readonly unit: string
  readonly places: readonly string[]
  readonly lines: readonly { readonly name: string; readonly values: readonly number[] }[]
}

export type Chart = Bars | Lines

const WIDTH = 720
const LEFT = 270
const RIGHT = 90
const ROW = 30
const TOP = 52

const escaped = (text: string) => text.replace(/[&<>"]/g, char => `&#${char.charCodeAt(0)};`)
const short = (value: number) =>
  value >= 10_000 ? `${Math.round(value / 1000).toLocaleString('en')}k` : value.toFixed(value < 10 ? 2 : 0)

const isOurs = (name: string) => /^ours?\b/.test(name)

function barsOf({ bars }: Bars): { body: string[]; height: number } {
  const greatest = Math.max(...bars.flatMap(({ values }) => values))
  const x = (value: number) => LEFT + (value / greatest) * (WIDTH - LEFT - RIGHT)
  const body = bars.map(({ name, values }, i) => {
    const [y, middle] = [TOP + i * ROW, median(values)]
    const line = y + (ROW - 8) / 2
    return [
      `<text x="${LEFT - 8}" y="${line + 4}" text-anchor="end">${escaped(name)}</text>`,
      `<rect class="${isOurs(name) ? 'ours' : 'peer'}" x="${LEFT}" y="${y}" width="${(x(middle) - LEFT).toFixed(1)}" height="${ROW - 8}" rx="2"/>`,
      `<line x1="${x(Math.min(...values)).toFixed(1)}" x2="${x(Math.max(...values)).toFixed(1)}" y1="${line}" y2="${line}"/>`,
      `<text x="${(x(Math.max(...values)) + 6).toFixed(1)}" y="${line + 4}">${short(middle)}</text>`,
    ].join('')
  })
  return { body, height: TOP + bars.length * ROW + 8 }
}

const PLOT = { left: 30, right: WIDTH - 210, top: TOP + 8, bottom: 290 }
const LABEL = 17

function linesOf({ places, lines }: Lines): { body: string[]; height: number } {
  const greatest = Math.max(...lines.flatMap(({ values }) => values))
  const x = (place: number) => PLOT.left + (place / (places.length - 1)) * (PLOT.right - PLOT.left)
  const y = (value: number) => PLOT.bottom - (value / greatest) * (PLOT.bottom - PLOT.top)
  const axis = [
    `<path class="axis" d="M${PLOT.left} ${PLOT.bottom}H${PLOT.right}"/>`,
    ...places.map(
      (place, i) => `<text x="${x(i)}" y="${PLOT.bottom + 18}" text-anchor="middle">${escaped(place)}</text>`,
    ),
  ]
  // Names stand where their lines end, from the top down, none over another.
  let below = Number.NEGATIVE_INFINITY
  const ended = [...lines].sort((a, b) => (b.values.at(-1) as number) - (a.values.at(-1) as number))
  const body = ended.map(({ name, values }, i) => {
    below = Math.max(y(values.at(-1) as number) + 4, below + LABEL)
    const kind = isOurs(name) ? 'ours' : 'peer'
    const points = values.map((value, place) => `${x(place).toFixed(1)},${y(value).toFixed(1)}`)
    return [
      `<polyline class="${kind}" points="${points.join(' ')}"${kind === 'peer' ? ` stroke-dasharray="${4 + 3 * i} ${i}"` : ''}/>`,
      ...points.map(point => `<circle class="${kind}" cx="${point.replace(',', '" cy="')}" r="3"/>`),
      `<text x="${PLOT.right + 10}" y="${below.toFixed(1)}">${escaped(name)} ${short(values.at(-1) as number)}</text>`,
    ].join('')
  })
  return { body: [...axis, ...body], height: Math.max(PLOT.bottom + 30, below + 10) }
}

const STYLE =
  'text{font:13px system-ui,sans-serif;fill:#222}.title{font-weight:600}.unit{fill:#666}.ours{fill:#2a78c8}.peer{fill:#a9b1ba}line{stroke:#222;stroke-width:1.5}polyline{stroke-width:2}polyline.ours,polyline.peer{fill:none}polyline.ours{stroke:#2a78c8}polyline.peer{stroke:#8b949e}.axis{stroke:#999}@media(prefers-color-scheme:dark){text{fill:#ddd}.unit{fill:#999}.ours{fill:#5aa2ea}.peer{fill:#5d666f}line{stroke:#ddd}polyline.ours{stroke:#5aa2ea}polyline.peer{stroke:#7d8690}}'

/** An SVG that stands alone, in light and dark. */
export function plot(chart: Chart): string {
  const { title, unit } = chart
  const { body, height } = 'bars' in chart ? barsOf(chart) : linesOf(chart)
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-label="${escaped(title)}">
<style>${STYLE}</style>
<text class="title" x="8" y="20">${escaped(title)}</text><text class="unit" x="8" y="38">${escaped(unit)}</text>
${body.join('\n')}
</svg>
`
}
