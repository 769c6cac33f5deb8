import { type Actor, type Bouncer, describeIssues, guess, type Logger } from '@api-bouncer/limiter'
import express, { type Express, type Request, type RequestHandler, type Router } from 'express'
import type { z } from 'zod'
import { createMetrics, type Measured } from '../metrics.ts'
import { HttpError, jsonBody, problems, sendJson } from '../problem.ts'
import { refuseCrossSite, requireLocalHost, requireToken } from './guards.ts'
import { type Metrics, Reply, type Route, routes } from './routes.ts'

const BODY_LIMIT = 1024 * 1024

export interface ControlRouterOptions {
  readonly bouncer: Bouncer
  /** What callers must send as `Authorization: Bearer`. There is no default. */
  readonly token: string
  readonly logger: Logger
  /** Set where only this machine should call: requests that name another host are refused (DNS rebinding). */
  readonly localHost?: string | undefined
  /** Where the data plane can be called, for GET /admin/status. */
  readonly dataPlane?: string | undefined
  /** Whose counts are shown. Default: the bouncer's own. */
  readonly measured?: Measured | undefined
  /** Default: the limiter's metrics and those of Node. */
  readonly metrics?: Metrics
}

/** The control plane as a router, to mount into an Express app of one's own: `app.use('/bouncer', controlRouter({ … }))`. */
export function controlRouter(options: ControlRouterOptions): Router {
  const { bouncer, token, logger, localHost, dataPlane, measured, metrics } = options
  const router = express.Router({ caseSensitive: true })
  if (localHost !== undefined) router.use(requireLocalHost(localHost))
  router.use(refuseCrossSite, requireToken(token), jsonBody(BODY_LIMIT))

  const shared = {
    bouncer,
    control: bouncer.control,
    dataPlane,
    measured: measured ?? bouncer,
    metrics: metrics ?? createMetrics(bouncer, { measured }),
  }
  for (const row of routes) router[row.method](row.path, serve(row, shared))
  for (const path of new Set(routes.map(row => row.path))) router.all(path, refuseMethod(path))
  router.use(notFound)
  router.use(problems(logger))
  return router
}

/** The control plane as an app with a listener of its own. */
export function createControlPlane(options: ControlRouterOptions): Express {
  const app = express()
  app.disable('x-powered-by')
  app.disable('etag')
  // ?limit[]=1 is no filter but a mistake.
  app.set('query parser', 'simple')
  app.use(controlRouter(options))
  return app
}

type Shared = Omit<Parameters<Route['handler']>[0], 'params' | 'body' | 'query' | 'actor'>

/** Who holds the token may say who they are, for the audit; it gives no rights. */
function actorOf(req: Request): Actor {
  const source = req.socket.remoteAddress ?? 'unknown'
  try {
    const said = decodeURIComponent(req.get('x-bouncer-actor') ?? '')
      .replace(/[^\p{L}\p{N} .@_:+-]/gu, '')
      .slice(0, 64)
    return { by: said.trim() || 'admin', source }
  } catch {
    return { by: 'admin', source }
  }
}

const serve =
  ({ handler, body, query }: Route, shared: Shared): RequestHandler =>
  async (req, res) => {
    const call = {
      ...shared,
      actor: actorOf(req),
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
