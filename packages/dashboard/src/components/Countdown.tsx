import { Text } from '@mantine/core'
import { clockTime, span, useNow } from '../time.ts'

/** How long until `until` (epoch ms, the server's clock), live; the exact time on hover. */
export function Countdown({ until, over = 'over' }: { until: number; over?: string }) {
  const now = useNow()
  return (
    <Text span size="sm" title={clockTime(until, now)}>
      {until > now ? span(until - now) : over}
    </Text>
  )
}
