import { version } from '@api-bouncer/limiter'
import type { Config } from './config.ts'
import type { Server } from './server.ts'

/** A path as a shell would take it. */
const quote = (path: string) => (/^[\w@%+=:,./-]+$/.test(path) ? path : `'${path.replaceAll("'", `'\\''`)}'`)

/** Two of twenty attack; the blocks that they earn stay, to be looked at and lifted. */
function loadLine(controlPlane: string, tokenFile: string | undefined): string {
  const token = tokenFile === undefined ? 'BOUNCER_TOKEN=$ADMIN_TOKEN ' : ''
  const url = controlPlane === 'http://127.0.0.1:8900' ? '' : ` --url ${controlPlane}`
  return `${token}npm run bouncer -- load${url} --rps 200 --clients 20 --attackers 0.1 --duration 15s --keep /api/data`
}

/** What a person sees at the start: what runs where, and what to try next. */
export function greeting(
  { bouncer, dataPlane, controlPlane, tokenFile, signInLink }: Server,
  { algorithm, workers, admin }: Config,
): string {
  const { state, detail } = bouncer.health()
  const store = state === 'ok' ? detail : `degraded (${detail})`
  const token = tokenFile === undefined ? '$ADMIN_TOKEN' : `$(cat ${quote(tokenFile)})`
  const lines = [
    `api-bouncer ${version}   store: ${store}   algorithm: ${algorithm}`,
    '',
    `data plane      ${dataPlane ?? 'off'}${workers > 1 ? `   (${workers} processes)` : ''}`,
    `control plane   ${controlPlane}`,
    // The line ends with the link: terminals take what follows for a part of it.
    `dashboard       ${signInLink ?? 'not built; build it with: npm run build -w packages/dashboard'}`,
    ...(signInLink === undefined
      ? []
      : [`                (signs in once, within ten minutes; after that ${controlPlane}/dashboard and the token)`]),
    ...(admin.viewerToken === undefined ? [] : ['                (ADMIN_READONLY_TOKEN signs in to look only)']),
    '',
    'try next:',
    ...(dataPlane === undefined ? [] : [`  curl -i ${dataPlane}/api/data`]),
    `  curl -H "Authorization: Bearer ${token}" ${controlPlane}/admin/status`,
    ...(dataPlane === undefined ? [] : ['an attack to watch:', `  ${loadLine(controlPlane, tokenFile)}`]),
    '',
  ]
  return `${lines.join('\n')}\n`
}
