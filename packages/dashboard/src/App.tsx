import { Button, Center, Loader } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { Activity, Suspense, useEffect, useState } from 'react'
import { Link, Redirect, Route, Router, Switch } from 'wouter'
import { usePathname } from 'wouter/use-browser-location'
import { forgetAnswers, keys, queries, whenSignedOut, whoAmI } from './api.ts'
import { fetchPages, lazyPages } from './code.ts'
import { ErrorBoundary } from './components/ErrorBoundary.tsx'
import { ErrorState } from './components/ErrorState.tsx'
import { Shell } from './components/Shell.tsx'
import { connectLive, disconnectLive, newestFrame, useLive } from './live.ts'
import { Overview } from './pages/overview/Overview.tsx'
import { SignIn } from './pages/sign-in/SignIn.tsx'
import { type Known, SessionContext } from './session.ts'
import { setServerTime } from './time.ts'

/** When what one looks at is there, the rest of the code may come. */
const SETTLED_MS = 2000

/** What an address names after its page, decoded once: the router decodes a part of it, which cannot be told from the rest. */
function nameIn(pathname: string): string {
  const name = pathname.split('/').slice(3).join('/').replace(/\/$/, '')
  try {
    return decodeURIComponent(name)
  } catch {
    return name
  }
}

const waiting = (
  <Center h="60vh">
    <Loader aria-label="loading" />
  </Center>
)

const UNKNOWN = 'the control plane does not know it any more, as after a restart'

/** Nobody is signed in any more: who did not sign out finds the page as they left it. */
const forget = (why = UNKNOWN) => queries.setQueryData<Known>(keys.session, known => endOf(known, why))

const endOf = (known: Known | undefined, why: string): Known =>
  known && why !== 'signed out' ? { ended: why, ...known } : null

/** Who is signed in is connected before the page is drawn, so that what is live is there with it. */
async function arrive(): Promise<Known> {
  const session = await whoAmI()
  if (!session) return endOf(queries.getQueryData<Known>(keys.session), UNKNOWN)
  connectLive(forget)
  return session
}

export function App() {
  const session = useQuery({ queryKey: keys.session, queryFn: arrive, staleTime: Number.POSITIVE_INFINITY })
  const ended = session.data?.ended
  const signedIn = session.data != null && ended === undefined
  const pathname = usePathname()
  const [pages, setPages] = useState(lazyPages)
  const isLive = useLive(live => newestFrame(live) !== undefined)

  useEffect(() => {
    whenSignedOut(forget)
    if (!signedIn) return
    connectLive(forget)
    return disconnectLive
  }, [signedIn])

  useEffect(() => {
    if (session.data) setServerTime(session.data.now)
  }, [session.data])

  useEffect(() => {
    if (!isLive) return
    const timer = setTimeout(() => void fetchPages(), SETTLED_MS)
    return () => clearTimeout(timer)
  }, [isLive])

  // What the page was drawn from may be what is wrong.
  const retry = () => {
    forgetAnswers()
    setPages(lazyPages)
  }

  if (session.isPending) return waiting
  if (session.isError && session.data === undefined) {
    return <ErrorState error={session.error} what="the control plane" retry={() => void session.refetch()} />
  }
  return (
    <Router base="/dashboard">
      {session.data ? (
        <SessionContext value={session.data}>
          {ended !== undefined && <SignIn ended={ended} />}
          <Activity mode={ended === undefined ? 'visible' : 'hidden'}>
            <Shell>
              <ErrorBoundary key={pathname} onRetry={retry}>
                <Suspense fallback={waiting}>
                  <Switch>
                    <Route path="/" component={Overview} />
                    <Route path="/clients" component={pages.Clients} />
                    <Route path="/clients/*">
                      <pages.Client key={pathname} client={nameIn(pathname)} />
                    </Route>
                    <Route path="/blocks" component={pages.Blocks} />
                    <Route path="/lists" component={pages.Lists} />
                    <Route path="/policies" component={pages.Policies} />
                    <Route path="/policies/*">
                      <pages.Policy key={pathname} id={nameIn(pathname)} />
                    </Route>
                    <Route path="/keys" component={pages.Keys} />
                    <Route path="/audit" component={pages.Audit} />
                    <Route path="/fleet" component={pages.Fleet} />
                    <Route path="/sign-in">
                      <Redirect to="/" replace />
                    </Route>
                    <Route>
                      <ErrorState error={new Error('There is no such page')} what={pathname}>
                        <Button component={Link} href="/" variant="default">
                          Overview
                        </Button>
                      </ErrorState>
                    </Route>
                  </Switch>
                </Suspense>
              </ErrorBoundary>
            </Shell>
          </Activity>
        </SessionContext>
      ) : (
        <SignIn />
      )}
    </Router>
  )
}
