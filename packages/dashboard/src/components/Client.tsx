import { Link } from 'wouter'
import { disarm } from '../foreign.ts'

export const clientPath = (client: string): string => `/clients/${encodeURIComponent(client)}`

/** A client's name, leading to its page. */
export function ClientLink({ client }: { client: string }) {
  return (
    <Link href={clientPath(client)} className="link mono foreign" title={disarm(client)}>
      {disarm(client, 60)}
    </Link>
  )
}
