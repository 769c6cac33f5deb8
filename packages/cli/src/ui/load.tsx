import { Box, render, Text } from 'ink'
import { useEffect, useState } from 'react'
import { addressOf } from '../load/clients.ts'
import { EDGES } from '../load/measurements.ts'
import { bar, milliseconds } from '../load/report.ts'
import type { Run } from '../load/run.ts'

export interface Drawn {
  readonly run: Run
  readonly title: string
  readonly durationMs: number
  readonly stdout: NodeJS.WriteStream
  readonly colour: boolean
}

/** Drawing takes its time from the sending: twice a second is enough. */
const REFRESH_MS = 500
const CLIENTS_SHOWN = 5
const BAR = 30

/** Draws the run while it lasts; what it answers takes the picture away again. */
export function drawLoad(drawn: Drawn): () => Promise<void> {
  const { stdout } = drawn
  const view = render(<Load {...drawn} />, { stdout, exitOnCtrlC: false, patchConsole: false })
  return async () => {
    view.clear()
    view.unmount()
    await view.waitUntilExit()
  }
}

function Load({ run, title, durationMs, stdout, colour }: Drawn) {
  const [, redraw] = useState(0)
  useEffect(() => {
    const timer = setInterval(() => redraw(n => n + 1), REFRESH_MS)
    return () => clearInterval(timer)
  }, [])
  const { seen } = run
  const elapsed = Math.min(run.elapsed(), durationMs)
  const seconds = Math.max(0.001, elapsed / 1000)
  const paint = (name: string) => (colour ? { color: name } : {})
  const outcomes = [
    { name: 'admitted', count: seen.admitted, style: {} },
    { name: 'limited', count: seen.limited, style: paint('yellow') },
    { name: 'blocked', count: seen.blocked + seen.denied, style: paint('red') },
    { name: 'errors', count: seen.errorCount + seen.degraded, style: paint('magenta') },
  ]
  const total = Math.max(1, seen.answered + seen.errorCount)
  const ms = (percentile: number) => (seen.answered === 0 ? '-' : milliseconds(seen.latencyMs(percentile)))
  const highest = Math.max(1, ...seen.bars)
  const shown = seen.bars.map((count, i) => ({ count, i })).filter(({ count }) => count > 0)
  const refused = [...seen.refused.values()].sort((a, b) => b.count - a.count).slice(0, CLIENTS_SHOWN)
  const width = Math.min(stdout.columns ?? 80, 120)

  return (
    <Box flexDirection="column" width={width}>
      <Text wrap="truncate">{title}</Text>
      <Text wrap="truncate">
        {(elapsed / 1000).toFixed(0)}s of {(durationMs / 1000).toFixed(0)}s {bar(elapsed / durationMs, BAR)}
      </Text>
      <Text> </Text>
      <Text wrap="truncate">
        sent {seen.sent} ({(seen.sent / seconds).toFixed(1)} rps) late {seen.late} held back {seen.heldBack} dropped{' '}
        {seen.dropped} in flight {seen.inFlight}
      </Text>
      {outcomes.map(({ name, count, style }) => (
        <Text key={name} wrap="truncate">
          {name.padEnd(9)} {String(count).padStart(8)} <Text {...style}>{bar(count / total, BAR)}</Text>
        </Text>
      ))}
      <Text> </Text>
      <Text wrap="truncate">
        ms p50 {ms(50)} p90 {ms(90)} p99 {ms(99)} p99.9 {ms(99.9)} max {milliseconds(seen.maxMs)}
      </Text>
      {shown.map(({ count, i }) => (
        <Text key={i} wrap="truncate">
          {edgeOf(i).padStart(9)} {String(count).padStart(8)} {bar(count / highest, BAR)}
        </Text>
      ))}
      {refused.length > 0 && <Text wrap="truncate">{'\n'}refused, most often first</Text>}
      {refused.map(({ client, count, first, last, blocked }) => (
        <Text key={client} wrap="truncate">
          {addressOf(client).padEnd(15)} {String(count).padStart(6)} from {(first / 1000).toFixed(1)}s to{' '}
          {(last / 1000).toFixed(1)}s {blocked ? 'blocked' : 'limited'}
        </Text>
      ))}
      <Text dimColor={colour}>Ctrl-C stops early</Text>
    </Box>
  )
}

const edgeOf = (i: number) => (i < EDGES.length ? `< ${EDGES[i]}` : `≥ ${EDGES.at(-1)}`)
