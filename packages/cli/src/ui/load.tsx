/** @jsxRuntime automatic */
// Said here too: run from source, tsx looks for the settings of where it was started.
import { Box, render, Text } from 'ink'
import { type ReactNode, useEffect, useState } from 'react'
import { addressOf } from '../load/clients.ts'
import { EDGES } from '../load/measurements.ts'
import { bar, milliseconds } from '../load/report.ts'
import type { Sender } from '../load/sender.ts'

export interface Drawn {
  readonly sender: Sender
  readonly title: readonly string[]
  readonly durationMs: number
  readonly stdout: NodeJS.WriteStream
  readonly colour: boolean
}

const REFRESH_MS = 500
const CLIENTS_SHOWN = 5
const BAR = 30
/** Lines besides the latency bars; a picture as high as the terminal could not be taken away again. */
const OTHER_LINES = 20

/** Draws the run while it lasts; what it answers takes the picture away again. */
export function drawLoad(drawn: Drawn): () => Promise<void> {
  const options = { stdout: drawn.stdout, exitOnCtrlC: false, patchConsole: false }
  const view = render(<Load {...drawn} />, options)
  return async () => {
    // What is drawn last stays: nothing.
    view.rerender(<Text />)
    await new Promise(resolve => setTimeout(resolve, 50))
    view.clear()
    view.unmount()
  }
}

function Load({ sender, title, durationMs, stdout, colour }: Drawn) {
  const [, redraw] = useState(0)
  useEffect(() => {
    const timer = setInterval(() => redraw(n => n + 1), REFRESH_MS)
    return () => clearInterval(timer)
  }, [])
  const seen = sender.seen()
  const elapsed = Math.min(seen.elapsedMs, durationMs)
  const seconds = Math.max(0.001, elapsed / 1000)
  const paint = (name: string) => (colour ? { color: name } : {})
  const outcomes = [
    { name: 'admitted', count: seen.admitted, style: {} },
    { name: 'limited', count: seen.limited, style: paint('yellow') },
    { name: 'blocked', count: seen.blocked + seen.denied, style: paint('red') },
    { name: 'errors', count: seen.errorCount + seen.degraded, style: paint('magenta') },
  ]
  const total = Math.max(1, seen.answered + seen.errorCount)
  const { latencyMs: l } = seen
  const percentiles = (['p50', 'p90', 'p99', 'p99.9', 'max'] as const).map(
    name => `${name} ${seen.answered === 0 ? '-' : milliseconds(l[name])}`,
  )
  const highest = Math.max(1, ...seen.bars)
  const shown = seen.bars
    .map((count, i) => ({ count, i }))
    .filter(({ count }) => count > 0)
    .slice(-Math.max(1, (stdout.rows ?? 24) - OTHER_LINES))
  const refused = seen.refused.slice(0, CLIENTS_SHOWN)

  return (
    <Box flexDirection="column" width={stdout.columns ?? 80}>
      <Line>{title.join('   ')}</Line>
      <Line>
        {(elapsed / 1000).toFixed(0).padStart(4)}s of {(durationMs / 1000).toFixed(0)}s {bar(elapsed / durationMs, BAR)}
      </Line>
      <Line> </Line>
      <Line>
        {`sent ${seen.sent} (${(seen.sent / seconds).toFixed(1)} rps)   late ${seen.late}   held back ${seen.heldBack}   dropped ${seen.dropped}`}
      </Line>
      {outcomes.map(({ name, count, style }) => (
        <Line key={name}>
          {name.padEnd(9)} {String(count).padStart(8)} <Text {...style}>{bar(count / total, BAR)}</Text>
        </Line>
      ))}
      <Line> </Line>
      <Line>ms {percentiles.join('   ')}</Line>
      {shown.map(({ count, i }) => (
        <Line key={i}>
          {edgeOf(i).padStart(9)} {String(count).padStart(8)} {bar(count / highest, BAR)}
        </Line>
      ))}
      {refused.length > 0 && <Line> </Line>}
      {refused.map(({ client, count, first, last, blocked }) => (
        <Line key={client}>
          {`${addressOf(client).padEnd(15)} refused ${count}, from ${(first / 1000).toFixed(1)}s to ${(last / 1000).toFixed(1)}s; ${blocked ? 'blocked' : 'limited'}`}
        </Line>
      ))}
      <Text dimColor={colour}>Ctrl-C stops early</Text>
    </Box>
  )
}

const Line = ({ children }: { children: ReactNode }) => <Text wrap="truncate">{children}</Text>

const edgeOf = (i: number) => (i < EDGES.length ? `< ${EDGES[i]}` : `≥ ${EDGES.at(-1)}`)
