import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, renameSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { readKeptToken, tokenFileOf } from '@api-bouncer/limiter/token-file'
import { ConfigError } from '../setting.ts'

/**
 * The random token of a control plane whose owner has set none, kept readable by its user alone. A restart uses the same
 * one again, so that what read it before goes on working; a file that others could have read or written is replaced.
 */
export function keepToken(stateDir: string, adminPort: number): { token: string; file: string } {
  const file = tokenFileOf(stateDir, adminPort)
  const kept = readKeptToken(file)
  if (kept !== undefined) return { token: kept, file }
  const token = randomBytes(32).toString('base64url')
  const fresh = `${file}.${process.pid}`
  try {
    makeFolder(stateDir)
    writeFileSync(fresh, `${token}\n`, { mode: 0o600, flag: 'wx' })
    renameSync(fresh, file)
  } catch (error) {
    throw new ConfigError(
      `ADMIN_TOKEN: is not set, and a random one cannot be kept in ${stateDir} (${(error as Error).message}). Set ADMIN_TOKEN, or XDG_STATE_HOME to a folder of yours`,
    )
  }
  return { token, file }
}

/** Node's own `recursive` never returns where the system says ENOENT for what it does not let anyone make, as in /proc. */
function makeFolder(path: string): void {
  if (existsSync(path)) return
  makeFolder(dirname(path))
  try {
    mkdirSync(path, { mode: 0o700 })
  } catch (error) {
    // Another server that starts just now may have been quicker.
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
}
