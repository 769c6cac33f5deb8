import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import type { Goal, Section, Table } from './harness.ts'
import { limitOf } from './limits.ts'
import { plot } from './plot.ts'

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

/** A page of docs/ that a command makes. */
export interface Report {
  /** `npm run …` */
  readonly command: string
  /** From the repository's root. */
  readonly page: string
  /** Where in results/ its sections are kept: `` or ending in a slash. */
  readonly folder: string
  readonly title: string
  readonly intro: string
  /** Its goals are promises: where one does not hold, the command fails. Else they are about speed, of compiled packages. */
  readonly promises: boolean
}

const fileOf = ({ folder }: Report, name: string) => new URL(`../results/${folder}${name}.json`, import.meta.url)

export function keep(report: Report, section: Kept): void {
  const file = fileOf(report, section.name)
  mkdirSync(new URL('.', file), { recursive: true })
  writeFileSync(file, `${JSON.stringify(section, undefined, 2)}\n`)
  // Laid out as the linter wants every JSON file of the repository.
  const biome = createRequire(import.meta.url).resolve('@biomejs/biome/bin/biome')
  spawnSync(process.execPath, [biome, 'format', '--write', fileURLToPath(file)])
}

const row = (cells: readonly string[]) => `| ${cells.join(' | ')} |`

export const tableOf = ({ columns, rows }: Omit<Table, 'title'>): string =>
  [row(columns), row(columns.map((_, i) => (i === 0 ? '---' : '---:'))), ...rows.map(row)].join('\n')

const goalsOf = ({ promises }: Report, goals: readonly Goal[]) =>
  tableOf({
    columns: [promises ? 'promise' : 'goal', 'wanted', 'measured', ''],
    rows: goals.map(({ what, goal, measured, met, unsure }) => [
      what,
      goal,
      measured,
      `${met ? (promises ? 'kept' : 'met') : promises ? '**broken**' : '**not met**'}${unsure ? ', within the noise' : ''}`,
    ]),
  })

/** Promises that are kept are many, and all alike: out of the way, unless one is broken. */
function folded(report: Report, goals: readonly Goal[]): string {
  const kept = goals.filter(({ met }) => met).length
  const open = kept === goals.length ? '' : ' open'
  return `<details${open}><summary>${kept} of ${goals.length} promises kept</summary>\n\n${goalsOf(report, goals)}\n\n</details>`
}

/** What limits the goals that are not met, each reason once. */
function limitsOf({ name, goals }: Kept): string[] {
  const missed = new Map<string, string[]>()
  for (const { what, goal, met } of goals) {
    const limit = met ? undefined : limitOf(name, what)
    if (limit !== undefined) missed.set(limit, [...(missed.get(limit) ?? []), `${what} (${goal})`])
  }
  return [...missed].map(([limit, goals]) => `In the way of ${goals.join('; ')}: ${limit}.`)
}

/** From docs/. */
const plotOf = (name: string, i: number) => `plots/${name}-${i + 1}.svg`

/** One section in Markdown. */
export function sectionOf(report: Report, section: Kept): string {
  const { title, charts = [], tables, goals, notes, date, machine, versions, seed, tookSeconds, name } = section
  return [
    `## ${title}`,
    `\`npm run ${report.command} -- ${name}\`, ${date}, ${tookSeconds} s, seed ${seed}. ${machine}; ${versions}.`,
    ...charts.map((chart, i) => `![${chart.title}](${plotOf(name, i)})`),
    ...tables.map(table => `### ${table.title}\n\n${tableOf(table)}`),
    ...(goals.length === 0 ? [] : [report.promises ? folded(report, goals) : `### Goals\n\n${goalsOf(report, goals)}`]),
    [...limitsOf(section), ...notes].map(note => `- ${note}`).join('\n'),
  ].join('\n\n')
}

/** Writes the page from all that is kept. */
export function write(report: Report, names: readonly string[]): void {
  const { command, page, title, intro, promises } = report
  const kept = names
    .filter(name => existsSync(fileOf(report, name)))
    .map(name => JSON.parse(readFileSync(fileOf(report, name), 'utf8')) as Kept)
  const goals = kept.flatMap(section => section.goals)
  const met = goals.filter(goal => goal.met).length
  const unsure = goals.filter(goal => goal.unsure).length
  const noise = unsure > 0 ? `; within the noise, where another run may say otherwise: ${unsure}` : ''
  const plots = new URL('../../docs/plots/', import.meta.url)
  mkdirSync(plots, { recursive: true })
  for (const { name, charts = [] } of kept) {
    for (const file of readdirSync(plots)) if (/^(.*)-\d+\.svg$/.exec(file)?.[1] === name) rmSync(new URL(file, plots))
    for (const [i, chart] of charts.entries()) {
      writeFileSync(new URL(`../../docs/${plotOf(name, i)}`, import.meta.url), plot(chart))
    }
  }
  const text = [
    `# ${title}`,
    `<!-- Made by \`npm run ${command}\`; do not edit. -->`,
    `${intro}\n\n\`npm run ${command}\` makes this page anew, \`npm run ${command} -- NAME\` one section of it.`,
    `${promises ? 'Promises kept' : 'Goals met'}: ${met} of ${goals.length}${noise}.`,
    ...kept.map(section => sectionOf(report, section)),
  ]
  writeFileSync(new URL(`../../${page}`, import.meta.url), `${text.join('\n\n')}\n`)
}
