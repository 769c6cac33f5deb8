import type { StatsRange } from '@api-bouncer/limiter/contracts'
import { useQuery } from '@tanstack/react-query'
import { control, every, keys } from '../../api.ts'
import { RANGE_NAMES, RANGES } from '../../ranges.ts'
import { useSearchState } from '../../search.ts'

/** The time that the overview shows, and what was kept of it. */
export function useRange() {
  const [asked, select] = useSearchState('range', '5m')
  const range: StatsRange = RANGE_NAMES.find(one => one === asked) ?? '5m'
  const history = useQuery({
    queryKey: keys.stats(range),
    queryFn: () => control.stats({ range }),
    // What could not be told to the store at its time is told later.
    refetchInterval: every(Math.max(RANGES[range].stepMs, 10_000)),
  })
  return { range, select, history }
}
