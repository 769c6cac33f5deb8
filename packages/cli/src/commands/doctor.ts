import { statSync } from 'node:fs'
import { connect } from 'node:net'
import { networkInterfaces } from 'node:os'
import { BouncerError } from '@api-bouncer/limiter/client'
import type { ControlPlane, Diagnosis, Status } from '@api-bouncer/limiter/contracts'
import { stateDirOf, tokenFileOf } from '@api-bouncer/limiter/token-file'
import type { CommandRoom } from '../command.ts'
import { DEFAULT_URL } from '../connection.ts'
import { CommandError, type Context, EXIT } from '../context.ts'
import {
  isLoopback,
  judgeExposure,
  judgeState,
  judgeStatus,
  OF_INSTANCES,
  OF_STATE,
  STORE_AWAY,
  storeAway,
  unseen,
} from '../doctor/findings.ts'
import { count } from '../numbers.ts'
import { type Column, printOne, type Styles } from '../output.ts'
import { describe } from '../problem.ts'
import { fold, safe } from '../text.ts'

export const command: CommandRoom = {
  register(program, context) {
    program
      .command('doctor')
      .description('What is set up wrong, and how to mend it; exit 0 nothing, 1 something, 2 and above an error')
      .addHelpText('after', EXAMPLES)
      .action(async (_, command) => {
        const of = context(command)
        const diagnoses = await examine(of).catch(error => {
          // 1 says that something was found, so an error is never 1.
          const { exitCode, lines } = describe(error)
          if (exitCode !== EXIT.failed) throw error
          throw new CommandError(EXIT.usage, lines.join('\n').replace(/^bouncer: /, ''))
        })
        const found = diagnoses.filter(({ verdict }) => verdict === 'warning' || verdict === 'problem')
        printOne(
          of,
          { findings: found.length, diagnoses },
          styles => fold(report(diagnoses, styles), of.stdout.columns),
          {
            rows: diagnoses,
            columns: COLUMNS,
            lines: true,
          },
        )
        if (found.length > 0) throw new CommandError(EXIT.failed, '')
      })
  },
}

const EXAMPLES = `
Examples
  bouncer doctor
  bouncer doctor --redis redis://127.0.0.1:6379
  bouncer doctor -o json | jq '.diagnoses[] | select(.verdict != "ok")'`

const COLUMNS: readonly Column<Diagnosis>[] = [
  { name: 'verdict', value: ({ verdict }) => verdict },
  { name: 'about', value: ({ about }) => about },
  { name: 'says', value: ({ says }) => says },
  { name: 'mend', value: ({ mend }) => mend },
]

/** What is wrong comes first. */
const ORDER: readonly Diagnosis['verdict'][] = ['problem', 'warning', 'unknown', 'ok']

export function report(diagnoses: readonly Diagnosis[], { bold, bad, warn, dim, good }: Styles): string {
  const style = { problem: bad, warning: warn, unknown: dim, ok: good }
  const sorted = [...diagnoses].sort((a, b) => ORDER.indexOf(a.verdict) - ORDER.indexOf(b.verdict))
  const widest = Math.max(...sorted.map(({ about }) => about.length))
  const of = (verdict: Diagnosis['verdict']) => diagnoses.filter(one => one.verdict === verdict).length
  const [found, unknown] = [of('problem') + of('warning'), of('unknown')]
  const head = found > 0 ? count(found, 'finding') : 'nothing found'
  const tail = unknown > 0 ? `, ${unknown} could not be looked at` : ''
  const lines = sorted.flatMap(({ verdict, about, says, mend }) => [
    `${style[verdict](verdict.padEnd(7))}  ${safe(about).padEnd(widest)}  ${safe(says)}`,
    ...(mend === undefined ? [] : [`${' '.repeat(widest + 11)}${dim('mend:')} ${safe(mend)}`]),
  ])
  return `${bold(head)} of ${count(diagnoses.length, 'thing')} looked at${tail}\n\n${lines.join('\n')}\n`
}

async function examine(context: Context): Promise<Diagnosis[]> {
  const { options, env } = context
  let [control, status]: [ControlPlane?, Status?] = []
  const startedAt = performance.now()
  try {
    control = await context.control()
    status = await control.status()
  } catch (error) {
    // Without the server there is nobody to ask; without Redis, straight on it, that is the finding.
    if (!isAway(error) || (control && !isStraight(control))) throw error
    return [
      storeAway(error.what),
      ...unseen([...OF_INSTANCES, ...OF_STATE, ...OF_STORE], STORE_AWAY),
      ...judgeExposure({ url: undefined, answersOn: [], tokenFile: undefined }),
    ]
  }
  const tookMs = performance.now() - startedAt
  const url = isStraight(control) ? undefined : (options.url ?? (env.BOUNCER_URL || DEFAULT_URL))
  const [state, seen, answersOn] = await Promise.all([
    unlessAway(control.state()),
    diagnose(control),
    url !== undefined && isLoopback(url) ? beyondLoopback(Number(new URL(url).port || 80)) : [],
  ])
  return [
    {
      about: 'control plane',
      verdict: 'ok',
      says: `${url ?? 'straight on Redis'} answers in ${tookMs.toFixed(0)} ms, version ${status.version}`,
    },
    ...judgeStatus(status),
    ...(state ? judgeState(state, context.now()) : unseen(OF_STATE, STORE_AWAY)),
    ...judgeExposure({ url, answersOn, tokenFile: tokenFile(context, url) }),
    ...seen,
  ]
}

/** Only what holds connections of its own has to be closed: then there is no server in between. */
const isStraight = (control: ControlPlane) => 'close' in control

const isAway = (error: unknown): error is BouncerError =>
  error instanceof BouncerError && error.code === 'ERR_UNAVAILABLE'

const unlessAway = <T>(answer: Promise<T>): Promise<T | undefined> =>
  answer.catch(error => {
    if (isAway(error)) return undefined
    throw error
  })

/** What the control plane itself looks at. */
const OF_STORE = ['redis and proxy']

/** An older server has no such thing. */
const diagnose = (control: ControlPlane): Promise<Diagnosis[]> =>
  control
    .diagnose()
    .catch((error: Error) => unseen(OF_STORE, isAway(error) ? STORE_AWAY : `the server does not say: ${error.message}`))

/** Addresses of this machine, other than loopback, on which something answers at the control plane's port. */
async function beyondLoopback(port: number): Promise<string[]> {
  const addresses = Object.values(networkInterfaces())
    .flat()
    .filter(one => one !== undefined && !one.internal && one.family === 'IPv4')
    .map(one => one?.address as string)
  const answering = await Promise.all(addresses.map(address => answers(address, port)))
  return addresses.filter((_, i) => answering[i]).map(address => `${address}:${port}`)
}

const answers = (host: string, port: number): Promise<boolean> =>
  new Promise(resolve => {
    const socket = connect({ host, port, timeout: 300 })
    const done = (answer: boolean) => {
      socket.destroy()
      resolve(answer)
    }
    socket.once('connect', () => done(true))
    socket.once('timeout', () => done(false))
    socket.once('error', () => done(false))
  })

/** The file that the token came from, when it came from one. */
function tokenFile({ options, env }: Context, url: string | undefined) {
  if (url === undefined || (options.tokenFile === undefined && env.BOUNCER_TOKEN)) return undefined
  const path = options.tokenFile ?? tokenFileOf(stateDirOf(env), Number(new URL(url).port || 80))
  try {
    return { path, mode: statSync(path).mode }
  } catch {
    return undefined
  }
}
