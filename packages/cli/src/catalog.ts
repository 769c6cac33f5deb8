/** Every command by what it is for. Plain data: `--help` loads nothing else. */
export interface Entry {
  readonly name: string
  readonly usage: string
  readonly summary: string
}

export const GROUPS: readonly { readonly title: string; readonly commands: readonly Entry[] }[] = [
  {
    title: 'See who',
    commands: [
      { name: 'status', usage: 'status', summary: 'store, instances, rates, active blocks' },
      { name: 'top', usage: 'top', summary: 'one live screen of rates and clients' },
      { name: 'clients', usage: 'clients [--nearest]', summary: 'who is busiest, or nearest a limit' },
      { name: 'inspect', usage: 'inspect CLIENT', summary: 'all that is known of one client' },
      {
        name: 'explain',
        usage: 'explain CLIENT [METHOD PATH]',
        summary: 'what a request would get now, and why; counts nothing',
      },
      { name: 'events', usage: 'events [--follow]', summary: 'what happens: violations, blocks, changes' },
    ],
  },
  {
    title: 'Act',
    commands: [
      { name: 'block', usage: 'block CLIENT… --for 15m', summary: 'keep clients out for a time' },
      { name: 'unblock', usage: 'unblock CLIENT…', summary: 'let clients back in, everywhere, with proof' },
      { name: 'blocks', usage: 'blocks', summary: 'who is blocked, why and until when' },
      { name: 'allow', usage: 'allow add|rm|list|check', summary: 'ranges that are never limited' },
      { name: 'deny', usage: 'deny add|rm|list|check', summary: 'ranges that are always refused' },
    ],
  },
  {
    title: 'Policies',
    commands: [
      {
        name: 'policy',
        usage: 'policy list|get|set|edit|…',
        summary: 'read and change limits, with history and rollback',
      },
    ],
  },
  {
    title: 'Rehearse',
    commands: [
      { name: 'load', usage: 'load --rps 200 PATH', summary: 'send traffic and check what the limits admitted' },
    ],
  },
  {
    title: 'Mend',
    commands: [
      { name: 'doctor', usage: 'doctor', summary: 'what is set up wrong, and how to mend it' },
      { name: 'audit', usage: 'audit', summary: 'who changed what, when and why' },
      { name: 'keys', usage: 'keys [PATTERN]', summary: 'what is stored, in words' },
      { name: 'key', usage: 'key show|rm KEY', summary: 'one stored key' },
      { name: 'completion', usage: 'completion bash|zsh|fish', summary: 'complete commands, policies and clients' },
    ],
  },
]

export const COMMANDS: readonly Entry[] = GROUPS.flatMap(({ commands }) => commands)

/** Options that every command takes, as commander and the main help show them. */
export const GLOBAL_OPTIONS: readonly (readonly [flags: string, help: string])[] = [
  ['--url <url>', 'the control plane (BOUNCER_URL; default http://127.0.0.1:8900)'],
  ['--token-file <file>', 'its token (or BOUNCER_TOKEN, or the file a local server leaves)'],
  ['--redis <url>', 'straight on Redis, no server needed (REDIS_URL; password: REDIS_PASSWORD)'],
  ['-o, --output <format>', 'human, json, ndjson or csv'],
  ['--as <name>', 'who does it, for the audit (default: $USER)'],
  ['--yes', 'do not ask'],
  ['--no-color', 'no colours (NO_COLOR)'],
]

const pad = (pairs: readonly (readonly [string, string])[], indent = '  ') => {
  const width = Math.max(...pairs.map(([left]) => left.length))
  return pairs.map(([left, right]) => `${indent}${left.padEnd(width)}  ${right}`).join('\n')
}

export function helpText(): string {
  const width = Math.max(...COMMANDS.map(({ usage }) => usage.length))
  const groups = GROUPS.map(
    ({ title, commands }) =>
      `${title}\n${pad(commands.map(({ usage, summary }) => [usage.padEnd(width), summary] as const))}`,
  )
  return `Who is hurting the API, why was a client refused, let it back in.

Usage: bouncer COMMAND [options]

${groups.join('\n\n')}

Options, with any command
${pad(GLOBAL_OPTIONS)}
  -h, --help             how a command is used, with examples

Exit codes: 0 done · 1 failed · 2 usage · 3 not found · 4 not authorised · 5 cannot reach it
            99 a threshold was missed (load) · 130 interrupted

Examples
  bouncer clients --nearest              who is about to be limited
  bouncer explain 1.2.3.4 POST /auth/login
  bouncer unblock 1.2.3.4
  bouncer blocks -o csv > blocks.csv
`
}
