import type { IncomingMessage, RequestListener } from 'node:http'
import { hostname } from 'node:os'
import { inspect } from 'node:util'
import type { ControlPlane, ControlState, Decision, ListName, StatsFrame, Usage } from './contracts/index.ts'
import { isAllowed } from './contracts/index.ts'
import { fleetStatus } from './control/fleet-status.ts'
import { usageOf } from './control/insight.ts'
import { Operator } from './control/operator.ts'
import { fromVerdict, policyOf, type Trial, takeReceipts, withoutStore } from './decision.ts'
import { BouncerError } from './errors.ts'
import type { EventLog } from './events/event-log.ts'
import { Reporter } from './events/reporter.ts'
import { type Decider, type ExpressOptions, expressMiddleware, inFrontOf, type RequestToCheck } from './express.ts'
import { Failures } from './failures.ts'
import { type HeaderStyle, type HeaderTarget, rateLimitHeaders, setRateLimitHeaders } from './headers.ts'
import { clientId, createIdentifier, type Identity, NO_ADDRESS, type Peer } from './identity/identify.ts'
import { Listeners } from './listeners.ts'
import { type BouncerOptions, parseOptions } from './options.ts'
import { compileRules, type Rules, revertsAfter } from './policies/rules.ts'
import { type CompiledPolicy, noPolicy } from './policies/table.ts'
import { Recorder, type Totals } from './stats/recorder.ts'
import type { Backend } from './stores/backend.ts'
import { memoryBackend } from './stores/memory/memory-backend.ts'
import { redisBackend } from './stores/redis/redis-backend.ts'
import type { Answer, Check, Receipt, StoreHealth, Verdict } from './stores/store.ts'
import { version } from './version.ts'

/** In process one decision in so many is timed. */
const TIME_EVERY = 8

/** A limiter: decides requests, and lets an operator see and change how. Made by `createBouncer`. */
export class Bouncer implements Decider {
  /** What an operator can do. */
  readonly control: ControlPlane
  readonly events: EventLog
  readonly instance: string
  private readonly backend: Backend
  private readonly options: ReturnType<typeof parseOptions>
  private readonly identifyPeer: ReturnType<typeof createIdentifier>
  private readonly recorder: Recorder
  private readonly reporter: Reporter
  private readonly failures: Failures
  private readonly frameListeners = new Listeners<StatsFrame>()
  private readonly unmatched: CompiledPolicy
  private readonly ticker: NodeJS.Timeout
  private readonly startedAt = performance.now()
  private rules: Rules
  /** The first that were probably our own load balancer, by what is wrong with them. */
  private readonly proxies: { untrusted?: string; silent?: string } = {}
  private reverting: NodeJS.Timeout | undefined
  private warnedOfRoom = false

  constructor(options: BouncerOptions = {}) {
    this.options = parseOptions(options)
    const { seed, defaults, logger, rules, maxClients, clock } = this.options
    this.rules = rules
    this.failures = new Failures(logger)
    for (const { list, cidr } of seed.lists) if (cidr in EVERYBODY) logger.warn(holdsEverybody(list, cidr))
    this.instance = this.options.instance ?? `${hostname()}:${process.pid}`
    const memory = { seed, maxClients, clock, instance: this.instance }
    this.backend = this.options.redis ? redisBackend(this.options.redis, { ...memory, logger }) : memoryBackend(memory)
    this.recorder = new Recorder(this.options.redis ? 1 : TIME_EVERY)
    const { ledger, events } = this.backend
    this.events = events
    this.identifyPeer = createIdentifier(this.options)
    this.unmatched = noPolicy(defaults)
    // Told after the answer, never in its way.
    const send = (event: Parameters<EventLog['append']>[0]) =>
      setImmediate(() => void Promise.resolve(events.append(event)).catch(() => {}))
    this.reporter = new Reporter({ send, now: () => performance.now() })
    this.control = new Operator({
      backend: this.backend,
      defaults,
      status: () => fleetStatus(this, this.backend),
      identify: peer => this.identify(peer),
    })
    let known = false
    ledger.subscribe(state => {
      this.adopt(state)
      // The fleet hears of this instance as soon as it decides by what the fleet has.
      if (!known) this.tick()
      known = true
    })
    this.ticker = setInterval(() => this.tick(), 1000)
    this.ticker.unref()
    if (!this.options.redis) this.tick()
  }

