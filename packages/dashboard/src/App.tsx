import { Center, Loader } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { lazy, Suspense, useEffect } from 'react'
import { Redirect, Route, Router, Switch } from 'wouter'
import { keys, queries, whenSignedOut, whoAmI } from './api.ts'
import { ErrorState } from './components/ErrorState.tsx'
import { Shell } from './components/Shell.tsx'
import { connectLive, disconnectLive } from './live.ts'
// The overview comes with the page; the others when they are asked for.
import { Overview } from './pages/overview/Overview.tsx'
import { SignIn } from './pages/sign-in/SignIn.tsx'
import { SessionContext } from './session.ts'
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

export function App() {
  const session = useQuery({ queryKey: keys.session, queryFn: whoAmI, staleTime: Number.POSITIVE_INFINITY })
  const signedIn = session.data != null

  useEffect(() => {
    const forget = () => queries.setQueryData(keys.session, null)
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
        </SessionContext>
      ) : (
        <SignIn />
      )}
    </Router>
  )
}
