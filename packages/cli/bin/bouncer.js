#!/usr/bin/env node
// Committed, not built: npm links a bin only if it is there at install. Runs the bundle, or else the source.
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const built = new URL('../bundle/main.js', import.meta.url)
if (existsSync(built)) await import(built.href)
else {
  const { spawn } = await import('node:child_process')
  const source = fileURLToPath(new URL('../src/main.ts', import.meta.url))
  const child = spawn(
    process.execPath,
    ['--import', import.meta.resolve('tsx'), '--conditions=@api-bouncer/source', source, ...process.argv.slice(2)],
    { stdio: 'inherit' },
  )
  // Ctrl-C reaches the child by itself; it decides how to end.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => {})
  child.on('exit', (code, signal) => process.exit(signal ? 130 : (code ?? 1)))
}
