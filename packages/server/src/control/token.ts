import { randomBytes } from 'node:crypto'
import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { ConfigError } from '../setting.ts'

const TOKEN = /^[\w-]{43}$/

/**
 * The random token of a control plane whose owner has set none, kept readable by its user alone. A restart uses the same
 * one again, so that what read it before goes on working; a file that others could have read or written is replaced.
 */
export function keepToken(stateDir: string, adminPort: number): { token: string; file: string } {
  const file = join(stateDir, `admin-token-${adminPort}`)
  const kept = readKept(file)
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

function readKept(file: string): string | undefined {
  let fd: number | undefined
  try {
    fd = openSync(file, constants.O_RDONLY | constants.O_NOFOLLOW)
    const { mode, uid } = fstatSync(fd)
    if ((mode & 0o077) !== 0 || uid !== process.getuid?.()) return undefined
    const token = readFileSync(fd, 'utf8').trim()
    return TOKEN.test(token) ? token : undefined
  } catch {
    return undefined
  } finally {
    if (fd !== undefined) closeSync(fd)
  }
}
