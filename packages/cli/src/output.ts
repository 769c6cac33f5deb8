import type { Context } from './context.ts'
import { csvCell, safe, safeJson, truncate, width } from './text.ts'

/** One column of a table and of a CSV file. */
export interface Column<Row> {
  /** In a table in capitals. */
  readonly name: string
  /** In the header of CSV; default: the name. */
  readonly csv?: string
  /** The plain value: what CSV gets; `undefined` is an empty cell. */
  readonly value: (row: Row) => unknown
  /** For people; default: the value as text. */
  readonly text?: (row: Row) => string
  readonly align?: 'right'
  /** Colours the finished cell. */
  readonly style?: (row: Row, styles: Styles) => (text: string) => string
  /** On a narrow terminal the column with the greatest number is cut first, and left out when nothing legible remains. */
  readonly cut?: number
  /** Only in CSV. */
  readonly csvOnly?: boolean
}

type Style = (text: string) => string
export interface Styles {
  readonly bold: Style
  readonly dim: Style
  readonly good: Style
  readonly warn: Style
  readonly bad: Style
}

const same: Style = text => text
const sgr =
  (on: string, off: number): Style =>
  text =>
    text === '' ? '' : `\x1b[${on}m${text}\x1b[${off}m`
const PLAIN: Styles = { bold: same, dim: same, good: same, warn: same, bad: same }
const COLOURED: Styles = {
  bold: sgr('1', 22),
  dim: sgr('2', 22),
  good: sgr('32', 39),
  warn: sgr('33', 39),
  bad: sgr('31', 39),
}

/** Colours only where they are seen, and wanted: a terminal, no --no-color, no NO_COLOR. */
export function stylesOf(
  { options, env }: Pick<Context, 'options' | 'env'>,
  stream: { isTTY?: boolean | undefined },
): Styles {
  const wanted = options.color && !env.NO_COLOR && env.TERM !== 'dumb'
  return wanted && stream.isTTY ? COLOURED : PLAIN
}

/** Prints a list: a table, JSON of the rows as they are, one of them a line, or CSV of the columns. */
export function printRows<Row>(
  context: Context,
  rows: readonly Row[],
  columns: readonly Column<Row>[],
  more: { readonly json?: unknown; readonly empty?: string } = {},
): void {
  const { stdout, options } = context
  if (options.output === 'human') {
    const empty = more.empty === undefined ? '' : `${more.empty}\n`
    const [styles, fit] = [stylesOf(context, stdout), columnsOf(stdout)]
    const laid = laidOut(rows, columns, fit)
    stdout.write(rows.length === 0 ? empty : drawn(rows, laid, styles) + styles.dim(leftOut(laid, fit)))
  } else if (options.output === 'csv') stdout.write(csv(rows, columns))
  else if (options.output === 'ndjson') stdout.write(ndjson(rows))
  else printJson(context, more.json ?? rows)
}

/** Prints one thing: in words, as JSON, or as CSV of what it has rows of. */
export function printOne<Row>(
  context: Context,
  value: unknown,
  human: (styles: Styles) => string,
  cells?: {
    readonly rows: readonly Row[]
    readonly columns: readonly Column<Row>[]
    /** The rows are what it is about, one a line of NDJSON. */
    readonly lines?: boolean
  },
): void {
  const { stdout, options } = context
  if (options.output === 'human') stdout.write(human(stylesOf(context, stdout)))
  else if (options.output === 'csv') {
    const { rows, columns } = cells ?? { rows: [value], columns: fieldsOf(value) }
    stdout.write(csv(rows as readonly Row[], columns as readonly Column<Row>[]))
  } else if (options.output === 'ndjson') stdout.write(ndjson(cells?.lines ? cells.rows : [value]))
  else printJson(context, value)
}

/** Prints what comes one by one as it comes, where the format can: each for people, or a line of JSON. */
export function printerOf<Row>(
  { stdout, options }: Context,
  human: (row: Row) => string,
  plain: (row: Row) => unknown = row => row,
): ((row: Row) => void) | undefined {
  if (options.output === 'human') return row => void stdout.write(human(row))
  if (options.output === 'ndjson') return row => void stdout.write(ndjson([plain(row)]))
  return undefined
}

/** Indented on a terminal, one line when piped. */
export const printJson = ({ stdout }: Context, value: unknown): void =>
  void stdout.write(`${safeJson(value, stdout.isTTY ? 2 : undefined)}\n`)

export const ndjson = (rows: readonly unknown[]): string => rows.map(row => `${safeJson(row)}\n`).join('')

