import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'

/** Where a control plane whose owner has set no token keeps its random one, and where the command line finds it. */
export const stateDirOf = (env: { readonly XDG_STATE_HOME?: string | undefined }): string =>
  resolve(env.XDG_STATE_HOME || resolve(homedir(), '.local/state'), 'api-bouncer')

export const tokenFileOf = (stateDir: string, adminPort: number): string => join(stateDir, `admin-token-${adminPort}`)

/** The token that is kept there; undefined when there is none, or when others than this user could have read or written it. */
export function readKeptToken(file: string): string | undefined {
  let fd: number | undefined
  try {
    fd = openSync(file, constants.O_RDONLY | constants.O_NOFOLLOW)
    const { mode, uid } = fstatSync(fd)
    if ((mode & 0o077) !== 0 || uid !== process.getuid?.()) return undefined
    const token = readFileSync(fd, 'utf8').trim()
    return /^[\w-]{43}$/.test(token) ? token : undefined
  } catch {
    return undefined
  } finally {
    if (fd !== undefined) closeSync(fd)
  }
}
