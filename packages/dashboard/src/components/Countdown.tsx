import { useMemo } from 'react'
import { clockTime, span, useNow } from '../time.ts'

/** How long until `until` (epoch ms, the server's clock), live; the exact time on hover. */
export function Countdown({ until, over = 'over' }: { until: number; over?: string }) {
  const now = useNow()
  const at = useMemo(() => clockTime(until), [until])
  return <span title={at}>{until > now ? span(until - now) : over}</span>
}