  /** Who is asking, and how we know. */
  identify(peer: Peer): Identity {
    return this.identifyPeer(peer, this.rules.ipv6Prefix)
  }

  /**
   * Decides one request and counts it. Answers at once where it can (embedded store, known blocks, lists); never rejects
   * because of the store: then the policy's fail mode decides. Throws ERR_INVALID for a `cost` that is not an integer from 0.
   */
  check(request: RequestToCheck): Answer<Decision> {
    const { rules, backend, recorder } = this
    const started = recorder.isTiming ? performance.now() : undefined
    const who = this.identify(request.peer)
    const policy = rules.table.match(request.method, request.path) ?? this.unmatched
    const check = this.toCheck(request, who, policy)
    if (!check.penalise) this.warnOfProxy(who)
    const listed = this.byList(request, who, check)
    if (listed) return this.done(listed, check, started)

    const shadow = rules.table.matchShadow(request.method, request.path)
    let verdict: Answer<Verdict>
    let trial: Answer<Trial | undefined>
    try {
      verdict = backend.store.check(check)
      // Asked in the same turn, so that it travels in the same batch; a flood of a known block asks nothing.
      if (shadow && (verdict instanceof Promise || verdict.outcome !== 'blocked')) {
        trial = this.tryShadow(this.toCheck(request, who, shadow))
      }
    } catch (error) {
      return this.done(this.degraded(check, error), check, started)
    }
    if (!(verdict instanceof Promise) && !(trial instanceof Promise)) {
      return this.done(fromVerdict(check, verdict, trial), check, started)
    }
    // No more promises than it takes: nearly every check has no shadow beside it.
    const failed = (error: unknown) => this.done(this.degraded(check, error), check, started)
    if (!shadow) {
      return (verdict as Promise<Verdict>).then(
        verdict => this.done(fromVerdict(check, verdict), check, started),
        failed,
      )
    }
    return Promise.all([verdict, trial]).then(
      ([verdict, trial]) => this.done(fromVerdict(check, verdict, trial), check, started),
      failed,
    )
  }

  /** What `check` would decide now, without counting anything. */
  async peek(request: RequestToCheck): Promise<Decision> {
    const who = this.identify(request.peer)
    const check = this.toCheck(request, who, this.rules.table.match(request.method, request.path) ?? this.unmatched)
    return this.byList(request, who, check) ?? fromVerdict(check, await this.backend.store.peek(check))
  }

  /** Gives back what a decision took, once; returns the units that came back. */
  refund(decision: Decision): Answer<number> {
    const { store } = this.backend
    const [receipt, trial] = takeReceipts(decision).map(receipt => this.byPresentPolicy(receipt))
    // What a policy on trial took is not what is told: that it cannot be given back concerns nobody.
    if (trial) void Promise.resolve(store.refund(trial)).catch(() => {})
    return receipt ? store.refund(receipt) : 0
  }

  /** An algorithm gives back by the numbers of a limit that it is told, and clamps by them: those of before would be a reset. */
  private byPresentPolicy(receipt: Receipt): Receipt {
    return { ...receipt, policy: this.rules.table.get(receipt.policy.id) ?? receipt.policy }
  }

  /** Where a client stands under every policy in force, and its block. */
  async usage(client: string): Promise<{ client: string; block: Verdict['block']; policies: Usage[] }> {
    const policies = this.rules.table.policies
    const peeked = await Promise.all(
      policies.map(policy =>
        this.backend.store.peek({ client, policy, cost: policy.cost, route: '', penalise: false }),
      ),
    )
    return {
      client,
      block: peeked.find(({ block }) => block)?.block,
      policies: policies.map((policy, i) => usageOf(policy, peeked[i]?.limits ?? [])),
    }
  }

  /** The headers that tell a client about a decision. */
  headers(decision: Decision, style: HeaderStyle = 'both'): [string, string][] {
    return rateLimitHeaders(decision, policyOf(decision), style)
  }

  /** Sets them on a response. */
  setHeaders(target: HeaderTarget, decision: Decision, style: HeaderStyle = 'both'): void {
    setRateLimitHeaders(target, decision, policyOf(decision), style)
  }

  /** The limiter as middleware for Express 5 and 4. */
  express<Req extends IncomingMessage = IncomingMessage>(options: ExpressOptions<Req> = {}) {
    return expressMiddleware<Req>(this, this.failures, options)
  }

