import { deciding, formatRemaining, storeMend } from '@api-bouncer/limiter/client'
import type { ControlState, Diagnosis, ListEntry, Status } from '@api-bouncer/limiter/contracts'
import { count } from '../numbers.ts'
import { rangeOf } from '../who.ts'

const DAY_MS = 86_400_000
/** A trial that nobody has looked at for so long was probably forgotten. */
const LONG_SHADOW_MS = 7 * DAY_MS

/** The store and the instances, as GET /admin/status tells. */
export function judgeStatus({ state, store, instances, degradedDecisions }: Status): Diagnosis[] {
  const { kind, detail, latencyMs } = store
  const latency = latencyMs === undefined ? '' : ` (${latencyMs} ms)`
  if (state === 'ok' && store.state === 'ok') {
    const says = `${kind}${detail ? `: ${detail}` : ''}${latency}`
    return [{ about: 'store', verdict: 'ok', says }, judgeVersions(instances), judgeEpochs(instances)]
  }
  // It may have been well when it was last looked at.
  const why = (store.state !== 'ok' && detail) || 'it does not answer'
  return [
    storeAway(`${kind} is degraded: ${why}; fail modes have decided ${count(degradedDecisions, 'time')}`),
    // Of the fleet nobody knows but through the store.
    ...unseen(OF_INSTANCES, STORE_AWAY),
  ]
}

export const storeAway = (says: string): Diagnosis => ({
  about: 'store',
  verdict: 'problem',
  says,
  mend: storeMend(says, 'Bring Redis back, or look at the network to it; nothing else needs to be done'),
})

/** What is looked at in the heartbeats of instances, and in the state. */
export const OF_INSTANCES = ['versions', 'epochs'] as const
export const OF_STATE = ['shadow policies', 'catch-all', 'lists'] as const
export const STORE_AWAY = 'could not be looked at: the store does not answer'

/** What could not be looked at, and why. */
export const unseen = (abouts: readonly string[], says: string): Diagnosis[] =>
  abouts.map(about => ({ about, verdict: 'unknown', says }))

function judgeVersions(instances: Status['instances']): Diagnosis {
  const about = 'versions'
  const versions = [...new Set(instances.map(({ version }) => version))].sort()
  const alive = deciding(instances).length
  if (alive === 0) {
    return {
      about,
      verdict: 'warning',
      says: 'no instance is alive: nothing is being limited',
      mend: 'Start a server, or look at why its heartbeats do not reach Redis',
    }
  }
  if (versions.length === 1) return { about, verdict: 'ok', says: `${count(alive, 'instance')} of ${versions[0]}` }
  const old = instances.filter(({ version }) => version !== versions.at(-1)).map(({ instance }) => instance)
  return {
    about,
    verdict: 'warning',
    says: `instances run ${versions.join(' and ')}`,
    mend: `Finish the deployment: ${old.join(', ')}`,
  }
}

function judgeEpochs(instances: Status['instances']): Diagnosis {
  const about = 'epochs'
  if (deciding(instances).length === 0)
    return { about, verdict: 'unknown', says: 'no instance is alive to decide by one' }
  const newest = Math.max(0, ...instances.map(({ epoch }) => epoch))
  const stale = instances.filter(({ epoch }) => epoch < newest)
  if (stale.length === 0) return { about, verdict: 'ok', says: `all instances decide by epoch ${newest}` }
  return {
    about,
    verdict: 'problem',
    says: `${stale.map(({ instance, epoch }) => `${instance} (epoch ${epoch})`).join(', ')} decide by old policies; the newest epoch is ${newest}`,
    mend: 'Look again in a second: a change takes that long. If it stays, restart them and look at their log',
  }
}

/** Policies and lists. `now`: epoch ms. */
export const judgeState = ({ policies, lists }: ControlState, now: number): Diagnosis[] => [
  ...judgeShadows(policies, now),
  judgeCatchAll(policies),
  ...judgeLists(lists.filter(({ expiresAt }) => expiresAt === undefined || expiresAt > now)),
]

function judgeShadows(policies: ControlState['policies'], now: number): Diagnosis[] {
  const shadows = policies.filter(({ policy }) => policy.mode === 'shadow')
  if (shadows.length === 0) return [{ about: 'shadow policies', verdict: 'ok', says: 'none' }]
  return shadows.map(({ policy, updatedAt }): Diagnosis => {
    const age = now - updatedAt
    const says = `${policy.id} has refused nobody for ${formatRemaining(age)}: it is in shadow`
    if (age < LONG_SHADOW_MS) return { about: 'shadow policies', verdict: 'ok', says }
    return {
      about: 'shadow policies',
      verdict: 'warning',
      says,
      mend: `Let it bite, or remove it: bouncer policy set ${policy.id} --mode enforce`,
    }
  })
}

