import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import type { Goal, Section, Table } from './harness.ts'

/** A section as it is kept, so that running one bench leaves the others' as they were. */
export interface Kept extends Section {
  readonly name: string
  readonly title: string
  readonly date: string
  readonly machine: string
  readonly versions: string
  readonly seed: number
  readonly tookSeconds: number
}

const fileOf = (name: string) => new URL(`../results/${name}.json`, import.meta.url)
const REPORT = new URL('../../docs/performance.md', import.meta.url)

export function keep(section: Kept): void {
  mkdirSync(new URL('../results/', import.meta.url), { recursive: true })
  writeFileSync(fileOf(section.name), `${JSON.stringify(section, undefined, 2)}\n`)
  // Laid out as the linter wants every JSON file of the repository.
  const biome = createRequire(import.meta.url).resolve('@biomejs/biome/bin/biome')
  spawnSync(process.execPath, [biome, 'format', '--write', fileURLToPath(fileOf(section.name))])
}

const row = (cells: readonly string[]) => `| ${cells.join(' | ')} |`

export const tableOf = ({ columns, rows }: Omit<Table, 'title'>): string =>
  [row(columns), row(columns.map((_, i) => (i === 0 ? '---' : '---:'))), ...rows.map(row)].join('\n')

const goalsOf = (goals: readonly Goal[]) =>
  tableOf({
    columns: ['goal', 'wanted', 'measured', ''],
    rows: goals.map(({ what, goal, measured, met, unsure }) => [
      what,
      goal,
      measured,
      `${met ? 'met' : '**not met**'}${unsure ? ', within the noise' : ''}`,
    ]),
  })

/** One section in Markdown. */
export function sectionOf({
  title,
  tables,
  goals,
  notes,
  date,
  machine,
  versions,
  seed,
  tookSeconds,
  name,
}: Kept): string {
  return [
    `## ${title}`,
    `\`npm run bench -- ${name}\`, ${date}, ${tookSeconds} s, seed ${seed}. ${machine}; ${versions}.`,
    ...tables.map(table => `### ${table.title}\n\n${tableOf(table)}`),
    ...(goals.length > 0 ? [`### Goals\n\n${goalsOf(goals)}`] : []),
    notes.map(note => `- ${note}`).join('\n'),
  ].join('\n\n')
}

/** Writes docs/performance.md from all that is kept. */
export function write(names: readonly string[]): void {
  const kept = names
    .filter(name => existsSync(fileOf(name)))
    .map(name => JSON.parse(readFileSync(fileOf(name), 'utf8')) as Kept)
  const goals = kept.flatMap(section => section.goals)
  const met = goals.filter(goal => goal.met).length
  const unsure = goals.filter(goal => goal.unsure).length
  const report = [
    '# Performance',
    '<!-- Made by `npm run bench`; do not edit. -->',
    'Every figure is the median, with least and greatest in brackets, of interleaved rounds in one run (A B C A B C …), each contender in a process of its own on the same machine; a ratio is taken within each round. Absolute figures say something about the machine; ratios about the software. `npm run bench` makes this page anew, `npm run bench -- NAME` one section of it.',
    `Goals met: ${met} of ${goals.length}; within the noise, where another run may say otherwise: ${unsure}.`,
    ...kept.map(sectionOf),
  ]
  writeFileSync(REPORT, `${report.join('\n\n')}\n`)
}
