import { Anchor } from '@mantine/core'
import { Link } from 'wouter'
import { disarm } from '../foreign.ts'

export const clientPath = (client: string): string => `/clients/${encodeURIComponent(client)}`

/** A client's name, leading to its page. */
export function ClientLink({ client }: { client: string }) {
  return (
    <Anchor component={Link} href={clientPath(client)} className="mono foreign" title={disarm(client)} size="sm">
      {disarm(client, 60)}
    </Anchor>
  )
}
