/** @jsxRuntime automatic */
import type { ControlPlane } from '@api-bouncer/limiter/contracts'
import { Box, type Key, render, Text, useApp, useInput } from 'ink'
import { useCallback, useEffect, useRef, useState } from 'react'
import { detailText } from '../commands/inspect.ts'
import { liftedText } from '../commands/unblock.ts'
import type { Context } from '../context.ts'
import { count } from '../numbers.ts'
import { type Styles, stylesOf } from '../output.ts'
import { safe, truncate, width } from '../text.ts'
import { clock } from '../time.ts'
import { layoutOf } from '../top/layout.ts'
import {
  bar,
  calmly,
  cursorOf,
  initialView,
  type Look,
  type Rates,
  type Row,
  ratesOf,
  rateText,
  rowsOf,
  SORTS,
  sparkline,
  stateText,
  type View,
  windowOf,
} from '../top/model.ts'

const POLL_MS = 1000
/** Who reads a row should not see it jump. */
const CALM_MS = 3000
const REMEMBERED = 300
const CLIENTS = 100

const ENTER_SCREEN = '\x1b[?1049h\x1b[H'
const LEAVE_SCREEN = '\x1b[?1049l\x1b[?25h'

/** Draws until `q` (true) or Ctrl-C (false); the screen is as it was before, however it ends. */
export async function showTop(context: Context, control: ControlPlane): Promise<boolean> {
  const { stdout, stdin } = context
  let quit = true
  stdout.write(ENTER_SCREEN)
  let restored = false
  const restore = () => {
    if (restored) return
    restored = true
    stdout.write(LEAVE_SCREEN)
  }
  const view = render(
    <Top
      context={context}
      control={control}
      onInterrupt={() => {
        quit = false
      }}
    />,
    { stdout, stdin, exitOnCtrlC: false, patchConsole: false },
  )
  const end = () => {
    view.unmount()
    restore()
  }
  const settled = context.onInterrupt(end)
  process.once('exit', restore)
  try {
    await view.waitUntilExit()
  } finally {
    end()
    settled()
    process.off('exit', restore)
  }
  return quit
}

type KeyName = 'interrupt' | 'return' | 'escape' | 'backspace' | 'up' | 'down' | 'pageUp' | 'pageDown' | 'text'

const CONTROL: Readonly<Record<string, KeyName>> = {
  '\x03': 'interrupt',
  '\r': 'return',
  '\n': 'return',
  '\x1b': 'escape',
  '\x7f': 'backspace',
  '\b': 'backspace',
}

function specialKey(key: Key): KeyName | undefined {
  if (key.return) return 'return'
  if (key.escape) return 'escape'
  if (key.backspace || key.delete) return 'backspace'
  if (key.upArrow) return 'up'
  if (key.downArrow) return 'down'
  if (key.pageUp) return 'pageUp'
  return key.pageDown ? 'pageDown' : undefined
}

interface Trouble {
  readonly since: number
  readonly says: string
}

