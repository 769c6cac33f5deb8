import { Center, Loader } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { Activity, lazy, Suspense, useEffect } from 'react'
import { Redirect, Route, Router, Switch } from 'wouter'
import { keys, queries, whenSignedOut, whoAmI } from './api.ts'
import { ErrorState } from './components/ErrorState.tsx'
import { Shell } from './components/Shell.tsx'
import { connectLive, disconnectLive } from './live.ts'
// The overview comes with the page; the others when they are asked for.
import { Overview } from './pages/overview/Overview.tsx'
import { SignIn } from './pages/sign-in/SignIn.tsx'
import { type Known, SessionContext } from './session.ts'
import { setServerTime } from './time.ts'

const Clients = lazy(() => import('./pages/clients/Clients.tsx'))
const Client = lazy(() => import('./pages/client/Client.tsx'))
const Blocks = lazy(() => import('./pages/blocks/Blocks.tsx'))
const Lists = lazy(() => import('./pages/lists/Lists.tsx'))
const Policies = lazy(() => import('./pages/policies/Policies.tsx'))
const Policy = lazy(() => import('./pages/policies/Policy.tsx'))
const Keys = lazy(() => import('./pages/keys/Keys.tsx'))
const Audit = lazy(() => import('./pages/audit/Audit.tsx'))
const Fleet = lazy(() => import('./pages/fleet/Fleet.tsx'))

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

  useEffect(() => {
    whenSignedOut(forget)
    if (!signedIn) return
    connectLive(forget)
    return disconnectLive
  }, [signedIn])

  useEffect(() => {
    if (session.data) setServerTime(session.data.now)
  }, [session.data])

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
              <Suspense fallback={waiting}>
                <Switch>
                  <Route path="/" component={Overview} />
                  <Route path="/clients" component={Clients} />
                  <Route path="/clients/:client">
                    {({ client }) => <Client key={client} client={decodeURIComponent(client)} />}
                  </Route>
                  <Route path="/blocks" component={Blocks} />
                  <Route path="/lists" component={Lists} />
                  <Route path="/policies" component={Policies} />
                  <Route path="/policies/:id">{({ id }) => <Policy key={id} id={decodeURIComponent(id)} />}</Route>
                  <Route path="/keys" component={Keys} />
                  <Route path="/audit" component={Audit} />
                  <Route path="/fleet" component={Fleet} />
                  <Route path="/sign-in">
                    <Redirect to="/" replace />
                  </Route>
                  <Route>
                    <ErrorState
                      error={new Error('There is no such page')}
                      what={location.pathname}
                      retry={() => location.assign('/dashboard')}
                    />
                  </Route>
                </Switch>
              </Suspense>
            </Shell>
          </Activity>
        </SessionContext>
      ) : (
        <SignIn />
      )}
    </Router>
  )
}
