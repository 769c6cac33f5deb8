import { Anchor, Text } from '@mantine/core'
import { useMediaQuery } from '@mantine/hooks'
import { useEffect } from 'react'
import { Link } from 'wouter'
import { EmptyState } from '../../components/EmptyState.tsx'
import { type newestFrame, useLive } from '../../live.ts'
import { totalOf } from '../../outcomes.ts'
import { useSession } from '../../session.ts'
import { Busiest } from './Busiest.tsx'
import { ByPolicy } from './ByPolicy.tsx'
import { Events } from './Events.tsx'
import { ratesOf } from './points.ts'
import { Requests } from './Requests.tsx'
import { Tiles } from './Tiles.tsx'

/** Whether anything has been asked for since the page was opened; undefined: nothing is known yet. */
const isQuiet = (frames: Parameters<typeof newestFrame>[0]['frames']): boolean =>
  frames.length >= 3 && frames.every(frame => totalOf(ratesOf(frame)) === 0)

/** One look: is the API healthy, who is hurting it, what is done about it. */
export function Overview() {
  const quiet = useLive(live => isQuiet(live.frames))
  const { dataPlane } = useSession()
  const wide = useMediaQuery('(min-width: 75em)', true)
  useEffect(() => {
    document.title = 'Overview · API Bouncer'
  }, [])
  return (
    <>
      <h1 className="hidden-title">Overview</h1>
      <div className="overview">
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
          <Requests height={wide ? 250 : 220} />
          <Busiest />
        </div>
        <div className="row row-side">
          <ByPolicy />
          <Events />
        </div>
      </div>
    </>
  )
}
