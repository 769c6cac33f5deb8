/**
 * Builds the dashboard when that was never done or its sources are newer, so that `npm ci && npm start` is all it takes.
 * Says one line when there is something to do. A build that fails stops no start: the server serves, and says what is missing.
 */
import { spawnSync } from 'node:child_process'
import { readdirSync, renameSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const PACKAGE = 'packages/dashboard'
const FOLDER = join(ROOT, PACKAGE)
const BUILT = join(FOLDER, 'dist')
const SOURCES = [
  ...['src', 'index.html', 'package.json', 'vite.config.ts'].map(name => join(FOLDER, name)),
  join(ROOT, 'packages/limiter/src/contracts'),
]

/** When the newest file in there was written, epoch ms; 0: there is nothing. */
function newest(path: string): number {
  const stats = statSync(path, { throwIfNoEntry: false })
  if (!stats?.isDirectory()) return stats?.mtimeMs ?? 0
  return Math.max(0, ...readdirSync(path).map(name => newest(join(path, name))))
}

function build(why: string): void {
  process.stderr.write(`dashboard: ${why}; building it, which takes some seconds\n`)
  // Aside, so that a server that is running has a whole page at every moment but one.
  const fresh = join(ROOT, 'node_modules', '.cache', `dashboard-${process.pid}`)
  const options = ['--outDir', fresh, '--emptyOutDir', '--logLevel', 'error']
  const { npm_execpath: npm } = process.env
  const { status, stdout, stderr, error } = spawnSync(
    npm === undefined ? 'npm' : process.execPath,
    [...(npm === undefined ? [] : [npm]), 'run', 'build', '--silent', '-w', PACKAGE, '--', ...options],
    { cwd: ROOT, encoding: 'utf8', env: { ...process.env, NODE_ENV: 'production' } },
  )
  if (status === 0) {
    rmSync(BUILT, { recursive: true, force: true })
    renameSync(fresh, BUILT)
    return
  }
  rmSync(fresh, { recursive: true, force: true })
  const said = `${error?.message ?? ''}${stdout}${stderr}`.trim().split('\n').slice(-15).join('\n')
  process.stderr.write(`${said}\ndashboard: not built; the server starts without it\n`)
}

const builtAt = newest(join(BUILT, 'index.html'))
const changedAt = Math.max(...SOURCES.map(newest))
try {
  // Where the package is left out, there is nothing to build.
  if (newest(join(FOLDER, 'index.html')) === 0) process.exit(0)
  if (builtAt === 0) build('not built yet')
  else if (changedAt > builtAt) build('its sources have changed')
} catch (error) {
  process.stderr.write(`dashboard: not built (${(error as Error).message}); the server starts without it\n`)
}
