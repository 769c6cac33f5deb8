import { closeSync, openSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import type { ControlPlane, Status } from '@api-bouncer/limiter/contracts'
import { CommandError, type Context, EXIT } from '../context.ts'
import { columnsOf, printJson, stylesOf } from '../output.ts'
import { screens } from '../screens.ts'
import { fold, safeJson } from '../text.ts'
import { type Cleaned, clean, knownOf } from './cleaning.ts'
import { addressOf } from './clients.ts'
import { failModesBetween, freshStatus } from './fail-modes.ts'
import { hasCounted, notGoverned, usedBy } from './governed.ts'
import { isLoopback, type LoadOptions } from './options.ts'
import { type ClockOffset, judge, type Known, lawOf, type OracleReport } from './oracle.ts'
import { lawText, type Report, reportOf, summary, titleOf } from './report.ts'
import { type Result, type Sender, send } from './sender.ts'

/** Sends the traffic, checks what was admitted, cleans up, and says it all. */
export async function rehearse(context: Context, options: LoadOptions): Promise<void> {
  const { stderr, stdout } = context
  let sender: Sender | undefined
  let interrupted = false
  let finish = () => {}
  const finished = new Promise<void>(resolve => {
    finish = resolve
  })
  // Stops early, and still says what was seen and cleans up; the exit code is 130 then.
  const listening = context.onInterrupt(() => {
    interrupted = true
    sender?.stop()
    return sender ? finished : undefined
  })
  try {
    if (options.out !== undefined) proveWritable(options.out)
    const door = await openDoor(context, options)
    const { url } = door
    if (!isLoopback(url) && !options.ownsHost) {
      throw new CommandError(
        EXIT.usage,
        `${url.host} is beyond this machine; load is sent there only if it is yours: --i-own-this-host`,
      )
    }
    const prepared = await prepare(context, options, door)
    // Last, so that no time passes between this and the first request.
    await reach(url)
    if (interrupted) return

    const title = titleOf(url, options)
    const startedAt = context.now()
    const live = wantsView(context)
    const { schedule, clients, attackers, seed, method, headers, body } = options
    const who = { clients, attackers, seed }
    const what = { url: url.href, method, headers, body }
    sender = send({ stages: schedule.stages, ...who, ...what, tellEveryMs: live ? 250 : undefined })
    const view = live ? await draw(context, sender, title, options) : undefined
    const result = await sender.result.finally(view)

    const { elsewhere, ...oracle } = await verdictOf(prepared, options, url, result)
    const { cleaned, unclean } = elsewhere
      ? { cleaned: null }
      : await cleanUp(context, options, prepared, usedBy(result.trace).map(addressOf))
    const report = reportOf({ url, options, result, startedAt, interrupted, oracle, cleaned })
    if (options.out !== undefined) save(options.out, report)
    if (context.options.output === 'json') printJson(context, report)
    else if (context.options.output === 'ndjson') stdout.write(`${safeJson(report)}\n`)
    else stdout.write(fold(summary(report, title, stylesOf(context, stdout), columnsOf(stdout)), stdout.columns))
    const say = (message: string) => stderr.write(`bouncer: ${message}\n`)
    if (!interrupted) conclude(report, unclean, say)
    else if (unclean !== undefined) say(unclean)
  } finally {
    finish()
    listening()
  }
}

/** The exit code: a wrong limiter weighs more than a missed threshold, and that more than what was left behind; all are told. */
function conclude({ oracle, thresholds }: Report, unclean: string | undefined, say: (message: string) => void): void {
  const missed = thresholds.filter(one => one.missed).map(({ threshold, value }) => `${threshold} (it was ${value})`)
  const late = missed.length === 0 ? undefined : `missed: ${missed.join(', ')}`
  const fails = oracle.verdict === 'disagrees' || late !== undefined
  if (unclean !== undefined) {
    if (!fails) throw new CommandError(EXIT.failed, unclean)
    say(unclean)
  }
  if (oracle.verdict === 'disagrees') {
    if (late) say(late)
    const { wrong } = oracle
    const [worst] = wrong
    const band = worst && (worst.least === worst.most ? `${worst.least}` : `${worst.least} to ${worst.most}`)
    throw new CommandError(
      EXIT.failed,
      `the limiter did not do what its policies say: ${worst?.client} had to get ${band} requests through, and got ${worst?.admitted}${wrong.length > 1 ? ` (and ${wrong.length - 1} more clients are wrong)` : ''}`,
    )
  }
  if (late) throw new CommandError(EXIT.threshold, late)
}

/** Where the traffic goes, and the control plane, if there is one. */
interface Door {
  readonly url: URL
  readonly control: ControlPlane | undefined
  /** Why there is no control plane. */
  readonly without: string
}

async function openDoor(context: Context, { url, path, oracle }: LoadOptions): Promise<Door> {
  if (url === undefined) {
    const control = await context.control()
    const { dataPlane } = await control.status()
    if (dataPlane === undefined) {
      throw new CommandError(
        EXIT.usage,
        `the control plane names no data plane to send ${path} to; say where: --target http://127.0.0.1:8000`,
      )
    }
    return { url: new URL(path, dataPlane), control: oracle ? control : undefined, without: NOT_WANTED }
  }
  if (!oracle) return { url, control: undefined, without: NOT_WANTED }
  try {
    const control = await context.control()
    await control.status()
    return { url, control, without: '' }
  } catch (error) {
    return {
      url,
      control: undefined,
      without: `without a control plane nobody knows the policies: ${messageOf(error)}`,
    }
  }
}

const NOT_WANTED = '--no-oracle'

const messageOf = (error: unknown) => (error as Error).message

/** What is known before the run, or why there can be no verdict. */
interface Prepared {
  readonly control: ControlPlane | undefined
  readonly none: string | undefined
  readonly known?: Known
  readonly clocks?: ClockOffset
  readonly before?: Status
}

async function prepare(context: Context, options: LoadOptions, { url, control, without }: Door): Promise<Prepared> {
  if (!control) return { control: undefined, none: without }
  if (!isLoopback(url)) {
    return { control: undefined, none: `whether ${url.host} believes X-Forwarded-For from here is not known` }
  }
  const first = addressOf(0)
  const forwarded = {
    peer: '127.0.0.1',
    headers: { 'x-forwarded-for': first },
    method: options.method,
    path: url.pathname,
  }
  const { client } = await control.explain(forwarded)
  if (client !== first) {
    return {
      control: undefined,
      none: `this server does not believe X-Forwarded-For from 127.0.0.1, it counts ${client} (TRUST_PROXY=loopback would)`,
    }
  }
  const addresses = Array.from({ length: options.clients }, (_, i) => addressOf(i))
  const { blocks } = await clean(
    control,
    context.actor,
    await knownOf(control, addresses),
    'bouncer load: begins with clients never seen before',
  )
  const { usage } = await control.client(first)
  const algorithms = Object.fromEntries(usage.map(({ policy, algorithm }) => [policy, algorithm]))
  const [state, before] = [await control.state(), await control.status()]
  // What an instance knew of a block it may believe for a second.
  if (blocks > 0 && before.store.kind !== 'memory') await new Promise(resolve => setTimeout(resolve, 1100))
  const clocks = await offsetOf(control, first)
  return { control, none: undefined, known: { state, algorithms }, clocks, before }
}

/** The store's clock less ours: it was read somewhere between the question and the answer. */
async function offsetOf(control: ControlPlane, client: string): Promise<ClockOffset> {
  const now = () => performance.timeOrigin + performance.now()
  let [low, high] = [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY]
  for (let i = 0; i < 5; i++) {
    const asked = now()
    const { at } = await control.client(client)
    // `at` is cut to whole ms.
    low = Math.max(low, at - now())
    high = Math.min(high, at + 1 - asked)
  }
  return { low: Math.min(low, high) * 1000, high: Math.max(low, high) * 1000 }
}

async function verdictOf(
  prepared: Prepared,
  options: LoadOptions,
  url: URL,
  result: Result,
): Promise<OracleReport & { readonly elsewhere?: true }> {
  const { seen, trace } = result

  const none = (reason: string): OracleReport => ({ verdict: 'none', reason })
  const { control, known, clocks, before } = prepared
  if (!control || !known || !clocks || !before) return none(prepared.none ?? 'unknown')
  try {
    const counted = await hasCounted(control, result)
    const askedAt = (performance.timeOrigin + performance.now()) * 1000
    const ends = await offsetOf(control, addressOf(0))
    const [state, after] = [await control.state(), await freshStatus(control)]
    if (state.epoch !== known.state.epoch) {
      return none(`the policies were changed meanwhile (epoch ${known.state.epoch}, now ${state.epoch})`)
    }
    const failModes = failModesBetween(before, after)
    if (failModes) return none(failModes)
    if (seen.degraded > 0) return none(`the fail mode refused ${seen.degraded} requests, as the store gave no answer`)
    const clock = { low: Math.min(clocks.low, ends.low), high: Math.max(clocks.high, ends.high) }
    const [begin, end] = [(trace.sentAt[0] ?? trace.endedAt) + clock.low, trace.endedAt + clock.high]
    const law = lawOf(known, options.method, url.pathname, begin / 1000, end / 1000)
    if (!law) return none('a policy change went back by itself meanwhile')
    const lastSentAt = trace.sentAt[trace.count - 1] ?? trace.endedAt
    const why = notGoverned(law, result, counted, (askedAt - lastSentAt) / 1000)
    if (why) return { ...none(`${why}. Nothing was cleaned up there`), elsewhere: true }
    const { agrees, ...verdict } = judge(law, trace, clock)
    return { verdict: agrees ? 'agrees' : 'disagrees', law: lawText(law.policy), ...verdict }
  } catch (error) {
    return none(`the control plane could not be asked after the run: ${messageOf(error)}`)
  }
}

async function cleanUp(
  { actor }: Context,
  { keep }: LoadOptions,
  { control }: Prepared,
  addresses: readonly string[],
): Promise<{ cleaned: Cleaned | null; unclean?: string }> {
  if (!control || keep) return { cleaned: null }
  try {
    return { cleaned: await clean(control, actor, addresses, 'bouncer load: cleans up') }
  } catch (error) {
    const { length } = addresses
    const names = length <= NAMED ? addresses.join(' ') : `${addresses.slice(0, NAMED).join(' ')} … (${length} in all)`
    return {
      cleaned: null,
      unclean: `could not clean up what the run left behind: ${messageOf(error)}\ndo it later:  bouncer unblock ${names}`,
    }
  }
}

/** So many addresses are spelt out. */
const NAMED = 8

/** Proves that somebody listens there. */
function reach(url: URL): Promise<void> {
  const port = Number(url.port || (url.protocol === 'https:' ? 443 : 80))
  const host = url.hostname.replace(/^\[|\]$/g, '')
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host, timeout: 3000 })
    const give = (why: string) => {
      socket.destroy()
      reject(
        new CommandError(EXIT.unreachable, `cannot reach ${url.origin} (${why}). Is the server up? Nothing was sent`),
      )
    }
    socket.once('connect', () => {
      socket.destroy()
      resolve()
    })
    socket.once('timeout', () => give('no answer within 3 s'))
    socket.once('error', (error: NodeJS.ErrnoException) => {
      // Several addresses of one name fail with an error that has no message of its own.
      const code = error.code ?? 'unknown'
      give(code === 'ECONNREFUSED' ? 'connection refused' : code)
    })
  })
}

const cannotWrite = (exitCode: number, file: string, error: unknown) =>
  new CommandError(exitCode, `--out: cannot write ${file} (${(error as NodeJS.ErrnoException).code})`)

/** Before anything is sent: a run is not to be had again. */
function proveWritable(file: string): void {
  try {
    closeSync(openSync(file, 'a'))
  } catch (error) {
    throw cannotWrite(EXIT.usage, file, error)
  }
}

function save(file: string, report: Report): void {
  try {
    writeFileSync(file, `${safeJson(report, 2)}\n`)
  } catch (error) {
    throw cannotWrite(EXIT.failed, file, error)
  }
}

const wantsView = ({ stdout, env, options }: Context) =>
  options.output === 'human' && stdout.isTTY === true && env.TERM !== 'dumb' && !env.CI

async function draw({ stdout, options }: Context, sender: Sender, title: readonly string[], { schedule }: LoadOptions) {
  const { drawLoad } = await screens.load()
  return drawLoad({ sender, title, durationMs: schedule.durationMs, stdout, colour: options.color })
}
