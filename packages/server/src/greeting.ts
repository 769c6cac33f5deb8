import { version } from '@api-bouncer/limiter'
import type { Config } from './config.ts'
import type { Server } from './server.ts'

/** A path as a shell would take it. */
const quote = (path: string) => (/^[\w@%+=:,./-]+$/.test(path) ? path : `'${path.replaceAll("'", `'\\''`)}'`)

/** What a person sees at the start: what runs where, and what to try next. */
export function greeting(
  { bouncer, dataPlane, controlPlane, tokenFile }: Server,
  { algorithm, workers }: Config,
): string {
  const { state, detail } = bouncer.health()
  const store = state === 'ok' ? detail : `degraded (${detail})`
  const token = tokenFile === undefined ? '$ADMIN_TOKEN' : `$(cat ${quote(tokenFile)})`
  const lines = [
    `api-bouncer ${version}   store: ${store}   algorithm: ${algorithm}`,
    '',
    `data plane      ${dataPlane ?? 'off'}${workers > 1 ? `   (${workers} processes)` : ''}`,
    `control plane   ${controlPlane}`,
    '',
    'try next:',
    ...(dataPlane === undefined ? [] : [`  curl -i ${dataPlane}/api/data`]),
    `  curl -H "Authorization: Bearer ${token}" ${controlPlane}/admin/status`,
    '',
  ]
  return `${lines.join('\n')}\n`
}
