import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { connect } from 'node:net'
import express, { type Router } from 'express'
import parseUrl from 'parseurl'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type PolicyInput, policySchema } from '../contracts/index.ts'
import { compilePenalty, describeLimit, PolicyTable } from './table.ts'

const DEFAULTS = { algorithm: 'sliding_window', failMode: 'open' } as const
const LIMITS = [{ limit: 5, window: '1m' }]

const tableOf = (...policies: (Partial<PolicyInput> & { id: string })[]) =>
  new PolicyTable(
    policies.map(policy => policySchema.parse({ limits: LIMITS, ...policy })),
    undefined,
    DEFAULTS,
  )

/** Policies named by the one pattern they match. */
const tableOfPatterns = (...patterns: string[]) => {
  const table = tableOf(...patterns.map((match, i) => ({ id: `p${i}`, match })))
  return (method: string, path: string) => table.match(method, path)?.source.match[0]
}

describe('a path matches as Express 5 routes it', () => {
  // A policy's pattern, and the route that means the same.
  const ROUTES: [string, string][] = [
    ['/', '/'],
    ['/auth', '/auth'],
    ['/auth/', '/auth/'],
    ['/Auth/Login', '/Auth/Login'],
    ['/auth/*', '/auth{/*any}'],
    ['/auth/*rest', '/auth{/*rest}'],
    ['/*', '{/*any}'],
    ['/*/edit', '/*any/edit'],
    ['/users/:id', '/users/:id'],
    ['/users/:id/*', '/users/:id{/*any}'],
    ['/users/:id/posts/:post', '/users/:id/posts/:post'],
    ['/files/:name.:ext', '/files/:name.:ext'],
    ['/v:major/items', '/v:major/items'],
    ['/a{/:b}/c', '/a{/:b}/c'],
    ['/img{-:size}.png', '/img{-:size}.png'],
    ['/:lang{/docs{/:page}}', '/:lang{/docs{/:page}}'],
    ['/a\\:b', '/a\\:b'],
    ['/a%20b', '/a%20b'],
    ['/über', '/über'],
  ]
  const TARGETS = [
    ...['/', '//', '/auth', '/auth/', '/auth//', '//auth', '/AUTH', '/aUtH/LOGIN', '/auth/login', '/auth/login/'],
    ...['/auth/a/b/c', '/auth/?x=1', '/auth?x=/y', '/auth#frag', '/auth/#frag', '/author', '/auth%2Flogin', '/%61uth'],
    ...[
      '/auth/../users/1',
      '/x/../auth',
      '/./auth',
      '/auth/.',
      '/auth;v=1',
      '/auth%20',
      '/auth\\login',
      '/auth//login',
    ],
    ...['/users', '/users/', '/users/1', '/users/1/', '/users/1/2', '/users//1', '/users/%2e%2e', '/users/a%2Fb'],
    ...[
      '/users/1/posts/2',
      '/users/1/posts',
      '/users/1//posts/2',
      '/files/a.txt',
      '/files/a.b.c',
      '/files/a',
      '/files/.x',
    ],
    ...[
      '/v1/items',
      '/v/items',
      '/V12/ITEMS/',
      '/a/c',
      '/a/b/c',
      '/a//c',
      '/a/b/b/c',
      '/img.png',
      '/img-2.png',
      '/img-.png',
    ],
    ...[
      '/en',
      '/en/docs',
      '/en/docs/x',
      '/en/x',
      '/edit',
      '/x/edit',
      '/x/y/edit',
      '/a:b',
      '/a%20b',
      '/a%3Ab',
      '/%C3%BCber',
    ],
    ...['http://other.example/auth/login', 'http://other.example/AUTH', 'http://other.example', 'HTTP://x/users/1?y#z'],
    ...[
      'http://other.example//auth',
      'http://user:pass@other.example/auth',
      '/http://x/auth',
      '/@auth',
      '/auth@x',
      '/a"b',
    ],
  ]

  const app = express()
  let server: ReturnType<typeof app.listen>

  beforeAll(async () => {
    const routers: Router[] = ROUTES.map(([, route]) =>
      express.Router().all(route, (_req, res) => {
        res.status(200).end()
      }),
    )
    app.use((req, res, next) => {
      res.setHeader('x-path', encodeURIComponent(parseUrl.original(req)?.pathname ?? ''))
      routers[Number(req.headers['x-route'])]?.(req, res, next)
    })
    server = app.listen(0, '127.0.0.1')
    await once(server, 'listening')
  })
  afterAll(() => server.close())

  /** Over a bare socket: every client library would tidy the target first. */
  async function ask(target: string, route: number): Promise<{ status: number; path: string }> {
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
    socket.end(`GET ${target} HTTP/1.1\r\nHost: api.example\r\nX-Route: ${route}\r\nConnection: close\r\n\r\n`)
    let answer = ''
    for await (const chunk of socket.setEncoding('latin1')) answer += chunk
    const [, status] = /^HTTP\/1\.1 (\d+)/.exec(answer) ?? []
    return { status: Number(status), path: decodeURIComponent(/x-path: (.*)\r/i.exec(answer)?.[1] ?? '') }
  }

  it.each(ROUTES.map(([pattern, route], i) => ({ pattern, route, i })))(
    '$pattern, as $route',
    async ({ pattern, i }) => {
      const table = tableOf({ id: 'p', match: pattern })
      const found = await Promise.all(
        TARGETS.map(async target => {
          const { status, path } = await ask(target, i)
          return { target, path, routed: status === 200, matched: table.match('GET', path) !== undefined, status }
        }),
      )
      expect(found.every(({ status }) => status === 200 || status === 404)).toBe(true)
      // Paths that can be read in several ways may match more than this route: by one or the other something else is reached.
      const wrong = found.filter(
        ({ routed, matched, path }) => routed !== matched && (routed || !/\/\/|%|\/\.|\\|;/.test(path)),
      )
      expect(wrong).toEqual([])
      expect(found.some(({ routed }) => routed)).toBe(pattern !== '/über')
    },
  )

  it.each([
    ['/login//', '/login'],
    ['/login///////', '/login'],
    ['/account//reset', '/account/reset'],
    ['//account/////reset//', '/account/reset'],
    ['///edit', '/*/edit'],
  ])('%s falls under %s, whose mounted router it reaches', (path, pattern) => {
    const table = tableOf({ id: 'default', match: '*' }, { id: 'p', match: pattern })
    expect(table.match('POST', path)?.id).toBe('p')
    expect(table.matches('POST', path).map(({ policy }) => policy.id)).toEqual(['p', 'default'])
  })

  it.each([
    ['/users/%61dmin', 'strict'],
    ['/USERS/%41dmin/', 'strict'],
    ['/x/../big/file.txt', 'big'],
    ['/./big/file.txt', 'big'],
    ['/%62ig/file.txt', 'big'],
    ['/big%2Ffile.txt', 'big'],
    ['/x/%2e%2e/big/file.txt', 'big'],
    // Not the more specific, if that is looser: the route for /big/* could be asked by this.
    ['/big/..%2fhealth', 'big'],
    ['/big/../health', 'big'],
    ['/health', 'health'],
    ['/%68ealth', 'default'],
    // As `new URL` reads them, and Hono with it.
    ['//x/big/file.txt', 'big'],
    ['///x/big/file.txt', 'big'],
    ['/\\x/big/file.txt', 'big'],
    ['/x\\..\\big/file.txt', 'big'],
    ['/%/../big/file.txt', 'big'],
    ['/%zz/%2e%2e/%62ig/file.txt', 'big'],
    ['//[/health', 'default'],
    // As Fastify may read it.
    ['/users/admin;x', 'strict'],
    ['/users/%61dmin;/../..', 'strict'],
    // Decoded once, as Express does.
    ['/users/%2561dmin', 'default'],
    ['/users/%ZZ', 'default'],
  ])('%s falls under %s, whatever of it is decoded or resolved', (path, id) => {
    const every = (limit: number) => [{ limit, window: '1m' }]
    const table = tableOf(
      { id: 'default', match: '*', limits: every(1000) },
      { id: 'strict', match: '/users/admin', limits: every(2) },
      { id: 'big', match: '/big/*', limits: every(2) },
      { id: 'health', match: '/health', limits: every(10_000) },
    )
    expect(table.match('GET', path)?.id).toBe(id)
    expect(table.matches('GET', path).map(({ policy }) => policy.id)).toContain(id)
  })

  it('counts a path whose escapes Express cannot decode, though it answers 400', async () => {
    const { status, path } = await ask(
      '/users/%ZZ',
      ROUTES.findIndex(([pattern]) => pattern === '/users/:id'),
    )
    expect(status).toBe(400)
    expect(tableOf({ id: 'p', match: '/users/:id' }).match('GET', path)?.id).toBe('p')
  })
})

