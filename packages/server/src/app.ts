import type { IncomingMessage, RequestListener } from 'node:http'
import { type Bouncer, BouncerError, describeIssues, type Logger, strict } from '@api-bouncer/limiter'
import express, { type Request, type Response } from 'express'
import * as z from 'zod'
import { DemoUsers } from './demo-users.ts'
import { HttpError, jsonBody, problems, sendJson } from './problem.ts'

const BODY_LIMIT = 16 * 1024

const credentials = strict({
  username: z.string().min(1).max(64),
  password: z.string().min(1).max(256),
})

const registration = strict({
  username: z.string().regex(/^[a-z0-9][a-z0-9._-]{2,31}$/, '3 to 32 of a-z, 0-9, ".", "_", "-"'),
  password: z.string().min(8, 'at least 8 characters').max(256),
})

function parse<T extends z.ZodType>(schema: T, body: unknown): z.output<T> {
  const parsed = schema.safeParse(body)
  if (parsed.success) return parsed.data
  throw new HttpError(
    400,
    body === undefined ? 'Send a JSON object, Content-Type: application/json' : describeIssues(parsed.error),
  )
}

export interface DataPlaneOptions {
  readonly bouncer: Bouncer
  readonly logger: Logger
}

/** The data plane: the API that is being protected, with the limiter in front of everything but /health. */
export function createDataPlane({ bouncer, logger }: DataPlaneOptions): RequestListener {
  const api = createApi({ bouncer, logger })
  const limited = bouncer.wrap(api)
  return (req, res) => (isProbe(req) ? api(req, res) : limited(req, res))
}

/** Probes are never limited, and a degraded store is no reason to take this instance out. */
const isProbe = ({ method, url = '' }: IncomingMessage) =>
  (method === 'GET' || method === 'HEAD') && /^\/health\/?(\?|$)/i.test(url)

function createApi({ bouncer, logger }: DataPlaneOptions): express.Express {
  const app = express()
  app.disable('x-powered-by')
  app.disable('etag')

  app.get('/health', (_req, res) => {
    const { kind, state } = bouncer.health()
    sendJson(res, 200, { status: state, store: kind, uptime: Math.floor(process.uptime()) })
  })

  app.get('/stats', async (req, res) => {
    const { client } = bouncer.identify(req)
    const usage = await bouncer.usage(client).catch((error: unknown) => {
      // The data plane answers whatever the store does, and says nothing of what is behind it.
      if (error instanceof BouncerError && error.code === 'ERR_UNAVAILABLE') return undefined
      throw error
    })
    if (!usage)
      return sendJson(res, 200, { client, state: 'degraded', detail: 'The counters cannot be read just now.' })
    const { block, policies } = usage
    // A shadow policy is the operator's trial; it is nobody else's business.
    const own = policies.filter(({ mode }) => mode === 'enforce').map(({ mode: _, ...policy }) => policy)
    sendJson(res, 200, { client, block: block && { reason: block.reason, until: block.until }, policies: own })
  })

  app.all('/stats', only('GET, HEAD'))

  app
    .route('/api/data')
    .get((req, res) => {
      sendJson(res, 200, { data: ['alpha', 'beta', 'gamma'], client: req.bouncer?.client })
    })
    .all(only('GET, HEAD'))

  app.use('/auth', authRoutes())

  app.use((req, _res, next) => next(new HttpError(404, `There is no ${req.method} ${req.path.slice(0, 200)} here`)))
  app.use(problems(logger))
  return app
}

/** Answers every other method: what there is, or that there is not. */
const only =
  (methods: string) =>
  ({ method, baseUrl, path }: Request, res: Response): void => {
    res.set('Allow', `${methods}, OPTIONS`)
    if (method !== 'OPTIONS')
      throw new HttpError(405, `${method} does nothing at ${(baseUrl + path).slice(0, 200)}; ${methods} does`)
    res.status(204).end()
  }

/** Stand-ins for what people attack: they check and create for real, but in memory, and hand out no session. */
function authRoutes(): express.Router {
  const users = new DemoUsers()
  const router = express.Router()
  router.all(['/login', '/register', '/reset-password'], (req, res, next) =>
    req.method === 'POST' ? next() : only('POST')(req, res),
  )
  router.use(jsonBody(BODY_LIMIT))

  router.post('/login', async (req, res) => {
    const { username, password } = parse(credentials, req.body)
    // Which of the two was wrong would help only who is guessing.
    if (!(await users.verify(username, password))) throw new HttpError(401, 'Wrong username or password')
    sendJson(res, 200, { username })
  })

  router.post('/register', (req, res) => {
    const { username, password } = parse(registration, req.body)
    const result = users.add(username, password)
    if (result === 'taken') throw new HttpError(409, 'This username is taken')
    if (result === 'full') throw new HttpError(503, 'This demo has as many users as it keeps')
    sendJson(res, 201, { username })
  })

  // The same answer whoever is named: it tells nobody which accounts exist. There is no mail in the demo.
  router.post('/reset-password', (_req, res) => {
    sendJson(res, 202, { message: 'If there is such an account, it will be sent a link' })
  })
  return router
}
