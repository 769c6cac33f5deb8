import { instancesText } from '../commands/status.ts'
import { count } from '../numbers.ts'
import type { Styles } from '../output.ts'
import { safe, truncate, width } from '../text.ts'
import { clock } from '../time.ts'
import { layoutOf } from './layout.ts'
import { bar, type Look, type Rates, type Row, rateText, sparkline, stateText, type View, windowOf } from './model.ts'

/** Since when nobody answers, and why. */
export interface Trouble {
  readonly since: number
  readonly says: string
}

export function headLines(
  look: Look | undefined,
  rates: readonly Rates[],
  trouble: Trouble | undefined,
  view: View,
  columns: number,
  { good, bad, warn, dim, bold }: Styles,
  now: number,
): string[] {
  if (!look) return [trouble ? bad(safe(trouble.says)) : 'looking …', '', '', '']
  const { store, activeBlocks, state } = look.status
  const latency = store.latencyMs === undefined ? '' : ` (${store.latencyMs.toFixed(1)} ms)`
  const where = store.detail ? safe(store.detail) : store.kind
  const says = `${where}${latency} · ${instancesText(look.status)} · ${count(activeBlocks ?? look.blocks.length, 'block')}`
  const word = trouble ? 'cut off' : state === 'ok' ? 'healthy' : 'degraded'
  const paint = trouble || state !== 'ok' ? bad : good
  const time = `${view.paused ? 'paused ' : ''}${clock(look.at, now)}`
  const left = truncate(`${word} · ${says}`, columns - time.length - 2)
  const space = ' '.repeat(Math.max(1, columns - width(left) - time.length))
  const last = rates.at(-1) ?? { allowed: 0, limited: 0, blocked: 0, degraded: 0 }
  const totals = `${rateText(last.allowed + last.limited + last.blocked)} req/s`
  const spark = sparkline(
    rates.map(({ allowed, limited, blocked }) => allowed + limited + blocked),
    Math.max(0, Math.min(60, columns - 16)),
  )
  const second = trouble
    ? bad(truncate(`since ${clock(trouble.since, now)}: ${safe(trouble.says)}`, columns))
    : `allowed ${bold(rateText(last.allowed))}   ${warn(`limited ${rateText(last.limited)}`)}   ${bad(`blocked ${rateText(last.blocked)}`)}   ${last.degraded > 0 ? bad(`degraded ${last.degraded}`) : 'degraded 0'}`
  return [
    `${paint(left.slice(0, word.length))}${left.slice(word.length)}${space}${view.paused ? warn(time) : dim(time)}`,
    `${totals.padEnd(14)}${dim(spark)}`,
    second,
    '',
  ]
}

export function tableLines(
  rows: readonly Row[],
  cursor: number,
  look: Look | undefined,
  view: View,
  columns: number,
  height: number,
  styles: Styles,
): string[] {
  if (!look) return []
  const { client, rate, bar: barWidth, used, policy, state } = layoutOf(columns - 1)
  const cells = (texts: readonly (readonly [string, number, boolean?])[]) =>
    texts
      .filter(([, size]) => size > 0)
      .map(([text, size, right]) => {
        const cut = truncate(text, size)
        const space = ' '.repeat(size - width(cut))
        return right ? space + cut : cut + space
      })
      .join('  ')
  const usedWidth = barWidth > 0 ? barWidth + 1 + used : used
  const mark = (name: View['sort'], title: string) => (view.sort === name ? `${title}▾` : title)
  const head = cells([
    [mark('client', 'CLIENT'), client],
    [mark('rate', 'REQ/S'), rate, true],
    [mark('used', 'USED'), usedWidth],
    ['POLICY', policy],
    ['STATE', state],
  ])
  if (rows.length === 0) {
    const nobody = view.filter
      ? `nobody matches "${view.filter}"`
      : 'nobody has asked lately. Try: bouncer load --rps 20 /api/data'
    return [styles.dim(` ${head.trimEnd()}`), nobody]
  }
  const { from, to } = windowOf(cursor, rows.length, height)
  const body = rows.slice(from, to).map((row, i) => {
    const fill = row.used === undefined || !row.limit ? '' : `${row.used}/${row.limit}`
    const filled = fill === '' ? '' : barWidth > 0 ? `${bar(row.used ?? 0, row.limit ?? 0, barWidth)} ${fill}` : fill
    const plain = cells([
      [safe(row.client), client],
      [rateText(row.rate), rate, true],
      [filled, usedWidth],
      [safe(row.policy ?? ''), policy],
      [stateText(row, look.at), state],
    ])
    const paint = { ok: (text: string) => text, near: styles.warn, limited: styles.warn, blocked: styles.bad }[
      row.state
    ]
    return from + i === cursor ? inverse(`>${plain}`.padEnd(columns), styles) : paint(` ${plain.trimEnd()}`)
  })
  return [styles.dim(` ${head.trimEnd()}`), ...body]
}

/** The mark before it is seen without colours too. */
const inverse = (text: string, { bold }: Styles) => (bold('x') === 'x' ? text.trimEnd() : `\x1b[7m${text}\x1b[27m`)

export function footer(
  view: View,
  detail: string | undefined,
  message: string,
  chosen: Row | undefined,
  total: number,
  { bold, dim, warn }: Styles,
): string {
  if (detail !== undefined) return dim('enter back')
  if (view.mode === 'filter') return `filter: ${bold(view.filter)}_   ${dim('enter keep · esc clear')}`
  if (view.mode === 'unblock')
    return warn(`unblock ${safe(view.chosen ?? '')}, with its violations and counters? (y/N)`)
  if (message) return message
  const filtered = view.filter ? ` "${view.filter}" (${total})` : ''
  const keys = `s sort · / filter${filtered} · p ${view.paused ? 'go on' : 'pause'} · u unblock · enter inspect · q quit`
  return dim(chosen ? keys : keys.replace(' · u unblock · enter inspect', ''))
}