/** RFC 4180, with a header. */
export const csv = <Row>(rows: readonly Row[], columns: readonly Column<Row>[]): string =>
  [columns.map(({ name, csv }) => csv ?? name), ...rows.map(row => columns.map(({ value }) => value(row)))]
    .map(cells => `${cells.map(csvCell).join(',')}\r\n`)
    .join('')

/** The fields of any object as columns. */
const fieldsOf = (value: unknown): Column<unknown>[] =>
  Object.keys((value ?? {}) as object).map(name => ({
    name,
    value: row => (row as Readonly<Record<string, unknown>>)[name],
  }))

/** How wide a stream is; undefined where nothing wraps: it is no terminal. */
export const columnsOf = (stream: { isTTY?: boolean | undefined; columns?: number }): number | undefined =>
  stream.isTTY ? stream.columns : undefined

const GAP = '  '
/** What is narrower says nothing; then the column is left out. */
const LEGIBLE = 8
const NARROWEST = 4

/** Aligned columns, no lines drawn. On a terminal of `fit` columns the least important are cut, then left out, and nothing wraps. */
export const table = <Row>(
  rows: readonly Row[],
  columns: readonly Column<Row>[],
  styles: Styles = PLAIN,
  fit?: number,
): string => drawn(rows, laidOut(rows, columns, fit), styles)

function drawn<Row>(rows: readonly Row[], { given, texts, fitting }: Layout<Row>, styles: Styles): string {
  const shown = given.map((_, i) => i).filter(i => fitting[i] !== 0)
  const only = <T>(all: readonly T[]): T[] => shown.map(i => all[i] as T)
  const [columns, widths, cells] = [only(given), only(fitting), texts.map(only)]
  const line = (texts: readonly string[], style: (i: number) => Style) => {
    const last = texts.length - 1
    const fitted = texts.map((text, i) => {
      const cut = truncate(text, widths[i] as number)
      const space = ' '.repeat((widths[i] as number) - width(cut))
      if (columns[i]?.align === 'right') return space + style(i)(cut)
      return style(i)(cut) + (i === last ? '' : space)
    })
    return `${fitted.join(GAP).trimEnd()}\n`
  }
  const header = line(
    columns.map(({ name }) => name.toUpperCase()),
    () => styles.dim,
  )
  return (
    header + rows.map((row, r) => line(cells[r] as string[], i => columns[i]?.style?.(row, styles) ?? same)).join('')
  )
}

interface Layout<Row> {
  readonly given: readonly Column<Row>[]
  readonly texts: readonly (readonly string[])[]
  /** 0: there is no room for it. */
  readonly fitting: readonly number[]
}

/** Which columns are wanted, what stands in them, and how wide each may be. */
export function laidOut<Row>(
  rows: readonly Row[],
  allColumns: readonly Column<Row>[],
  fit: number | undefined,
): Layout<Row> {
  const given = allColumns.filter(({ csvOnly }) => !csvOnly)
  const texts = rows.map(row => given.map(column => safe(textOf(column, row))))
  const natural = given.map(({ name }, i) => Math.max(name.length, ...texts.map(line => width(line[i] as string))))
  return { given, texts, fitting: fit === undefined ? natural : narrowed(natural, given, fit) }
}

/** Says which columns a narrow terminal has no room for. */
export function leftOut<Row>({ given, fitting }: Layout<Row>, fit: number | undefined): string {
  if (fit === undefined) return ''
  const names = given.filter((_, i) => fitting[i] === 0).map(({ name }) => name.toUpperCase())
  return names.length === 0 ? '' : `${truncate(`no room for: ${names.join(', ')}`, fit)}\n`
}

function textOf<Row>({ text, value }: Column<Row>, row: Row): string {
  if (text) return text(row)
  const plain = value(row)
  return plain === undefined || plain === null ? '' : String(plain)
}

/** The widths that fit: the least important column is cut, or left out (0) where too little of it would be left. */
function narrowed(natural: readonly number[], columns: readonly { cut?: number }[], fit: number): number[] {
  const widths = [...natural]
  const total = () => widths.reduce((sum, one) => sum + (one === 0 ? 0 : one + GAP.length), -GAP.length)
  const order = columns
    .map(({ cut }, i) => ({ cut, i }))
    .filter(({ cut }) => cut !== undefined)
    .sort((a, b) => (b.cut as number) - (a.cut as number))
  for (const { i } of order) {
    const over = total() - fit
    if (over <= 0) return widths
    const left = (widths[i] as number) - over
    widths[i] = left >= LEGIBLE ? left : 0
  }
  // Nothing more may be cut by rights; then the widest give way, rather than a line that wraps.
  while (total() > fit && Math.max(...widths) > NARROWEST) {
    const widest = widths.indexOf(Math.max(...widths))
    widths[widest] = (widths[widest] as number) - 1
  }
  return widths
}
