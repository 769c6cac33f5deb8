import {
  ActionIcon,
  Alert,
  AppShell,
  Burger,
  Button,
  Group,
  Menu,
  NavLink,
  Text,
  Tooltip,
  useMantineColorScheme,
} from '@mantine/core'
import { useDisclosure } from '@mantine/hooks'
import { type ReactNode, useEffect } from 'react'
import { Link, useLocation } from 'wouter'
import { forgetAnswers, keys, queries, signOut } from '../api.ts'
import { bouncer } from '../commands.ts'
import { newestFrame, setPaused, useLive } from '../live.ts'
import { PAGES } from '../pages.ts'
import { useSession } from '../session.ts'
import { clockTime, serverNow, setServerTime, span, useNow } from '../time.ts'
import { openPalette, Palette, SHORTCUT } from './Palette.tsx'

const isOn = (location: string, path: string) => (path === '/' ? location === '/' : location.startsWith(path))

/** Whether what is shown is live, and the way to hold it. */
function LiveState() {
  const connection = useLive(live => live.connection)
  const paused = useLive(live => live.paused)
  const missed = useLive(live => live.missed)
  if (paused) {
    return (
      <Button size="compact-sm" variant="default" onClick={() => setPaused(false)}>
        paused{missed > 0 ? ` · ${missed} s missed` : ''} · go on
      </Button>
    )
  }
  const [mark, word] = { live: ['●', 'live'], connecting: ['◌', 'connecting'], lost: ['○', 'reconnecting'] }[
    connection
  ] as [string, string]
  return (
    <Text size="sm" role="status" style={{ whiteSpace: 'nowrap' }}>
      <span aria-hidden style={{ color: connection === 'live' ? 'var(--mantine-color-teal-6)' : 'var(--limited)' }}>
        {mark}
      </span>{' '}
      {word}
    </Text>
  )
}

/** A store that does not answer cannot be missed; nor can a picture that is old. */
function Warnings() {
  const store = useLive(live => newestFrame(live)?.store)
  const connection = useLive(live => live.connection)
  const heardAt = useLive(live => live.heardAt)
  useNow(connection === 'lost' ? 1000 : 60_000)
  return (
    <>
      {connection === 'lost' && (
        <Alert color="gray" role="alert" mb="sm" title="The connection is lost">
          {heardAt === undefined
            ? 'Nothing has come from the control plane yet.'
            : `What is shown is ${span(performance.now() - heardAt)} old.`}{' '}
          Trying again by itself. On the command line: {bouncer(['status'])}
        </Alert>
      )}
      {store?.state === 'degraded' && (
        <Alert color="pink" role="alert" mb="sm" title="Degraded: the store gives no answer">
          {store.since === undefined ? '' : `Since ${clockTime(store.since)} (${span(serverNow() - store.since)}). `}
          {store.detail === undefined ? '' : `${store.detail}. `}Until it answers the fail mode of each policy decides:
          open lets requests through, closed refuses them, local counts in each instance for itself. What it decides is
          counted apart, as degraded.
        </Alert>
      )}
    </>
  )
}

function Person() {
  const { role, by } = useSession()
  const leave = async () => {
    await signOut()
    queries.setQueryData(keys.session, null)
    forgetAnswers()
  }
  return (
    <Menu position="bottom-end">
      <Menu.Target>
        <Button variant="subtle" size="compact-sm" px={4}>
          {role === 'viewer' ? 'viewer' : by} ▾
        </Button>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Label>{role === 'viewer' ? 'Signed in to look on' : 'Signed in as operator'}</Menu.Label>
        <Menu.Item onClick={() => void leave()}>Sign out</Menu.Item>
      </Menu.Dropdown>
    </Menu>
  )
}

const SCHEMES = { auto: ['◐', 'as the system has it'], light: ['○', 'light'], dark: ['●', 'dark'] } as const

function Scheme() {
  const { colorScheme, setColorScheme } = useMantineColorScheme()
  const [mark, word] = SCHEMES[colorScheme]
  const next = colorScheme === 'auto' ? 'light' : colorScheme === 'light' ? 'dark' : 'auto'
  return (
    <Tooltip label={`theme: ${word}`}>
      <ActionIcon
        variant="subtle"
        onClick={() => setColorScheme(next)}
        aria-label={`theme: ${word}; change to ${next}`}
      >
        {mark}
      </ActionIcon>
    </Tooltip>
  )
}

/** What stands around every page. */
export function Shell({ children }: { children: ReactNode }) {
  const [location] = useLocation()
  const [opened, { toggle, close }] = useDisclosure()
  const at = useLive(live => newestFrame(live)?.at)
  useEffect(() => {
    if (at !== undefined) setServerTime(at)
  }, [at])
  const links = PAGES.map(({ path, name }) => (
    <NavLink
      key={path}
      component={Link}
      href={path}
      label={name}
      active={isOn(location, path)}
      aria-current={isOn(location, path) ? 'page' : undefined}
      onClick={close}
      px="xs"
      py={4}
      w="auto"
      style={{ borderRadius: 4 }}
    />
  ))
  return (
    <AppShell
      header={{ height: 52 }}
      navbar={{ width: 220, breakpoint: 'md', collapsed: { mobile: !opened, desktop: true } }}
      padding="sm"
    >
      <a className="skip" href="#main">
        Skip to the page
      </a>
      <AppShell.Header px="sm">
        <Group h="100%" gap="xs" wrap="nowrap" justify="space-between">
          <Group gap="xs" wrap="nowrap" style={{ minWidth: 0 }}>
            <Burger opened={opened} onClick={toggle} hiddenFrom="md" size="sm" aria-label="pages" />
            <Text fw={700} fz={{ base: 'sm', sm: 'md' }} style={{ whiteSpace: 'nowrap' }}>
              API Bouncer
            </Text>
            <Group component="nav" aria-label="pages" gap={2} wrap="nowrap" visibleFrom="md" ml="xs">
              {links}
            </Group>
          </Group>
          <Group gap={6} wrap="nowrap">
            <Button size="compact-sm" variant="default" onClick={openPalette} aria-label={`${SHORTCUT}: find and do`}>
              <Text span inherit visibleFrom="sm">
                {SHORTCUT}
              </Text>
              <Text span inherit hiddenFrom="sm" aria-hidden>
                ⌕
              </Text>
            </Button>
            <LiveState />
            <Scheme />
            <Person />
          </Group>
        </Group>
      </AppShell.Header>
      <AppShell.Navbar p="xs" aria-label="pages, unfolded">
        {links}
      </AppShell.Navbar>
      <AppShell.Main id="main" tabIndex={-1}>
        <Warnings />
        {children}
      </AppShell.Main>
      <Palette />
    </AppShell>
  )
}