describe('the most specific policy wins', () => {
  it.each([
    ['a literal before a parameter', ['/users/:id', '/users/me'], 'GET', '/users/me', '/users/me'],
    ['a parameter before a wildcard', ['/users/*', '/users/:id'], 'GET', '/users/7', '/users/:id'],
    ['a parameter before everything', ['*', '/users/:id'], 'GET', '/users/7', '/users/:id'],
    [
      'text with a parameter before a bare one',
      ['/files/:name', '/files/:name.png'],
      'GET',
      '/files/a.png',
      '/files/:name.png',
    ],
    ['a wildcard before everything', ['*', '/auth/*'], 'GET', '/auth/login', '/auth/*'],
    ['any path before everything', ['*', '/*'], 'GET', '/x', '/*'],
    ['a longer wildcard before a shorter', ['/a/*', '/a/b/*'], 'GET', '/a/b/c', '/a/b/*'],
    ['a wildcard that ends before one that does not', ['/a/*', '/a/*/edit'], 'GET', '/a/b/c/edit', '/a/*/edit'],
    ['the earlier literal decides', ['/:a/b', '/a/:b'], 'GET', '/a/b', '/a/:b'],
    ['a path before the same with a wildcard to come', ['/auth/*', '/auth'], 'GET', '/auth', '/auth'],
    ['a wildcard for what lies below', ['/auth/*', '/auth'], 'GET', '/auth/login', '/auth/*'],
    ['a wildcard matches its own root', ['*', '/auth/*'], 'GET', '/auth', '/auth/*'],
    ['its own root, before a parameter', ['/:page', '/auth/*'], 'GET', '/auth', '/auth/*'],
    ['a method before any', ['/auth', 'POST /auth'], 'POST', '/auth', 'POST /auth'],
    ['any where the method is another', ['/auth', 'POST /auth'], 'GET', '/auth', '/auth'],
    ['a path before a method', ['POST /auth/*', '/auth/login'], 'POST', '/auth/login', '/auth/login'],
    ['a method on everything', ['*', 'POST *'], 'POST', '/x', 'POST *'],
    ['GET for HEAD', ['*', 'GET /a'], 'HEAD', '/a', 'GET /a'],
    ['HEAD before GET for HEAD', ['GET /a', 'HEAD /a', '/a'], 'HEAD', '/a', 'HEAD /a'],
    ['HEAD not for GET', ['HEAD /a', '*'], 'GET', '/a', '*'],
    ['everything for a target that is no path', ['*', '/*'], 'OPTIONS', '*', '*'],
    ['nothing where nothing matches', ['/a', 'POST /b'], 'GET', '/b', undefined],
  ] as const)('%s', (_rule, patterns, method, path, winner) => {
    expect(tableOfPatterns(...patterns)(method, path)).toBe(winner)
    expect(tableOfPatterns(...[...patterns].reverse())(method, path)).toBe(winner)
  })

  it('takes each way through optional parts as specific as what it matches', () => {
    const match = tableOfPatterns('/docs{/:page}', '/:any', '/docs/*')
    expect(match('GET', '/docs')).toBe('/docs{/:page}')
    expect(match('GET', '/docs/a')).toBe('/docs{/:page}')
    expect(match('GET', '/docs/a/b')).toBe('/docs/*')
    expect(match('GET', '/other')).toBe('/:any')
  })

  it('tells every policy that matches, in order, shadows after those enforced', () => {
    const table = tableOf(
      { id: 'all' },
      { id: 'auth', match: ['/auth/*', '/login'] },
      { id: 'trial', match: '/auth/:x', mode: 'shadow' },
    )
    const found = table.matches('GET', '/auth/x').map(({ policy, source }) => [policy.id, source])
    expect(found).toEqual([
      ['auth', '/auth/*'],
      ['all', '*'],
      ['trial', '/auth/:x'],
    ])
  })
})

