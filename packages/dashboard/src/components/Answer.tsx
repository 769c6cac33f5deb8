import { Button, Stack, Text } from '@mantine/core'
import { type ReactNode, useRef } from 'react'
import { isAway, sayError } from '../api.ts'
import { clockTime, serverNow } from '../time.ts'

interface Query<T> {
  readonly data: T | undefined
  readonly error: Error | null
  readonly dataUpdatedAt: number
  refetch(): unknown
}

interface Props<T> {
  readonly of: Query<T>
  /** What is asked for: `the blocks`. */
  readonly what: string
  /** What is shown may be newer, as what comes live: then its time, epoch ms. */
  readonly newest?: number | undefined
}

/** What is not known, or old, and why; nothing when the newest answer is there. */
export function Unknown<T>({ of: { data, error: failed, dataUpdatedAt, refetch }, what, newest = 0 }: Props<T>) {
  // While it is asked for again the last answer stands.
  const last = useRef<Error>(null)
  if (failed || data !== undefined) last.current = failed
  const error = last.current
  if (!error) {
    return data === undefined ? (
      <Text size="sm" c="dimmed" role="status">
        Asking for {what}…
      </Text>
    ) : null
  }
  const told = dataUpdatedAt === 0 ? undefined : clockTime(Math.max(newest, dataUpdatedAt - Date.now() + serverNow()))
  const again = isAway(error)
  // What mends it is to ask again, which is done: then the cause is all there is to say.
  const why = again ? (error.message.split(/[;.] /)[0] as string) : sayError(error)
  return (
    <Stack gap={4} align="start" mb="xs" role="status">
      <Text size="sm">
        <b>{data === undefined ? `Unknown: ${what}.` : `As of ${told}: ${what}.`}</b> {sentence(why)}
        {again && ' Asked again every few seconds.'}
      </Text>
      {!again && (
        <Button size="compact-xs" variant="default" onClick={() => void refetch()}>
          Ask again
        </Button>
      )}
    </Stack>
  )
}

/** What was asked for; until it is known, and where there is no answer, what is not known and why: never as if it were empty. */
export function Answer<T>({ of, what, children }: Props<T> & { readonly children: (data: T) => ReactNode }) {
  return (
    <>
      <Unknown of={of} what={what} />
      {of.data !== undefined && children(of.data)}
    </>
  )
}

const sentence = (text: string) => {
  const said = text.trim().replace(/\.$/, '')
  return `${said.charAt(0).toUpperCase()}${said.slice(1)}.`
}