function Top({ context, control, onInterrupt }: { context: Context; control: ControlPlane; onInterrupt: () => void }) {
  const { exit } = useApp()
  const styles = stylesOf(context, context.stdout)
  const [view, setView] = useState<View>(initialView)
  const [look, setLook] = useState<Look>()
  const [rates, setRates] = useState<readonly Rates[]>([])
  const [trouble, setTrouble] = useState<Trouble>()
  const [message, setMessage] = useState('')
  const [detail, setDetail] = useState<string>()
  const shown = useRef<string>(undefined)
  const show = (text: string | undefined) => {
    shown.current = text
    setDetail(text)
  }
  const size = useSize(context.stdout)
  const current = useRef(view)

  const poll = useCallback(async () => {
    const { paused, sort } = current.current
    if (paused) return
    try {
      const [status, clients, blocks] = await Promise.all([
        control.status(),
        control.clients({ sort: sort === 'used' ? 'nearest' : 'busiest', limit: CLIENTS }),
        control.blocks(),
      ])
      if (current.current.paused) return
      setLook({ at: context.now(), status, clients, blocks })
      setRates(before => [...before.slice(1 - REMEMBERED), ratesOf(status)])
      setTrouble(undefined)
    } catch (error) {
      setTrouble(before => ({ since: before?.since ?? context.now(), says: (error as Error).message }))
    }
  }, [control, context])

  useEffect(() => {
    let over = false
    let timer: NodeJS.Timeout | undefined
    const next = async () => {
      const startedAt = performance.now()
      await poll()
      if (!over) timer = setTimeout(next, Math.max(100, POLL_MS - (performance.now() - startedAt)))
    }
    void next()
    return () => {
      over = true
      clearTimeout(timer)
    }
  }, [poll])

  const rows = useCalmRows(look, view)
  const cursor = cursorOf(rows, view.chosen)
  const chosen = rows[cursor]

  async function unblock(client: string) {
    try {
      const result = await control.unblock(client, {}, context.actor)
      setMessage(
        result.wasBlocked
          ? `unblocked ${safe(client)}: ${liftedText(result, context.now())}`
          : `${safe(client)} was not blocked; cleared: ${liftedText(result, context.now())}`,
      )
      await poll()
    } catch (error) {
      setMessage(safe((error as Error).message))
    }
  }

  async function inspect(client: string) {
    try {
      show(detailText(await control.client(client), styles, size.columns))
    } catch (error) {
      setMessage(safe((error as Error).message))
    }
  }

  /** Reads and writes what holds now: several keys may come before the next picture. */
  const update = (change: Partial<View>) => {
    current.current = { ...current.current, ...change }
    setView(current.current)
  }

  function press(name: KeyName, text: string): void {
    const { mode, filter, sort, paused } = current.current
    if (name === 'interrupt') {
      onInterrupt()
      exit()
    } else if (shown.current !== undefined) {
      if (text === 'q' || name === 'escape' || name === 'return') show(undefined)
    } else if (mode === 'filter') {
      if (name === 'return') update({ mode: 'table' })
      else if (name === 'escape') update({ mode: 'table', filter: '' })
      else if (name === 'backspace') update({ filter: filter.slice(0, -1) })
      else if (name === 'text') update({ filter: (filter + safe(text)).slice(0, 100) })
    } else if (mode === 'unblock') {
      update({ mode: 'table' })
      if (/^y$/i.test(text)) void unblock(current.current.chosen as string)
      else setMessage('nothing was unblocked')
    } else {
      setMessage('')
      const at = cursorOf(rows, current.current.chosen)
      const move = (to: number) => update({ chosen: rows[Math.max(0, Math.min(rows.length - 1, to))]?.client })
      const under = rows[at]
      if (text === 'q') exit()
      else if (name === 'up' || text === 'k') move(at - 1)
      else if (name === 'down' || text === 'j') move(at + 1)
      else if (name === 'pageUp') move(at - 10)
      else if (name === 'pageDown') move(at + 10)
      else if (name === 'escape') update({ filter: '' })
      else if (text === 's') update({ sort: SORTS[(SORTS.indexOf(sort) + 1) % SORTS.length] ?? 'rate' })
      else if (text === '/') update({ mode: 'filter' })
      else if (text === 'p') update({ paused: !paused })
      else if (text === 'u' && under) update({ mode: 'unblock', chosen: under.client })
      else if (name === 'return' && under) void inspect(under.client)
    }
  }

  useInput((input, key) => {
    const special = specialKey(key)
    if (key.ctrl && input === 'c') press('interrupt', '')
    else if (special) press(special, '')
    // What is typed fast, or pasted, comes in one piece.
    else if (!key.ctrl && !key.meta) for (const char of input) press(CONTROL[char] ?? 'text', CONTROL[char] ? '' : char)
  })

  // One line less than there is: the last one would scroll.
  const height = Math.max(6, size.rows - 1)
  const lines =
    detail === undefined
      ? [
          ...headLines(look, rates, trouble, view, size.columns, styles, context.now()),
          ...tableLines(rows, cursor, look, view, size.columns, height - 6, styles),
        ]
      : detail.trimEnd().split('\n')
  return (
    <Box flexDirection="column" height={height} width={size.columns} overflow="hidden">
      <Box flexDirection="column" flexGrow={1} overflow="hidden">
        {lines.slice(0, height - 1).map((line, i) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: a line is its place
          <Text key={i} wrap="truncate">
            {line === '' ? ' ' : line}
          </Text>
        ))}
      </Box>
      <Text wrap="truncate">{footer(view, detail, message, chosen, rows.length, styles)}</Text>
    </Box>
  )
}

