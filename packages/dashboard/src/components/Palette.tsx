import { Spotlight, type SpotlightActionData, spotlight } from '@mantine/spotlight'
import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { useLocation } from 'wouter'
import { parseRange } from '../addresses.ts'
import { control, keys } from '../api.ts'
import { PAGES } from '../pages.ts'
import { clientPath } from './Client.tsx'

const isApple = /Mac|iPhone|iPad/.test(navigator.platform)
/** What opens it, as it stands on the keyboard. */
export const SHORTCUT = isApple ? '⌘K' : 'Ctrl K'

export const openPalette = () => spotlight.open()

/** Pages, policies, and any client by what is typed. */
export function Palette() {
  const [, go] = useLocation()
  const [query, setQuery] = useState('')
  const state = useQuery({ queryKey: keys.state, queryFn: () => control.state(), enabled: query !== '' })
  const wanted = query.trim()
  const to = (id: string, label: string, description: string, path: string): SpotlightActionData => ({
    id,
    label,
    description,
    onClick: () => go(path),
  })
  const fits = ({ label, description }: SpotlightActionData) =>
    `${label} ${description}`.toLowerCase().includes(wanted.toLowerCase())
  const actions = [
    ...PAGES.map(({ name, path }) => to(`page ${name}`, name, 'page', path)),
    ...(state.data?.policies ?? []).map(({ policy }) =>
      to(`policy ${policy.id}`, policy.id, `policy · ${policy.mode}`, `/policies/${encodeURIComponent(policy.id)}`),
    ),
  ].filter(fits)
  const client =
    wanted === ''
      ? []
      : [
          to('inspect', `Inspect ${wanted}`, 'client: an address, or any client id', clientPath(wanted)),
          to('block', `Block ${wanted}`, 'client', `${clientPath(wanted)}?do=block`),
          to('unblock', `Unblock ${wanted}`, 'client', `${clientPath(wanted)}?do=unblock`),
          ...(parseRange(wanted)
            ? [
                to(
                  'allow',
                  `Allow ${wanted}`,
                  'put on the allowlist',
                  `/lists?add=allow&cidr=${encodeURIComponent(wanted)}`,
                ),
                to(
                  'deny',
                  `Deny ${wanted}`,
                  'put on the denylist',
                  `/lists?add=deny&cidr=${encodeURIComponent(wanted)}`,
                ),
              ]
            : []),
        ]
  return (
    <Spotlight
      query={query}
      onQueryChange={setQuery}
      actions={[...actions, ...client]}
      filter={(_, all) => all}
      shortcut={['mod + K', 'ctrl + K']}
      nothingFound="Nothing by that name"
      searchProps={{ placeholder: 'A page, a policy, an address…', 'aria-label': 'find and do' }}
      limit={20}
    />
  )
}