describe('a tie', () => {
  it.each([
    ['*', '*'],
    ['/auth', '/AUTH/'],
    ['/auth/*', '/auth/*rest'],
    ['/users/:id', '/users/:name'],
    ['/files/:a.png', '/files/x:b'],
    ['/a{/:b}', '/a'],
    ['POST /a', 'POST /a'],
    ['/*/a/*', '/*/b/*'],
  ])('of %s and %s is an error that names both', (left, right) => {
    const mode = { mode: 'shadow' } as const
    for (const both of [{}, mode]) {
      const build = () => tableOf({ id: 'first', match: left, ...both }, { id: 'second', match: right, ...both })
      expect(build).toThrow(expect.objectContaining({ code: 'ERR_CONTRADICTION' }))
      expect(build).toThrow(`"first" (${left}) and "second" (${right})`)
    }
  })

  it.each([
    ['GET /a', 'POST /a'],
    ['GET /a', 'HEAD /a'],
    ['/a', 'GET /a'],
    ['/:x.png', '/:x.jpg'],
    ['/a/:x', '/b/:x'],
    ['/*/a', '/*/b'],
    ['/auth', '/auth/*'],
  ])('is not made by %s and %s', (left, right) => {
    expect(() => tableOf({ id: 'first', match: left }, { id: 'second', match: right })).not.toThrow()
  })

  it('is not made by patterns of one policy, nor between modes', () => {
    expect(() => tableOf({ id: 'a', match: ['/a', '/a/'] })).not.toThrow()
    expect(() => tableOf({ id: 'a' }, { id: 'b', mode: 'shadow' }, { id: 'c', mode: 'off' })).not.toThrow()
  })
})

