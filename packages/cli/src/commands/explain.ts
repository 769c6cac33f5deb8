import { METHODS } from 'node:http'
import { own } from '@api-bouncer/limiter/client'
import type { ExplainQuery, Explanation } from '@api-bouncer/limiter/contracts'
import type { CommandRoom } from '../command.ts'
import { CommandError, EXIT } from '../context.ts'
import { type Column, printOne, type Styles } from '../output.ts'
import { safe } from '../text.ts'
import { clock, exact, inTime, iso } from '../time.ts'
import { offenceText, refusalLines, verdictText } from '../usage.ts'
import { refuseSlips } from '../who.ts'

export const command: CommandRoom = {
  register(program, context) {
    program
      .command('explain')
      .usage('CLIENT [METHOD] [PATH]  |  --peer ADDR [--header …] [METHOD] [PATH]')
      .description('What a request would get now, and every step to it. Counts nothing.')
      .argument('[client]', 'an address or a client id')
      .argument('[method]', 'default GET')
      .argument('[path]', 'default /')
      .option('--peer <address>', 'instead of CLIENT: the address of the socket …')
      .option('--header <header>', '… and a header that came with it, "Name: value"; several', collect, [])
      .addHelpText('after', EXAMPLES)
      .action(async (...given) => {
        const command = given.at(-1)
        const of = context(command)
        const { peer, header } = command.opts()
        const query = questionOf(command.args, peer, header)
        const explanation = await (await of.control()).explain(query)
        printOne(of, explanation, styles => explanationText(explanation, query, styles), {
          rows: [explanation],
          columns: COLUMNS,
        })
      })
  },
}

const COLUMNS: readonly Column<Explanation>[] = [
  { name: 'client', value: ({ client }) => client },
  { name: 'method', value: ({ method }) => method },
  { name: 'path', value: ({ path }) => path },
  { name: 'outcome', value: ({ outcome }) => outcome },
  { name: 'reason', value: ({ reason }) => reason },
  { name: 'retry_after_ms', value: ({ retryAfterMs }) => retryAfterMs },
  { name: 'policy', value: ({ policy }) => policy },
  { name: 'remaining', value: ({ limits }) => limits.map(({ remaining }) => remaining).join(' ') },
  { name: 'blocked_until', value: ({ block }) => iso(block?.until) },
  { name: 'allowlisted', value: ({ allowlisted }) => allowlisted },
  { name: 'denylisted', value: ({ denylisted }) => denylisted },
]

const EXAMPLES = `
Examples
  bouncer explain 1.2.3.4
  bouncer explain 1.2.3.4 POST /auth/login
  bouncer explain 1.2.3.4 /api/data -o json | jq .outcome
  bouncer explain --peer 10.0.0.7 --header 'X-Forwarded-For: 1.2.3.4' /api/data`

const collect = (value: string, before: string[]) => [...before, value]

/** What is asked, from the words as they were typed. */
export function questionOf(
  words: readonly string[],
  peer: string | undefined,
  headers: readonly string[],
): ExplainQuery {
  const [client, ...rest] = peer === undefined ? words : [undefined, ...words]
  if (peer === undefined && client === undefined) {
    throw new CommandError(EXIT.usage, 'explain whom? bouncer explain CLIENT [METHOD PATH], or --peer ADDR')
  }
  if (peer === undefined && headers.length > 0) {
    throw new CommandError(EXIT.usage, '--header says who a client is together with --peer; with CLIENT it is known')
  }
  refuseSlips([peer ?? (client as string)])
  if (client !== undefined && METHODS.includes(client)) {
    throw new CommandError(EXIT.usage, `explain ${client} to whom? bouncer explain CLIENT ${client} PATH`)
  }
  const [first, second, ...more] = rest
  if (peer !== undefined && first !== undefined && /^[\d.]+$|:/.test(first)) {
    throw new CommandError(EXIT.usage, `explain ${first}, or a request from --peer ${peer}? give one of them`)
  }
  const [method, path] = second === undefined && first?.startsWith('/') ? [undefined, first] : [first, second]
  if (
    more.length > 0 ||
    (method !== undefined && !/^[A-Za-z][A-Za-z-]*$/.test(method)) ||
    path?.startsWith('/') === false
  ) {
    throw new CommandError(EXIT.usage, 'a request is METHOD PATH, as in POST /auth/login')
  }
  if (method !== undefined && !METHODS.includes(method.toUpperCase())) {
    throw new CommandError(EXIT.usage, `"${method}" is no method of HTTP (GET, POST, PUT, …)`)
  }
  return {
    ...(peer === undefined ? { client: client as string } : { peer, headers: headersOf(headers) }),
    ...(method !== undefined && { method: method.toUpperCase() }),
    ...(path !== undefined && { path }),
  }
}