function judgeCatchAll(policies: ControlState['policies']): Diagnosis {
  const about = 'catch-all'
  const all = policies.find(({ policy }) => policy.mode === 'enforce' && policy.match.includes('*'))
  if (all) return { about, verdict: 'ok', says: `${all.policy.id} holds where no other policy does` }
  return {
    about,
    verdict: 'warning',
    says: 'no policy holds for every request: what none matches is not limited',
    mend: "Make one: bouncer policy set default --create --match '*' --limit 100/1m",
  }
}

const wholeKind = (list: ListEntry['list'], kind: string) =>
  list === 'allow' ? `no ${kind} client is limited` : `every ${kind} client is refused that is not on the allowlist`

function judgeLists(lists: readonly ListEntry[]): Diagnosis[] {
  const about = 'lists'
  const everyone = lists
    .filter(({ cidr }) => cidr.endsWith('/0'))
    .map(
      ({ list, cidr }): Diagnosis => ({
        about,
        verdict: 'problem',
        says: `${cidr} is on the ${list}list: ${wholeKind(list, cidr.includes(':') ? 'IPv6' : 'IPv4')}`,
        mend: `bouncer ${list} rm ${cidr}`,
      }),
    )
  const [allowed, denied] = [lists.filter(({ list }) => list === 'allow'), lists.filter(({ list }) => list === 'deny')]
  const overlaps = allowed.flatMap(a =>
    denied
      .filter(d => overlap(a.cidr, d.cidr))
      .map(
        (d): Diagnosis => ({
          about,
          verdict: 'warning',
          says: `${a.cidr} is allowed and ${d.cidr} denied: where they overlap the allowlist wins`,
          mend: `Remove one: bouncer deny rm ${d.cidr}, or bouncer allow rm ${a.cidr}`,
        }),
      ),
  )
  const found = [...everyone, ...overlaps]
  if (found.length > 0) return found
  return [{ about, verdict: 'ok', says: `${allowed.length} allowed, ${denied.length} denied, none overlap` }]
}

/** Whether two addresses or ranges have an address in common: then one holds the other. */
export const overlap = (a: string, b: string): boolean => Boolean(rangeOf(a)?.holds(b) || rangeOf(b)?.holds(a))

export interface Exposure {
  /** The control plane's address, as it was called; absent: straight on Redis. */
  readonly url: string | undefined
  /** Addresses of this machine, beyond loopback, on which the control plane answers too. */
  readonly answersOn: readonly string[]
  /** The file that the token was read from, and its permissions. */
  readonly tokenFile: { readonly path: string; readonly mode: number } | undefined
}

const LOOPBACK = /^(localhost|127(\.\d+){3}|\[::1\])$/

export const isLoopback = (url: string): boolean => LOOPBACK.test(new URL(url).hostname)

/** Who else could reach the control plane, or read its token. */
export function judgeExposure({ url, answersOn, tokenFile }: Exposure): Diagnosis[] {
  const about = 'exposure'
  const found: Diagnosis[] = []
  if (url !== undefined && !isLoopback(url) && url.startsWith('http:')) {
    found.push({
      about,
      verdict: 'problem',
      says: `the token travels unencrypted to ${new URL(url).host}`,
      mend: 'Put TLS in front and use https, or tunnel: ssh -L 8900:127.0.0.1:8900 HOST',
    })
  }
  if (answersOn.length > 0) {
    found.push({
      about,
      verdict: 'warning',
      says: `the control plane answers beyond this machine, on ${answersOn.join(', ')}`,
      mend: 'Leave ADMIN_HOST at 127.0.0.1, or keep the port behind a firewall',
    })
  }
  if (tokenFile && (tokenFile.mode & 0o077) !== 0) {
    found.push({
      about: 'token file',
      verdict: 'problem',
      says: `${tokenFile.path} can be read by others (mode ${(tokenFile.mode & 0o777).toString(8)})`,
      mend: `chmod 600 ${tokenFile.path}, and give the server a new token`,
    })
  }
  if (found.length > 0) return found
  return [
    {
      about,
      verdict: 'ok',
      says: url === undefined ? 'straight on Redis: no control plane looked at' : 'loopback or TLS only',
    },
  ]
}
