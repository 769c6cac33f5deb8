import { Anchor, Text } from '@mantine/core'
import { useMediaQuery, useViewportSize } from '@mantine/hooks'
import { type CSSProperties, useEffect } from 'react'
import { Link } from 'wouter'
import { EmptyState } from '../../components/EmptyState.tsx'
import { type Live, useLive } from '../../live.ts'
import { totalOf } from '../../outcomes.ts'
import { useSession } from '../../session.ts'
import { Busiest } from './Busiest.tsx'
import { ByPolicy } from './ByPolicy.tsx'
import { Events } from './Events.tsx'
import { ratesOf } from './points.ts'
import { Requests } from './Requests.tsx'
import { Tiles } from './Tiles.tsx'

/** Whether nothing has been asked for since the page was opened, as far as the whole fleet could be heard. */
const isQuiet = (frames: Live['frames']): boolean =>
  frames.length >= 3 && frames.every(frame => totalOf(ratesOf(frame)) === 0 && frame.store.state === 'ok')

/** The height of the screen that all of it fits on. */
const LAPTOP = 900

/** One look: is the API healthy, who is hurting it, what is done about it. */
export function Overview() {
  const quiet = useLive(live => isQuiet(live.frames))
  const { dataPlane } = useSession()
  const wide = useMediaQuery('(min-width: 75em)', true)
  // The page is one screen: most of what a taller one has more goes to the chart and to who stands beside it.
  const taller = useViewportSize().height - LAPTOP
  const chart = wide ? 250 + Math.max(0, Math.min(Math.round(taller * 0.7), 500)) : 220
  useEffect(() => {
    document.title = 'Overview · API Bouncer'
  }, [])
  return (
    <>
      <h1 className="hidden-title">Overview</h1>
      <div className="overview" style={{ '--chart': `${chart}px` } as CSSProperties}>
        <Tiles />
        {quiet && (
          <div className="quiet">
            <EmptyState
              what={`Quiet: no requests${dataPlane === undefined ? '' : ` at ${dataPlane}`}. Rehearse an attack:`}
            />
            <Text size="xs" c="dimmed" ta="center">
              Then look at{' '}
              <Anchor component={Link} href="/clients" size="xs">
                its clients
              </Anchor>{' '}
              and{' '}
              <Anchor component={Link} href="/blocks" size="xs">
                who is blocked
              </Anchor>
              .
            </Text>
          </div>
        )}
        <div className="row row-main">
          <Requests height={chart} />
          <Busiest rows={Math.floor((chart + 38) / 36)} />
        </div>
        <div className="row row-side">
          <ByPolicy />
          <Events />
        </div>
      </div>
    </>
  )
}