describe('modes', () => {
  const table = tableOf(
    { id: 'all' },
    { id: 'trial', match: '/auth/*', mode: 'shadow' },
    { id: 'resting', match: '/auth/login', mode: 'off' },
  )

  it('keeps shadow policies apart from those enforced', () => {
    expect(table.match('GET', '/auth/login')?.id).toBe('all')
    expect(table.matchShadow('GET', '/auth/login')?.id).toBe('trial')
    expect(table.matchShadow('GET', '/other')).toBeUndefined()
    expect(table.get('trial')?.shadow).toBe(true)
  })

  it('ignores what is off', () => {
    expect(table.get('resting')).toBeUndefined()
    expect(table.matches('GET', '/auth/login').map(({ policy }) => policy.id)).toEqual(['all', 'trial'])
  })
})

describe('compiling a policy', () => {
  it('names its counters by algorithm, policy and window, so that their order does not matter', () => {
    const limits = [
      { limit: 10, window: '1s' },
      { limit: 1000, window: '60m' },
      { limit: 3, window: '250ms' },
    ]
    const counters = tableOf({ id: 'p', limits })
      .get('p')
      ?.limits.map(({ counter }) => counter)
    expect(counters).toEqual(['sliding_window:p:1s', 'sliding_window:p:3600s', 'sliding_window:p:250ms'])
  })

  it.each([
    ['sliding_window', 100, 100],
    ['sliding_window_counter', 100, 100],
    ['fixed_window', 100, 100],
    ['token_bucket', 120, 100],
    ['gcra', 120, 100],
  ] as const)(
    '%s of 100 with a burst of 120 holds %i at once, and a request may cost %i',
    (algorithm, capacity, cost) => {
      const policy = tableOf({ id: 'p', algorithm, limits: [{ limit: 100, window: '1m', burst: 120 }] }).get('p')
      expect(policy?.limits[0]?.capacity).toBe(capacity)
      expect(policy?.maxCost).toBe(cost)
      expect(describeLimit(policy!.limits[0]!)).toBe(capacity === 100 ? '100 per 1m' : '100 per 1m (burst 120)')
    },
  )

  it('refuses a sliding window whose log would be huge, and says what to use instead', () => {
    const huge = (algorithm: PolicyInput['algorithm'], limit: number) => () =>
      tableOf({ id: 'p', algorithm, limits: [{ limit, window: '1h' }] })
    expect(huge('sliding_window', 100_001)).toThrow(expect.objectContaining({ code: 'ERR_INVALID' }))
    expect(huge(undefined, 100_001)).toThrow('sliding_window_counter or gcra')
    expect(huge('sliding_window', 100_000)).not.toThrow()
    expect(huge('gcra', 1_000_000)).not.toThrow()
  })

  it.each(['/a/:', '/a/(b)', '/a{/b', '/a/:b:c', '/a?', '/a+', '/[a]', '{/a}'.repeat(6), `/${'{a}'.repeat(150)}`])(
    'refuses the pattern %s, naming policy and pattern',
    pattern => {
      const build = () => tableOf({ id: 'p', match: pattern.startsWith('/') ? pattern : `/x${pattern}` })
      expect(build).toThrow(expect.objectContaining({ code: 'ERR_INVALID' }))
      expect(build).toThrow('policy "p"')
    },
  )

  it("counts violations of a policy with a penalty of its own apart from the fleet's", () => {
    const fleet = compilePenalty({ threshold: 5, window: '5m', block: ['15m'], memory: '1d' })
    const own = { threshold: 2, window: '1m', block: ['1m', '1h'] }
    const policies = [
      { id: 'plain', limits: LIMITS },
      { id: 'own', match: '/own', limits: LIMITS, penalty: own },
      { id: 'never', match: '/never', limits: LIMITS, penalty: false as const },
    ].map(policy => policySchema.parse(policy))
    const table = new PolicyTable(policies, fleet, DEFAULTS)
    expect(table.get('plain')?.penalty).toEqual({
      threshold: 5,
      windowMs: 300_000,
      blockMs: [900_000],
      memoryMs: 86_400_000,
      scope: '',
    })
    expect(table.get('own')?.penalty).toMatchObject({
      threshold: 2,
      windowMs: 60_000,
      blockMs: [60_000, 3_600_000],
      scope: 'own',
    })
    expect(table.get('never')?.penalty).toBeUndefined()
  })
})