/** Several of one name are one, as HTTP says. */
function headersOf(texts: readonly string[]): Record<string, string> {
  const headers: Record<string, string> = {}
  for (const text of texts) {
    const [, name, value] = /^([!#$%&'*+.^_`|~\w-]+):\s*(.*)$/.exec(text) ?? []
    if (name === undefined || value === undefined) {
      throw new CommandError(EXIT.usage, `--header "${text}" is not of the form 'Name: value'`)
    }
    const key = name.toLowerCase()
    const before = own(headers, key)
    headers[key] = before === undefined ? value : `${before}, ${value}`
  }
  return headers
}

function answer(explanation: Explanation, { good, warn, bad }: Styles): string {
  const { outcome, reason, block, at, policy, retryAfterMs, limits, denylisted } = explanation
  if (outcome === 'allowed') {
    const left = limits.map(({ remaining, limit }) => `${remaining} of ${limit}`).join(', ')
    return `${good('ALLOWED')} now: ${left} left under ${policy}`
  }
  if (outcome === 'exempt') return `${good('ALLOWED')} now, without counting: ${safe(reason)}`
  if (outcome === 'blocked' && block && !denylisted) {
    // A limit may hold longer than the block.
    const then = retryAfterMs !== undefined && at + retryAfterMs > block.until
    const after = then ? `; then over a limit of ${policy} until ${exact(at + retryAfterMs, at)}` : ''
    return `${bad('REFUSED')} now: blocked until ${exact(block.until, at)}${offenceText(block)}${after}`
  }
  if (outcome === 'blocked') return `${bad('REFUSED')} now: ${safe(reason)}`
  const again = retryAfterMs === undefined ? 'waiting does not help' : `fits again at ${exact(at + retryAfterMs, at)}`
  return `${warn('REFUSED')} now: ${safe(reason)}; ${again}`
}

/** `X-Forwarded-For`, as people write it. */
const headerName = (header = '') => header.replace(/\b(?<=^|-)[a-z]/g, letter => letter.toUpperCase())

function clientLine({ client, identity }: Explanation, { peer, client: typed }: ExplainQuery): string {
  const { address, hops, header, probablyProxy, proxy } = identity
  if (peer === undefined)
    return `${safe(client)}${typed === client ? '' : `, that is how ${safe(typed ?? '')} is counted`}`
  const network = address !== undefined && address !== client ? `, the network of ${address}` : ''
  const trusted = hops.slice(0, -1)
  const [one] = trusted
  const from =
    one === undefined
      ? ', the address of the socket; no header is trusted to say another'
      : `, from ${headerName(header)}, ${trusted.length === 1 ? 'one hop' : `${trusted.length} hops`} behind the trusted ${
          trusted.length === 1 ? `proxy ${one}` : `proxies ${trusted.join(', ')}`
        }`
  const warning = probablyProxy
    ? `\n            probably a proxy of your own: limited, never blocked; ${
        proxy === 'silent'
          ? 'it is trusted, but names nobody: name the header that it writes in CLIENT_IP_HEADER'
          : 'name it in TRUST_PROXY'
      }`
    : ''
  return `${safe(client)}${network}${from}${warning}`
}

type Matched = Explanation['matched'][number]
const policyText = ({ match, limits, algorithm }: Matched) => `${safe(match)}, ${limits.join(', ')}, ${algorithm}`

function policyLine({ policy, matched }: Explanation): string {
  const winner = matched.find(one => one.policy === policy)
  const others = matched.filter(one => one !== winner)
  const also = others.map(one => `${safe(one.policy)} (${safe(one.match)}${one.mode === 'shadow' ? ', shadow' : ''})`)
  const first = winner ? `${safe(winner.policy)} (${policyText(winner)})` : 'none applies'
  return also.length > 0 ? `${first}   also matched: ${also.join(', ')}` : first
}

function listsLine({ allowlisted, denylisted }: Explanation): string {
  if (allowlisted && denylisted)
    return `on the allowlist (${allowlisted}), which wins over the denylist (${denylisted})`
  if (allowlisted) return `on the allowlist (${allowlisted})`
  if (denylisted) return `on the denylist (${denylisted})`
  return 'on neither the allowlist nor the denylist'
}

const INDENT = ' '.repeat(14)
/** The newest of them say it. */
const SHOWN = 5

/** The block and the refusals that led to it, or the violations that may lead to one. */
function blockLines({ block, violations, refusals, at, allowlisted }: Explanation): string[] {
  if (!block) {
    const told = refusalLines(refusals.slice(0, SHOWN).reverse(), at)
    const count = violations.length
    const counts =
      count === 0 ? 'no violation counts' : count === 1 ? '1 violation counts' : `${count} violations count`
    // After an unblock nothing counts any more, and people still ask why.
    const before = count === 0 && told.length > 0 ? '; refused before:' : ''
    return [`none; ${counts} at present${before}`, ...told.map(line => INDENT + line)]
  }
  const set =
    block.by === 'auto'
      ? `${safe(block.reason)} set it at ${clock(block.since, at)}`
      : `${safe(block.by)} set it at ${clock(block.since, at)}: ${safe(block.reason)}`
  const evidence =
    block.by === 'auto'
      ? refusals
          .filter(one => one.at <= block.since)
          .slice(0, SHOWN)
          .reverse()
      : []
  const held = allowlisted ? '; the allowlist wins over it' : ''
  return [`${set}${held}`, ...refusalLines(evidence, at).map(line => INDENT + line)]
}

function limitsLines({ limits, policy, at, outcome, block }: Explanation): string[] {
  if (limits.length === 0) return ['none to count']
  const refusing = limits.filter(({ retryAfterMs }) => retryAfterMs !== 0)
  const [first] = refusing
  const tail =
    outcome === 'blocked' && block && first
      ? [
          `they would refuse too${first.retryAfterMs === undefined ? '' : `, for ${inTime(first.retryAfterMs).slice(3)}`}`,
        ]
      : []
  return [...limits.map(limit => `${policy} ${verdictText(limit, at)}`), ...tail]
}

/** What can be done about it. */
function nextLine({ client, outcome, block, allowlisted, denylisted }: Explanation): string {
  const who = safe(client)
  if (allowlisted) return `limit it again:  bouncer allow rm ${allowlisted}`
  if (denylisted) return `let it back in:  bouncer deny rm ${denylisted}`
  if (block) return `let it back in:  bouncer unblock ${who}          keep it out:  bouncer deny add ${who}`
  if (outcome === 'limited')
    return `let it back in:  bouncer unblock ${who}          never limit it:  bouncer allow add ${who}`
  // Nothing to be done; why it was refused before may be what is asked.
  return `what happened to it:  bouncer events --client ${who}`
}

/** The answer, then every step to it, then what can be done. */
export function explanationText(explanation: Explanation, query: ExplainQuery, styles: Styles): string {
  const steps: [string, readonly string[]][] = [
    ['client', [clientLine(explanation, query)]],
    ['policy', [policyLine(explanation)]],
    ['lists', [listsLine(explanation)]],
    ['block', blockLines(explanation)],
    ['limits', limitsLines(explanation)],
  ]
  const numbered = steps.flatMap(([name, [first, ...more]], i) => [
    `${i + 1} ${name.padEnd(8)}  ${first}`,
    ...more.map(line => (line.startsWith(INDENT) ? line : `${' '.repeat(12)}${line}`)),
  ])
  return `${[answer(explanation, styles), '', ...numbered, '', nextLine(explanation)].join('\n')}\n`
}
