import { mkdirSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import { brotliCompressSync, brotliDecompressSync, gunzipSync, gzipSync } from 'node:zlib'
import express from 'express'
import { pino } from 'pino'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { problems } from '../problem.ts'
import { temporaryFolder, testServer } from '../testing.fixture.ts'
import { dashboard, readPage, safeHeaders } from './page.ts'

const html = (nonce: string) =>
  `<!doctype html><meta property="csp-nonce" nonce="${nonce}"><script type="module" src="/dashboard/assets/a-1.js"></script>`
const SCRIPT = 'console.log("a script")\n'.repeat(200)

const closing: (() => unknown)[] = []
afterAll(async () => {
  for (const close of closing) await close()
})

type Ask = (path: string, encoding?: string) => Promise<Got>

async function serve(folder: string): Promise<Ask> {
  const app = express()
    .use(safeHeaders, dashboard(folder))
    .use(problems(pino({ level: 'silent' })))
  const http = app.listen(0, '127.0.0.1')
  closing.push(() => new Promise(resolve => http.close(resolve)))
  await new Promise(resolve => http.once('listening', resolve))
  const { port } = http.address() as { port: number }
  return (path, encoding) => get(`http://127.0.0.1:${port}`, path, encoding)
}

interface Got {
  readonly status: number
  readonly headers: Readonly<Record<string, string | undefined>>
  readonly body: Buffer
  readonly text: string
}

/** As a browser asks: it takes compressed answers, and the path goes out as it is written. */
const get = (origin: string, path: string, encoding = 'gzip, deflate, br') =>
  new Promise<Got>((resolve, reject) => {
    request(origin, { path, headers: { 'accept-encoding': encoding } }, res => {
      const chunks: Buffer[] = []
      res.on('data', chunk => chunks.push(chunk))
      res.on('end', () => {
        const body = Buffer.concat(chunks)
        const headers = res.headers as Got['headers']
        resolve({ status: res.statusCode ?? 0, headers, body, text: body.toString() })
      })
    })
      .on('error', reject)
      .end()
  })

function built(nonce: string): string {
  const folder = temporaryFolder()
  mkdirSync(join(folder, 'assets'))
  writeFileSync(join(folder, 'index.html'), html(nonce))
  writeFileSync(join(folder, 'assets', 'a-1.js'), SCRIPT)
  writeFileSync(join(folder, 'assets', 'a-1.js.br'), brotliCompressSync(SCRIPT))
  writeFileSync(join(folder, 'assets', 'a-1.js.gz'), gzipSync(SCRIPT))
  writeFileSync(join(folder, '..', 'secret.txt'), 'not to be seen')
  return folder
}

describe('the page', () => {
  let ask: Ask
  beforeAll(async () => {
    ask = await serve(built('__CSP_NONCE__'))
  })

  it.each([
    '/dashboard',
    '/dashboard/',
    '/dashboard/clients/1.2.3.4',
    '/dashboard/clients/%E0%A4%A',
    '/dashboard/clients/2001:db8::%2F64',
    '/dashboard/policies/a.b.js',
    '/dashboard/sign-in',
  ])('is at %s', async path => {
    const { status, headers, text } = await ask(path)
    expect([status, headers['content-type'], headers['cache-control']]).toEqual([
      200,
      'text/html; charset=utf-8',
      'no-cache',
    ])
    expect(text).toContain('<!doctype html>')
  })

  it('runs its own scripts and loads nothing from elsewhere, is in no frame, and tells nobody where it leads', async () => {
    const { headers, text } = await ask('/dashboard')
    const nonce = /nonce="([^"]+)"/.exec(text)?.[1]
    expect(nonce).toMatch(/^[\w+/]{22}==$/)
    const policy = headers['content-security-policy']
    expect(policy?.split(';')).toEqual([
      "default-src 'self'",
      "script-src 'self'",
      `style-src 'self' 'nonce-${nonce}'`,
      "img-src 'self' data:",
      "connect-src 'self'",
      "object-src 'none'",
      "base-uri 'none'",
      "form-action 'self'",
      "frame-ancestors 'none'",
    ])
    expect(headers).toMatchObject({
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY',
      'referrer-policy': 'no-referrer',
      'cross-origin-opener-policy': 'same-origin',
      'cross-origin-resource-policy': 'same-origin',
    })
    expect(headers['strict-transport-security']).toBeUndefined()
    const again = await ask('/dashboard')
    expect(again.headers['content-security-policy']).not.toBe(policy)
  })

  it('lets a page that names no nonce inject its styles', async () => {
    const other = await serve(built('none'))
    const { headers } = await other('/dashboard')
    expect(headers['content-security-policy']).toContain("style-src 'self' 'unsafe-inline'")
  })

  it.each([
    ['gzip, deflate, br', 'br', brotliDecompressSync],
    // Browsers take Brotli only over TLS, and from this machine.
    ['gzip, deflate', 'gzip', gunzipSync],
    ['br;q=0, gzip', 'gzip', gunzipSync],
    ['identity', undefined, (bytes: Buffer) => bytes],
  ])('has files that need not be asked for again; to %s they go as %s', async (accepted, sent, unpack) => {
    const { status, headers, body } = await ask('/dashboard/assets/a-1.js', accepted)
    expect([status, headers['cache-control']]).toEqual([200, 'public, max-age=31536000, immutable'])
    expect(headers['content-encoding']).toBe(sent)
    expect(headers['content-type']).toBe('text/javascript; charset=utf-8')
    expect(headers.vary).toBe('Accept-Encoding')
    expect(headers['content-security-policy']).toContain("style-src 'self';")
    expect(unpack(body).toString()).toBe(SCRIPT)
    if (sent) expect(body.length).toBeLessThan(SCRIPT.length / 5)
  })

  it.each([
    '/dashboard/assets/none.js',
    '/dashboard/assets/..%2f..%2fsecret.txt',
    '/dashboard/%2e%2e/%2e%2e/secret.txt',
    '/dashboard/..%2fsecret.txt',
  ])('gives away no other file: %s', async path => {
    expect((await ask(path)).text).not.toContain('not to be seen')
  })

  it('says of a missing file that there is none, rather than show a page for a script', async () => {
    expect((await ask('/dashboard/assets/none.js')).status).toBe(404)
  })

  it('is where / leads', async () => {
    const { status, headers } = await ask('/')
    expect([status, headers.location]).toEqual([302, '/dashboard'])
  })

  it('says how to build it when it is not built', async () => {
    const other = await serve(temporaryFolder())
    const { status, text } = await other('/dashboard/clients')
    expect(status).toBe(503)
    expect(text).toContain('npm run build -w packages/dashboard')
    expect(readPage(temporaryFolder())).toBeUndefined()
  })
})

describe('the control plane', () => {
  it('serves the page to whoever may call, and everything else with the same care', async () => {
    const server = await testServer()
    closing.push(() => server.close())
    const page = await get(server.controlPlane, '/dashboard')
    expect([200, 503]).toContain(page.status)
    for (const path of ['/', '/dashboard', '/admin/status', '/dashboard/session', '/nothing']) {
      const { headers } = await get(server.controlPlane, path)
      expect(headers['x-content-type-options'], path).toBe('nosniff')
      expect(headers['content-security-policy'], path).toContain("default-src 'self'")
    }
  })
})