function headLines(
  look: Look | undefined,
  rates: readonly Rates[],
  trouble: Trouble | undefined,
  view: View,
  columns: number,
  { good, bad, warn, dim, bold }: Styles,
  now: number,
): string[] {
  if (!look) return [trouble ? bad(safe(trouble.says)) : 'looking …', '', '', '']
  const { store, instances, activeBlocks, state } = look.status
  const latency = store.latencyMs === undefined ? '' : ` (${store.latencyMs.toFixed(1)} ms)`
  const where = store.detail ? safe(store.detail) : store.kind
  const says = `${where}${latency} · ${count(instances.length, 'instance')} · ${count(activeBlocks ?? look.blocks.length, 'block')}`
  const word = trouble ? 'cut off' : state === 'ok' ? 'healthy' : 'degraded'
  const paint = trouble || state !== 'ok' ? bad : good
  const time = `${view.paused ? 'paused ' : ''}${clock(look.at, now)}`
  const left = truncate(`${word} · ${says}`, columns - time.length - 2)
  const space = ' '.repeat(Math.max(1, columns - width(left) - time.length))
  const last = rates.at(-1) ?? { allowed: 0, refused: 0, degraded: 0 }
  const totals = `${rateText(last.allowed + last.refused)} req/s`
  const spark = sparkline(
    rates.map(({ allowed, refused }) => allowed + refused),
    Math.max(0, Math.min(60, columns - 16)),
  )
  const second = trouble
    ? bad(truncate(`since ${clock(trouble.since, now)}: ${safe(trouble.says)}`, columns))
    : `allowed ${bold(rateText(last.allowed))}   ${warn(`refused ${rateText(last.refused)}`)}   ${last.degraded > 0 ? bad(`degraded ${last.degraded}`) : 'degraded 0'}`
  return [
    `${paint(left.slice(0, word.length))}${left.slice(word.length)}${space}${view.paused ? warn(time) : dim(time)}`,
    `${totals.padEnd(14)}${dim(spark)}`,
    second,
    '',
  ]
}

function tableLines(
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

function footer(
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

/** Rows whose order changes at most every 3 s, or when it is asked for. */
function useCalmRows(look: Look | undefined, { sort, filter }: View): Row[] {
  const order = useRef<{ at: number; key: string; clients: string[] }>({ at: 0, key: '', clients: [] })
  if (!look) return []
  const rows = rowsOf(look, sort, filter)
  const key = `${sort} ${filter}`
  if (order.current.key !== key || look.at - order.current.at >= CALM_MS) {
    order.current = { at: look.at, key, clients: rows.map(({ client }) => client) }
    return rows
  }
  return calmly(order.current.clients, rows)
}

function useSize(stdout: NodeJS.WriteStream): { columns: number; rows: number } {
  const read = useCallback(() => ({ columns: stdout.columns || 80, rows: stdout.rows || 24 }), [stdout])
  const [size, setSize] = useState(read)
  useEffect(() => {
    const resized = () => setSize(read())
    stdout.on('resize', resized)
    return () => {
      stdout.off('resize', resized)
    }
  }, [stdout, read])
  return size
}
