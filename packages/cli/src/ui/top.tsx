/** @jsxRuntime automatic */
import type { ControlPlane } from '@api-bouncer/limiter/contracts'
import { Box, type Key, render, Text, useApp, useInput } from 'ink'
import { useCallback, useEffect, useRef, useState } from 'react'
import { detailText } from '../commands/inspect.ts'
import { liftedText } from '../commands/unblock.ts'
import type { Context } from '../context.ts'
import { stylesOf } from '../output.ts'
import { safe } from '../text.ts'
import {
  calmly,
  cursorOf,
  initialView,
  type Look,
  type Rates,
  type Row,
  ratesOf,
  rowsOf,
  SORTS,
  type View,
} from '../top/model.ts'
import { footer, headLines, type Trouble, tableLines } from '../top/screen.ts'

const POLL_MS = 1000
/** Who reads a row should not see it jump. */
const CALM_MS = 3000
const REMEMBERED = 300
const CLIENTS = 100
/** Of the blocked so many are shown; how many there are stands above. */
const BLOCKS = 1000

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
      const [status, clients, { blocks }] = await Promise.all([
        control.status(),
        control.clients({ sort: sort === 'used' ? 'nearest' : 'busiest', limit: CLIENTS }),
        control.blocks({ limit: BLOCKS }),
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
