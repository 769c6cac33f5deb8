import type { PenaltySettings, Policy } from '@api-bouncer/limiter/contracts'
import { stringify } from 'yaml'

/** A value on one line, quoted where YAML needs it. */
const scalar = (value: unknown): string =>
  stringify(value, { lineWidth: 0, defaultStringType: 'PLAIN', blockQuote: false }).trimEnd()

const flow = (fields: Readonly<Record<string, unknown>>): string =>
  `{ ${Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name}: ${Array.isArray(value) ? `[${value.map(scalar).join(', ')}]` : scalar(value)}`)
    .join(', ')} }`

const penaltyYaml = (penalty: PenaltySettings | false) => (penalty === false ? 'false' : flow({ ...penalty }))

interface Line {
  readonly text: string
  readonly help?: string
}

/** A policy line by line: the fields in their order, and what is left out as a comment. */
function linesOf(policy: Policy): Line[] {
  const { id, description, match, algorithm, limits, cost, mode, failMode, penalty } = policy
  const [only] = match
  const optional = (name: string, value: string | undefined, example: string, help: string): Line => ({
    text: value === undefined ? `# ${name}: ${example}` : `${name}: ${value}`,
    help,
  })
  const matchHelp = 'PATH or METHOD PATH, or a list of them; the most specific policy wins'
  return [
    { text: `id: ${scalar(id)}` },
    ...(description === undefined ? [] : [{ text: `description: ${scalar(description)}` }]),
    ...(match.length === 1
      ? [{ text: `match: ${scalar(only)}`, help: matchHelp }]
      : [{ text: 'match:', help: matchHelp }, ...match.map(one => ({ text: `  - ${scalar(one)}` }))]),
    { text: 'limits:', help: 'all of them must allow; windows: 250ms, 90s, 15m, 4h, 7d' },
    ...limits.map(({ limit, window, burst }) => ({ text: `  - ${flow({ limit, window, burst })}` })),
    { text: `mode: ${mode}`, help: 'enforce; shadow: counts, refuses nobody; off' },
    optional(
      'algorithm',
      algorithm,
      'sliding_window',
      "or token_bucket, gcra, sliding_window_counter, fixed_window; absent: the server's own",
    ),
    optional('cost', cost === 1 ? undefined : String(cost), '1', 'units a request takes'),
    optional(
      'failMode',
      failMode,
      'open',
      "or closed, local: decides when the store is away; absent: the server's own",
    ),
    optional(
      'penalty',
      penalty === undefined ? undefined : penaltyYaml(penalty),
      '{ threshold: 5, window: 5m, block: [15m], memory: 1d }',
      "false: never blocks; absent: the fleet's",
    ),
  ]
}

/** A policy as plain YAML: only what is set. What diffs compare. */
export const policyYaml = (policy: Policy): string =>
  `${linesOf(policy)
    .filter(({ text }) => !text.startsWith('# '))
    .map(({ text }) => text)
    .join('\n')}\n`

const COLUMN = 34

/** The same for people who are about to read or change it: every field there is, and what it may be. */
export const policyYamlWithHelp = (policy: Policy): string =>
  `${linesOf(policy)
    .map(({ text, help }) => (help ? `${text.padEnd(COLUMN)}  # ${help}` : text))
    .join('\n')}\n`

/** As comment lines. */
export const commented = (text: string): string =>
  text
    .trimEnd()
    .split('\n')
    .map(line => (line === '' ? '#' : `# ${line}`))
    .join('\n')
    .concat('\n')