  /**
   * The limiter in front of a whole application, for Node's `createServer(bouncer.wrap(app))`: an Express app, Koa's
   * `callback()`, any request listener. Who is refused never reaches the framework, which is most of what a request costs.
   */
  wrap(app: RequestListener, options: ExpressOptions = {}): RequestListener {
    return inFrontOf(app, this, this.failures, options)
  }

  /** Counts since the start. */
  totals(): Totals {
    return this.recorder.totals()
  }

  health(): StoreHealth & { readonly kind: string } {
    const { store } = this.backend
    return { kind: store.kind, ...store.health() }
  }

  get epoch(): number {
    return this.rules.epoch
  }

  /** Calls back with what this instance did, every second; returns how to stop. */
  onFrame(listener: (frame: StatsFrame) => void): () => void {
    return this.frameListeners.add(listener)
  }

  /** Sends what is still to be told and lets go of everything. */
  async close(): Promise<void> {
    clearInterval(this.ticker)
    clearTimeout(this.reverting)
    this.reporter.close()
    await new Promise(resolve => setImmediate(resolve))
    this.tick()
    await this.backend.close()
  }

  /**
   * Decides by a new control state from now on, and by what it becomes when a change goes back by itself; `since` it was
   * known, that is told.
   */
  private adopt(state: ControlState, since?: number): void {
    const { defaults, logger } = this.options
    const now = this.backend.store.now()
    for (const { policy, version, revert } of state.policies) {
      if (!revert || since === undefined || revert.at <= since || revert.at > now) continue
      logger.info(`policy ${policy.id} ${revert.policy ? 'went back' : 'is gone'}: nobody confirmed version ${version}`)
    }
    try {
      this.rules = compileRules(state, defaults, now)
    } catch (error) {
      logger.error(
        `control state ${state.epoch} is not usable, ${this.rules.epoch} stays in force: ${(error as Error).message}`,
      )
    }
    clearTimeout(this.reverting)
    const next = Math.min(...revertsAfter(state, now))
    // A timer counts to 2^31 ms at most; a change is confirmed within a day.
    if (Number.isFinite(next)) this.reverting = setTimeout(() => this.adopt(state, now), next - now).unref()
  }

  private toCheck({ method, path, cost, client }: RequestToCheck, who: Identity, policy: CompiledPolicy): Check {
    if (cost !== undefined && !(Number.isSafeInteger(cost) && cost >= 0)) {
      throw new BouncerError(
        'ERR_INVALID',
        `a cost of ${String(cost)} for ${method} ${path.slice(0, 200)}`,
        'cost(req) must return an integer from 0',
      )
    }
    if (client !== undefined && (typeof client !== 'string' || client === '')) {
      throw new BouncerError(
        'ERR_INVALID',
        `a client of ${inspect(client)} for ${method} ${path.slice(0, 200)}`,
        'client(req) must return a non-empty string, or undefined to count the address',
      )
    }
    return {
      client: client === undefined ? who.client : clientId(client, this.rules.ipv6Prefix),
      policy,
      cost: cost ?? policy.cost,
      route: `${method} ${path.length > 200 ? `${path.slice(0, 200)}…` : path}`,
      penalise: client !== undefined || !who.probablyProxy,
    }
  }

  /** What a shadow policy says; when it cannot be asked it has no say. */
  private tryShadow(check: Check): Answer<Trial | undefined> {
    const verdict = this.backend.store.check({ ...check, penalise: false })
    if (!(verdict instanceof Promise)) return { ...check, verdict }
    return verdict.then(
      verdict => ({ ...check, verdict }),
      () => undefined,
    )
  }

  private byList({ skip }: RequestToCheck, { address }: Identity, check: Check): Decision | undefined {
    const { allow, deny } = this.rules
    if (!skip && (allow.size + deny.size === 0 || address === undefined)) return undefined
    const at = this.backend.store.now()
    if (skip) return withoutStore(check, 'exempt', 'skip', at)
    if (allow.find(address as string, at)) return withoutStore(check, 'exempt', 'allowlist', at)
    if (deny.find(address as string, at)) return withoutStore(check, 'blocked', 'denylist', at)
    return undefined
  }

