/**
 * Finds what the tests need besides npm's packages, installs it where it can (Debian's packages, when root), and says so;
 * or stops with one line that says what to install.
 */
import { execFileSync } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'

const TOOLS = [
  { names: ['redis-server'], debian: 'redis-server', why: 'the Redis tests' },
  { names: ['redis-sentinel'], debian: 'redis-sentinel', why: 'the Sentinel tests' },
  { names: ['chromium', 'chromium-browser', 'google-chrome'], debian: 'chromium', why: 'the tests of the dashboard' },
  { names: ['tmux'], debian: 'tmux', why: "the tests of the command line's screens" },
  { names: ['zsh'], debian: 'zsh', why: 'the tests of its completion' },
  { names: ['fish'], debian: 'fish', why: 'the tests of its completion' },
]

function find(names: readonly string[]): string | undefined {
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    for (const name of names) {
      try {
        const file = join(folder, name)
        accessSync(file, constants.X_OK)
        return file
      } catch {}
    }
  }
  return undefined
}

const missing = TOOLS.filter(({ names }) => !find(names))
for (const { names, why } of TOOLS) {
  const file = find(names)
  if (file) console.log(`test tools: ${file} for ${why}`)
}

if (missing.length > 0) {
  const packages = missing.map(({ debian }) => debian)
  if (process.getuid?.() !== 0 || !find(['apt-get'])) {
    console.error(
      `test tools: not found: ${packages.join(', ')}. Install them first (Debian, Ubuntu: sudo apt-get install -y ${packages.join(' ')})`,
    )
    process.exit(1)
  }
  console.log(`test tools: installing ${packages.join(', ')} (${missing.map(({ why }) => why).join(', ')})`)
  // The packages would start services of their own on the default ports; the tests start theirs on free ones.
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' }
  const apt = (...args: string[]) =>
    execFileSync('apt-get', ['-q', ...args], { env, stdio: ['ignore', 'ignore', 'inherit'] })
  apt('update')
  apt('install', '-y', '--no-install-recommends', ...packages)
}
