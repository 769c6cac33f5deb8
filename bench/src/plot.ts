import { median } from './harness.ts'

/** Bars side by side: a median each, with the range of its rounds. */
export interface Chart {
  readonly title: string
  /** `checks a second, more is better`. */
  readonly unit: string
  readonly bars: readonly { readonly name: string; readonly values: readonly number[] }[]
}

const WIDTH = 720
const LEFT = 190
const RIGHT = 90
const ROW = 30
const TOP = 52

const escaped = (text: string) => text.replace(/[&<>"]/g, char => `&#${char.charCodeAt(0)};`)
const short = (value: number) =>
  value >= 10_000 ? `${Math.round(value / 1000).toLocaleString('en')}k` : value.toFixed(value < 10 ? 2 : 0)

/** An SVG that stands alone, in light and dark. */
export function plot({ title, unit, bars }: Chart): string {
  const greatest = Math.max(...bars.flatMap(({ values }) => values))
  const x = (value: number) => LEFT + (value / greatest) * (WIDTH - LEFT - RIGHT)
  const height = TOP + bars.length * ROW + 8
  const rows = bars.map(({ name, values }, i) => {
    const [y, middle] = [TOP + i * ROW, median(values)]
    const line = y + (ROW - 8) / 2
    return [
      `<text x="${LEFT - 8}" y="${line + 4}" text-anchor="end">${escaped(name)}</text>`,
      `<rect class="${/^ours?\b/.test(name) ? 'ours' : 'peer'}" x="${LEFT}" y="${y}" width="${(x(middle) - LEFT).toFixed(1)}" height="${ROW - 8}" rx="2"/>`,
      `<line x1="${x(Math.min(...values)).toFixed(1)}" x2="${x(Math.max(...values)).toFixed(1)}" y1="${line}" y2="${line}"/>`,
      `<text x="${(x(Math.max(...values)) + 6).toFixed(1)}" y="${line + 4}">${short(middle)}</text>`,
    ].join('')
  })
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-label="${escaped(title)}">
<style>text{font:13px system-ui,sans-serif;fill:#222}.title{font-weight:600}.unit{fill:#666}.ours{fill:#2a78c8}.peer{fill:#a9b1ba}line{stroke:#222;stroke-width:1.5}@media(prefers-color-scheme:dark){text{fill:#ddd}.unit{fill:#999}.ours{fill:#5aa2ea}.peer{fill:#5d666f}line{stroke:#ddd}}</style>
<text class="title" x="8" y="20">${escaped(title)}</text><text class="unit" x="8" y="38">${escaped(unit)}</text>
${rows.join('\n')}
</svg>
`
}
