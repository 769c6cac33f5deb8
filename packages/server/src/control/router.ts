import { type Bouncer, BouncerError, describeIssues, guess, type Logger } from '@api-bouncer/limiter'
import express, { type Express, type Request, type RequestHandler, type Router } from 'express'
import type { z } from 'zod'
import { createMetrics, type Measured } from '../metrics.ts'
import { HttpError, jsonBody, problems, sendJson } from '../problem.ts'
import { isHttps, MIN_TOKEN, namesOf, type Tokens } from './access.ts'
import { actorOf } from './actor.ts'
import { callerFor, refuseCrossSite, requireCaller, requireName, requireOperator } from './guards.ts'
import { dashboard, safeHeaders } from './page.ts'
import { type Metrics, Reply, type Route, routes } from './routes.ts'
import type { Sessions } from './session.ts'
import { signIn } from './sign-in.ts'
import { WrongTokens } from './wrong-tokens.ts'

const BODY_LIMIT = 1024 * 1024

export interface ControlRouterOptions extends Tokens {
  readonly bouncer: Bouncer
  /** What callers must send as `Authorization: Bearer`. There is no default. */
  readonly token: string
  /** The same for who may look and change nothing. */
  readonly viewerToken?: string | undefined
  readonly logger: Logger
  /** Set where only this machine should call: requests that name another host are refused (DNS rebinding). */
  readonly localHost?: string | undefined
  /** More names that it answers to; with these it answers to no other. */
  readonly allowedHosts?: readonly string[] | undefined
  /** Who is signed in with a browser; absent: nobody can be. */
  readonly sessions?: Sessions | undefined
  /** Where the data plane can be called, for GET /admin/status. */
  readonly dataPlane?: string | undefined
  /** Whose counts are shown. Default: the bouncer's own. */
  readonly measured?: Measured | undefined
  /** Where wrong tokens are counted. Default: here, told to the logger. */
  readonly wrong?: WrongTokens | undefined
  /** Default: the limiter's metrics and those of Node. */
  readonly metrics?: Metrics
}

/** The control plane as a router, to mount into an Express app of one's own: `app.use('/bouncer', controlRouter({ … }))`. */
export function controlRouter(options: ControlRouterOptions): Router {
  const { bouncer, logger, localHost, allowedHosts, dataPlane, measured, metrics, sessions } = options
  const { wrong = new WrongTokens(logger) } = options
  refuseShort(options)
  const router = express.Router({ caseSensitive: true })
  const names = namesOf(localHost, allowedHosts)
  if (names) router.use(requireName(names))
  router.use(refuseCrossSite, requireCaller(options, sessions, wrong), jsonBody(BODY_LIMIT))

  const shared = {
    sessions,
    control: bouncer.control,
    dataPlane,
    measured: measured ?? bouncer,
    metrics: metrics ?? createMetrics(bouncer, { measured, wrong }),
  }
  for (const row of routes) {
    router[row.method](row.path, ...(row.method === 'get' || row.reads ? [] : [requireOperator]), serve(row, shared))
  }
  for (const path of new Set(routes.map(row => row.path))) router.all(path, refuseMethod(path))
  router.use(notFound)
  router.use(problems(logger))
  return router
}

export interface ControlPlaneOptions extends ControlRouterOptions {
  readonly sessions: Sessions
  /** Limits the guesses at the sign-in: `createGuesses()`. */
  readonly guesses: Bouncer
  /** Where the dashboard's build lies. */
  readonly page?: string
}

/** The control plane as an app with a listener of its own, and the dashboard. */
export function createControlPlane(options: ControlPlaneOptions): Express {
  const { localHost, allowedHosts, sessions, dataPlane, guesses, page, logger } = options
  const { wrong = new WrongTokens(logger) } = options
  const app = express()
  app.disable('x-powered-by')
  app.disable('etag')
  // ?limit[]=1 is no filter but a mistake.
  app.set('query parser', 'simple')
  app.use(safeHeaders)
  const names = namesOf(localHost, allowedHosts)
  if (names) app.use(requireName(names))
  app.use(refuseCrossSite, signIn({ tokens: options, sessions, dataPlane, wrong }, guesses))
  app.use(dashboard(page))
  app.use(controlRouter({ ...options, wrong }))
  app.use(problems(logger))
  return app
}

function refuseShort({ token, viewerToken }: Tokens): void {
  for (const [name, given] of Object.entries({ token, viewerToken })) {
    if (given === undefined || given.length >= MIN_TOKEN) continue
    const mend = 'Make one with: openssl rand -hex 32'
    throw new BouncerError('ERR_INVALID', `${name}: must have at least ${MIN_TOKEN} characters`, mend)
  }
}

type Shared = Omit<Parameters<Route['handler']>[0], 'params' | 'body' | 'query' | 'actor' | 'origin'>

const serve =
  ({ handler, body, query }: Route, shared: Shared): RequestHandler =>
  async (req, res) => {
    const call = {
      ...shared,
      actor: actorOf(req, callerFor(req).by),
      origin: `${isHttps(req) ? 'https' : 'http'}://${req.headers.host ?? ''}`,
      params: req.params as Record<string, string>,
      body: body && parse(body, req.body, 'body'),
      query: query && parse(query, { ...req.query }, 'query'),
    }
    const answer = await handler(call)
    if (answer === undefined) return void res.status(204).end()
    if (!(answer instanceof Reply)) return sendJson(res, 200, answer)
    if (answer.type === undefined) return sendJson(res, answer.status, answer.value)
    // Express would add a second charset.
    res.status(answer.status).setHeader('Content-Type', answer.type)
    res.end(answer.value)
  }

function parse(schema: z.ZodType, value: unknown, what: string): unknown {
  const parsed = schema.safeParse(value)
  if (parsed.success) return parsed.data
  const detail = value === undefined ? `this needs a JSON ${what}` : `${what}: ${describeIssues(parsed.error)}`
  throw new HttpError(400, detail, { code: 'ERR_INVALID' })
}

function refuseMethod(path: string): RequestHandler {
  const methods = routes.filter(row => row.path === path).map(({ method }) => method.toUpperCase())
  const allowed = methods.includes('GET') ? ['HEAD', ...methods] : methods
  return (req, res, next) => {
    res.set('Allow', allowed.join(', '))
    next(new HttpError(405, `${req.method} is not for ${path}; ${allowed.join(', ')} would be`))
  }
}

const notFound = (req: Request, _res: unknown, next: (error: unknown) => void): void => {
  const path = req.path.slice(0, 200)
  let known = [...new Set(routes.map(row => row.path))]
  const near: string[] = []
  for (let found = guess(path, known); found !== undefined && near.length < 3; found = guess(path, known)) {
    near.push(found)
    known = known.filter(other => other !== found)
  }
  const hint = near.length > 0 ? `did you mean ${near.join(' or ')}?` : 'GET /admin lists what there is'
  next(new HttpError(404, `There is no ${req.method} ${path} here; ${hint}`, { code: 'ERR_NOT_FOUND', near }))
}