  /** No answer from the store: the policy's fail mode decides, and says so. */
  private degraded(check: Check, error: unknown): Decision {
    const unavailable = error instanceof BouncerError && error.code === 'ERR_UNAVAILABLE'
    if (!unavailable) this.options.logger.error(`the store failed: ${(error as Error).stack ?? error}`)
    const { failMode } = check.policy
    const at = this.backend.store.now()
    if (failMode === 'open') return withoutStore(check, 'degraded-allowed', 'store', at)
    const { local } = this.backend
    if (failMode === 'local' && local) {
      // Its headers tell of what it holds to: our share of each limit.
      const decided = fromVerdict({ ...check, policy: local.share(check.policy) }, local.check(check))
      return { ...decided, outcome: isAllowed(decided) ? 'degraded-allowed' : 'degraded-refused' }
    }
    return withoutStore(check, 'degraded-refused', 'store', at, 1000)
  }

  private done(decision: Decision, check: Check, started: number | undefined): Decision {
    this.recorder.record(decision, started === undefined ? undefined : (performance.now() - started) / 1000)
    if (!isAllowed(decision)) this.tell(decision, check)
    return decision
  }

  private tell({ outcome, block, violations, retryAfterMs }: Decision, { client, policy, route }: Check): void {
    if (outcome !== 'limited' || retryAfterMs === undefined) return
    this.reporter.violation(client, policy.id, route, violations ?? 0)
    if (block) this.reporter.tell({ type: 'blocked', client, block })
  }

  /** The first of each kind is told of, and stands in the frames. */
  private warnOfProxy({ client, proxy }: Identity): void {
    if (proxy === undefined || this.proxies[proxy] !== undefined) return
    this.proxies[proxy] = client
    const shared = `requests ${client === NO_ADDRESS ? 'without an address (a unix socket?)' : `from ${client}`}`
    this.options.logger.warn(
      proxy === 'silent'
        ? `${shared} come through a proxy that is trusted, but no address is where it is looked for (X-Forwarded-For, or clientIpHeader): all of its users share one limit. Have it write X-Forwarded-For, or name the header that it writes in clientIpHeader (CLIENT_IP_HEADER=x-real-ip)`
        : client === NO_ADDRESS
          ? `${shared} carry forwarding headers that are not trusted: all users share one limit, and are never blocked. Say how many proxies are in front: trustProxy: 1 (TRUST_PROXY=1)`
          : `${shared} carry forwarding headers that are not trusted. It is limited, but never blocked. If it is your load balancer, all of its users share one limit: name it in trustProxy (TRUST_PROXY=${client}). If not, somebody tries to be counted as others: deny it`,
    )
  }

  private tick(): void {
    const { store } = this.backend
    const { kind } = store
    const { state, latencyMs, forgotten } = store.health()
    const frame: StatsFrame = {
      v: 1,
      at: store.now(),
      instance: this.instance,
      version,
      epoch: this.rules.epoch,
      ...(!this.options.decides && { decides: false }),
      uptimeMs: Math.round(performance.now() - this.startedAt),
      ...this.recorder.frame(performance.now(), this.reporter.overflow),
      proxy: {
        requests: sumOf(this.totals().latency),
        ...this.proxies,
      },
      store: { kind, state, ...(latencyMs !== undefined && { latencyMs }) },
    }
    this.backend.publish(frame)
    this.frameListeners.tell(frame)
    if (forgotten) this.warnOfRoom()
  }

  private warnOfRoom(): void {
    if (this.warnedOfRoom) return
    this.warnedOfRoom = true
    this.options.logger.warn(
      `more than ${this.options.maxClients} clients are active: some are forgotten while they count, and limits do not hold for them. Raise maxClients (MAX_CLIENTS), or use Redis`,
    )
  }
}

const sumOf = (counts: readonly number[]) => counts.reduce((sum, count) => sum + count, 0)

/** On a list these leave nothing to decide: that may be meant, and is the last that one thinks of. */
const EVERYBODY: Readonly<Record<string, string>> = { '0.0.0.0/0': 'IPv4', '::/0': 'IPv6' }

function holdsEverybody(list: ListName, cidr: string): string {
  const kind = EVERYBODY[cidr]
  const whom =
    list === 'allow'
      ? `no ${kind} client is limited or blocked`
      : `every ${kind} client that the allowlist does not cover is refused`
  return `${cidr} is on the ${list}list: ${whom}. If that is not meant: bouncer ${list} rm ${cidr}`
}

/** A limiter, ready at once. Throws a BouncerError with a `code` and a `mend` for options that cannot work or are unsafe. */
export const createBouncer = (options: BouncerOptions = {}): Bouncer => new Bouncer(options)
