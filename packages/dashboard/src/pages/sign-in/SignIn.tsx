import { Alert, Button, Center, Code, Paper, PasswordInput, Stack, Text, Title } from '@mantine/core'
import { useMutation } from '@tanstack/react-query'
import { useEffect, useRef, useState } from 'react'
import { keys, queries, sayError, signIn } from '../../api.ts'

/** The one-time code of the link that the server printed; taken out of the address at once, so that it stays in no history. */
function takeCode(): string | undefined {
  if (!location.pathname.endsWith('/sign-in') || location.hash.length < 2) return undefined
  const code = location.hash.slice(1)
  history.replaceState(null, '', location.pathname)
  return code
}

/** Covers what was there when the session `ended`. */
export function SignIn({ ended }: { ended?: string }) {
  const [token, setToken] = useState('')
  const enter = useMutation({
    mutationFn: signIn,
    onSuccess: session => queries.setQueryData(keys.session, session),
  })
  const tried = useRef(false)
  const { mutate } = enter
  useEffect(() => {
    document.title = 'Sign in · API Bouncer'
    if (tried.current) return
    tried.current = true
    const code = takeCode()
    if (code !== undefined) mutate({ code })
  }, [mutate])
  return (
    <Center component="main" className="sign-in" p="md">
      <Paper withBorder p="lg" w="100%" maw={420}>
        <form
          onSubmit={event => {
            event.preventDefault()
            mutate({ token: token.trim() })
          }}
        >
          <Stack>
            <Title order={1}>API Bouncer</Title>
            {ended !== undefined && (
              <Alert color="yellow" role="alert" title="Your session has ended">
                Why: {ended}. Once you have signed in, all is as you left it.
              </Alert>
            )}
            <PasswordInput
              label="Admin token"
              description="ADMIN_TOKEN, or ADMIN_READONLY_TOKEN to look on"
              value={token}
              onChange={event => setToken(event.currentTarget.value)}
              autoComplete="current-password"
              data-autofocus
              required
            />
            {enter.isError && (
              <Alert color="red" role="alert">
                {sayError(enter.error)}
              </Alert>
            )}
            <Button type="submit" loading={enter.isPending}>
              Sign in
            </Button>
            <Text size="sm" c="dimmed">
              The server prints a link that signs in once when it starts. Without ADMIN_TOKEN it keeps a token of its
              own, in the file that the same lines name: <Code>cat</Code> it and paste it here.
            </Text>
          </Stack>
        </form>
      </Paper>
    </Center>
  )
}
