import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { extname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import express, { type RequestHandler, type Response, type Router } from 'express'
import helmet from 'helmet'
import { HttpError } from '../problem.ts'

/** Where the dashboard's build lies, from `src` and `dist` alike. */
export const PAGE_FOLDER = fileURLToPath(new URL('../../../dashboard/dist', import.meta.url))

/** What the build lays beside each file, best first. */
const COMPRESSED: Readonly<Record<string, string>> = { br: '.br', gzip: '.gz' }

/** In the built page this stands for a nonce of each answer. A page without it injects its styles unnamed. */
const NONCE = '__CSP_NONCE__'

/**
 * What browsers may do with any answer of the control plane: frame it nowhere, guess no types, tell nobody where they come
 * from. Its own page runs its own scripts, and nothing is loaded from elsewhere: it works without internet.
 */
function headers(...styles: string[]): RequestHandler {
  return helmet({
    contentSecurityPolicy: {
      useDefaults: false,
      directives: {
        defaultSrc: ["'self'"],
        scriptSrc: ["'self'"],
        styleSrc: ["'self'", ...styles],
        imgSrc: ["'self'", 'data:'],
        connectSrc: ["'self'"],
        objectSrc: ["'none'"],
        baseUri: ["'none'"],
        formAction: ["'self'"],
        frameAncestors: ["'none'"],
      },
    },
    frameguard: { action: 'deny' },
    // Whether there is TLS is known to the proxy in front that brings it.
    strictTransportSecurity: false,
  })
}

/** For everything that is no page: answers are data. */
export const safeHeaders: RequestHandler = headers()

/** The page's HTML as it was built; undefined: it was not. */
export function readPage(folder: string = PAGE_FOLDER): string | undefined {
  try {
    return readFileSync(join(folder, 'index.html'), 'utf8')
  } catch {
    return undefined
  }
}

/** The dashboard, for anyone who may call at all: it holds nothing that is secret. `/` leads to it. */
export function dashboard(folder: string = PAGE_FOLDER): Router {
  const router = express.Router({ caseSensitive: true })
  router.get('/', (_req, res) => res.redirect(302, '/dashboard'))
  router.get('/dashboard/index.html', (_req, res) => res.redirect(302, '/dashboard'))
  // Its files are named by their content: what was loaded once need never be asked for again.
  const files = express.static(folder, {
    index: false,
    redirect: false,
    setHeaders: (res, path) => {
      const asset = path.startsWith(join(folder, 'assets'))
      res.set('Cache-Control', asset ? 'public, max-age=31536000, immutable' : 'no-cache')
      const encoding = Object.keys(COMPRESSED).find(name => path.endsWith(COMPRESSED[name] as string))
      if (encoding === undefined) return
      res.set('Content-Encoding', encoding)
      res.type(extname(path.slice(0, path.lastIndexOf('.'))))
    },
  })
  for (const [encoding, suffix] of Object.entries(COMPRESSED)) {
    router.use('/dashboard/assets', (req, res, next) => {
      res.vary('Accept-Encoding')
      if (req.acceptsEncodings(encoding) === false) return next()
      const asked = req.url
      req.url = `/assets${req.path}${suffix}`
      files(req, res, error => {
        req.url = asked
        next(error)
      })
    })
  }
  router.use('/dashboard', files)
  router.get('/dashboard/assets/*path', (_req, _res, next) => next(new HttpError(404, 'There is no such file here')))
  // Every other path is a place within the page.
  // Nothing of it is captured: an escape that does not decode is for the page to tell of.
  router.get(/^\/dashboard(?:\/|$)/, (req, res, next) => {
    const html = readPage(folder)
    if (html === undefined) return sendNotBuilt(res)
    const nonce = randomBytes(16).toString('base64')
    const style = html.includes(NONCE) ? `'nonce-${nonce}'` : "'unsafe-inline'"
    headers(style)(req, res, error => {
      if (error) return next(error)
      res.set({ 'Content-Type': 'text/html; charset=utf-8', 'Cache-Control': 'no-cache' })
      res.end(html.replaceAll(NONCE, nonce))
    })
  })
  return router
}

function sendNotBuilt(res: Response): void {
  res.status(503).set({ 'Content-Type': 'text/plain; charset=utf-8', 'Cache-Control': 'no-store', 'Retry-After': '10' })
  res.end('The dashboard has not been built. In the folder of the server: npm run build -w packages/dashboard\n')
}
