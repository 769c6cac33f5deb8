import { spawnSync } from 'node:child_process'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Bench, Context } from './harness.ts'
import { load, machine, versions } from './machine.ts'
import { type Kept, keep, type Report, sectionOf, write } from './report.ts'

const usageOf = (
  { command, page, promises }: Report,
  benches: readonly Bench[],
) => `npm run ${command} [-- OPTION... [NAME...]]

Measures, and writes ${page}.${promises ? ' Ends with 1 when a promise does not hold.' : ''}
  --quick   a shorter look, which writes nothing${promises ? '\n  --ours    without the peers; writes nothing either' : ''}
  --seed N  where every sequence of chance begins
Names: ${benches.map(({ name }) => name).join(', ')}`

interface Asked {
  readonly names: readonly string[]
  readonly quick: boolean
  readonly oursOnly: boolean
  readonly seed: number
}

function parse(argv: readonly string[], usage: string, { promises }: Report, benches: readonly Bench[]): Asked {
  const complain = (complaint: string): never => {
    console.error(`${complaint}\n\n${usage}`)
    process.exit(2)
  }
  const names: string[] = []
  let [quick, oursOnly] = [false, false]
  let seed = 20_240
  for (let i = 0; i < argv.length; i++) {
    const arg = argv[i] as string
    if (arg === '--help' || arg === '-h') {
      console.log(usage)
      process.exit(0)
    } else if (arg === '--quick') quick = true
    else if (promises && arg === '--ours') oursOnly = true
    else if (arg === '--seed') {
      seed = Number(argv[++i])
      if (!Number.isSafeInteger(seed)) complain('--seed wants a whole number')
    } else if (arg.startsWith('-')) complain(`There is no option ${arg}.`)
    else if (benches.some(({ name }) => name === arg)) names.push(arg)
    else complain(`There is nothing called "${arg}".`)
  }
  return { names, quick, oursOnly, seed }
}

/** The workers run what users run: compiled packages. A type error elsewhere in the tree does not keep them from it. */
export function build(): void {
  const typescript = createRequire(import.meta.url).resolve('typescript/package.json')
  const { status } = spawnSync(process.execPath, [join(dirname(typescript), 'bin/tsc'), '-b', 'bench'], {
    cwd: fileURLToPath(new URL('../..', import.meta.url)),
    stdio: 'inherit',
  })
  if (status !== 0) console.error('The build complains (above); measuring what it made all the same.')
}

/** Runs what is asked for on the command line, or all, and writes the report. */
export async function main(report: Report, benches: readonly Bench[]): Promise<void> {
  const usage = usageOf(report, benches)
  const { names, ...asked } = parse(process.argv.slice(2), usage, report, benches)
  const begun = performance.now()
  const elapsed = () => Math.round((performance.now() - begun) / 1000)
  const context: Context = { ...asked, log: line => console.log(`${String(elapsed()).padStart(4)} s ${line}`) }
  if (!report.promises) build()
  console.log(`${machine()}; ${versions()}; seed ${asked.seed}`)
  let held = true
  for (const { name, title, long, run } of benches) {
    if (names.length > 0 ? !names.includes(name) : long) continue
    console.log(`\n${title}`)
    const started = performance.now()
    const section = await run(context)
    held &&= !report.promises || section.goals.every(({ met }) => met)
    const kept: Kept = {
      name,
      title,
      date: new Date().toISOString().slice(0, 10),
      machine: `${machine()}, ${load()}`,
      versions: versions(),
      seed: asked.seed,
      tookSeconds: Math.round((performance.now() - started) / 1000),
      ...section,
    }
    // Of a whole run the page is what there is to read.
    if (names.length > 0) console.log(`\n${sectionOf(report, kept)}`)
    else
      console.log(
        `${kept.tookSeconds} s; ${section.goals.filter(({ met }) => met).length} of ${section.goals.length} goals`,
      )
    if (asked.quick || asked.oursOnly) continue
    keep(report, kept)
    write(
      report,
      benches.map(bench => bench.name),
    )
  }
  console.log(`\n${elapsed()} s in all`)
  if (!held) process.exitCode = 1
}
