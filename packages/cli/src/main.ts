import { readFileSync } from 'node:fs'

// What needs no command loads nothing: neither commander nor a connection.
const argv = process.argv.slice(2)
const [first] = argv

if (first === '--version' || first === '-V' || first === '-v') {
  const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'))
  process.stdout.write(`bouncer ${version}\n`)
} else if (argv.length === 0 || (argv.length === 1 && (first === '--help' || first === '-h' || first === 'help'))) {
  const { helpText } = await import('./catalog.ts')
  process.stdout.write(helpText())
} else {
  const { run } = await import('./run.ts')
  await run(argv, process)
}
