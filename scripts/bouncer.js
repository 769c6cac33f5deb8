// `npm run bouncer`: puts the command line together if its sources changed, then is it, so that signals and arguments reach it.
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const build = fileURLToPath(new URL('build-cli.ts', import.meta.url))
spawnSync(process.execPath, ['--import', import.meta.resolve('tsx'), build], { stdio: 'inherit' })
await import('../packages/cli/bin/bouncer.js')
