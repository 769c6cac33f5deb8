import { spawnSync } from 'node:child_process'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { benches } from './benches/index.ts'
import type { Context } from './harness.ts'
import { load, machine, versions } from './machine.ts'
import { type Kept, keep, sectionOf, write } from './report.ts'

const USAGE = `npm run bench [-- [--quick] [--seed N] [NAME...]]

Measures, and writes docs/performance.md. With --quick it takes a shorter look and writes nothing.
Benches: ${benches.map(({ name }) => name).join(', ')}`

function usage(complaint: string): never {
  console.error(`${complaint}\n\n${USAGE}`)
  process.exit(2)
}

function parse(argv: readonly string[]) {
  const names: string[] = []
  let quick = false
  let seed = 20_240
  for (let i = 0; i < argv.length; i++) {
    const arg = argv[i] as string
    if (arg === '--help' || arg === '-h') {
      console.log(USAGE)
      process.exit(0)
    } else if (arg === '--quick') quick = true
    else if (arg === '--seed') {
      seed = Number(argv[++i])
      if (!Number.isSafeInteger(seed)) usage('--seed wants a whole number')
    } else if (arg.startsWith('-')) usage(`There is no option ${arg}.`)
    else if (benches.some(({ name }) => name === arg)) names.push(arg)
    else usage(`There is no bench "${arg}".`)
  }
  return { names, quick, seed }
}

/** The workers run what users run: compiled packages. A type error elsewhere in the tree does not keep them from it. */
function build(): void {
  const typescript = createRequire(import.meta.url).resolve('typescript/package.json')
  const { status } = spawnSync(process.execPath, [join(dirname(typescript), 'bin/tsc'), '-b', 'bench'], {
    cwd: fileURLToPath(new URL('../..', import.meta.url)),
    stdio: 'inherit',
  })
  if (status !== 0) console.error('The build complains (above); measuring what it made all the same.')
}

const { names, quick, seed } = parse(process.argv.slice(2))
const context: Context = { quick, seed, log: line => console.log(line) }
build()
console.log(`${machine()}; ${versions()}; seed ${seed}`)
for (const { name, title, run } of benches) {
  if (names.length > 0 && !names.includes(name)) continue
  console.log(`\n${title}`)
  const started = performance.now()
  const section = await run(context)
  const tookSeconds = Math.round((performance.now() - started) / 1000)
  const date = new Date().toISOString().slice(0, 10)
  const kept: Kept = {
    name,
    title,
    date,
    machine: `${machine()}, ${load()}`,
    versions: versions(),
    seed,
    tookSeconds,
    ...section,
  }
  console.log(`\n${sectionOf(kept)}`)
  if (quick) continue
  keep(kept)
  write(benches.map(bench => bench.name))
}
