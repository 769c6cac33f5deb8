import { request } from 'node:http'
import { describeIssues } from '@api-bouncer/limiter'
import { RedisServer, until } from '@api-bouncer/limiter/testing/redis-server'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Json, type TestServer, TOKEN, testServer, VIEWER_TOKEN } from '../testing.fixture.ts'
import { cookieName } from './access.ts'
import { BODIES, Chance, everybodys, legal, NASTY, PLACES, spoilt, value, word } from './fuzz.fixture.ts'
import { routes as table } from './routes.ts'
import { Sessions } from './session.ts'

/** Again with what a failing run has printed: FUZZ_SEED=… npx vitest run packages/server/src/control/fuzz.test.ts */
const CASES = Number(process.env.FUZZ_CASES ?? 10_000)
const SEED = Number(process.env.FUZZ_SEED ?? Date.now() % 2 ** 31)
const AT_ONCE = 16
/** What a client of the data plane sends now and then, so that there are counters, violations, keys and statistics. */
const TRAFFIC_EVERY = 25

interface Route {
  readonly method: string
  readonly path: string
  readonly query: readonly { readonly name: string; readonly schema: Json }[]
  readonly body: Json | undefined
}

const credentials = {
  anyOf: [{ const: { token: TOKEN } }, { const: { token: TOKEN } }, { const: { token: VIEWER_TOKEN } }],
}
const SESSION = '/dashboard/session'

/** Every route of the OpenAPI document, and the session's. */
function routesOf({ paths }: Json): Route[] {
  const documented = Object.entries<Json>(paths).flatMap(([path, methods]) =>
    Object.entries<Json>(methods).map(([method, { parameters, requestBody }]) => ({
      method: method.toUpperCase(),
      path,
      query: parameters.filter((one: Json) => one.in === 'query'),
      body: requestBody?.content['application/json'].schema,
    })),
  )
  const session = ['GET', 'POST', 'DELETE'].map(method => ({
    method,
    path: SESSION,
    query: [],
    body: method === 'POST' ? credentials : undefined,
  }))
  // There has to be a policy to confirm, go back to and delete.
  const puts = documented.filter(({ method, path }) => method === 'PUT' && path === '/admin/policies/{id}')
  return [...documented, ...session, ...puts, ...puts]
}

interface Sent {
  readonly method: string
  readonly path: string
  readonly body?: string | undefined
  readonly type?: string | undefined
  /** A session's cookie and CSRF token in place of the token. */
  readonly session?: { readonly cookie: string; readonly csrf: string } | undefined
}

interface Answered {
  readonly status: number
  readonly type: string
  readonly text: string
}

function send(server: TestServer, { method, path, body, type, session }: Sent): Promise<Answered> {
  const { hostname, port } = new URL(server.controlPlane)
  return new Promise((resolve, reject) => {
    const bytes = body === undefined ? undefined : Buffer.from(body)
    const headers = {
      ...(session ? { cookie: session.cookie, 'x-csrf-token': session.csrf } : { authorization: `Bearer ${TOKEN}` }),
      ...(bytes && { 'content-type': type ?? 'application/json', 'content-length': String(bytes.length) }),
    }
    const req = request({ hostname, port, method, path, headers, timeout: 10_000 }, res => {
      let text = ''
      res.setEncoding('utf8').on('data', chunk => {
        text += chunk
      })
      res.on('end', () =>
        resolve({ status: res.statusCode ?? 0, type: String(res.headers['content-type'] ?? ''), text }),
      )
    })
    req.on('timeout', () => req.destroy(new Error('no answer within 10 s')))
    req.on('error', reject)
    req.end(bytes)
  })
}

/** What is wrong with an answer to anything at all; undefined: nothing. */
function faultOf({ status, type, text }: Answered): string | undefined {
  if (status >= 500 || status === 0) return `answered ${status}: ${text.slice(0, 200)}`
  if (status < 400) return undefined
  if (!/^application\/problem\+json/.test(type)) return `${status} as ${type}`
  const { detail, status: said } = JSON.parse(text) as { detail?: string; status?: number }
  if (typeof detail !== 'string' || detail === '' || said !== status)
    return `${status} without a word: ${text.slice(0, 200)}`
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not come back
  return /[\u0000-\u0009\u000b-\u001f\u007f]/.test(text)
    ? `control characters come back: ${JSON.stringify(text.slice(0, 200))}`
    : undefined
}

/** What an answer has that the API's own document says otherwise. */
function notAsDocumented({ method, path }: Route, { status, text }: Answered): string | undefined {
  if (status < 200 || status > 299) return undefined
  const plain = path.replace(/\{(\w+)\}/g, ':$1')
  const { answer } = table.find(row => row.path === plain && row.method === method.toLowerCase()) ?? {}
  const error = answer?.safeParse(JSON.parse(text)).error
  return error && `answered what is not documented: ${describeIssues(error).slice(0, 300)}`
}

/** encodeURIComponent takes no half of a surrogate pair. */
const encode = (text: unknown) => encodeURIComponent(String(text).replace(/[\ud800-\udfff]/gu, '\ufffd'))

/** One server under attack. */
class Attack {
  readonly server: TestServer
  readonly sessions: Sessions
  readonly routes: readonly Route[]
  /** How often each route answered with so and so. */
  readonly statuses = new Map<string, number[]>()
  readonly faults: string[] = []
  private readonly junk: readonly (string | undefined)[]
  private readonly words: readonly string[]
  private keys: string[] = []

  constructor(server: TestServer, sessions: Sessions, routes: readonly Route[]) {
    this.server = server
    this.sessions = sessions
    this.routes = routes
    const body = fc.oneof(
      value.map(one => JSON.stringify(one)),
      fc.constantFrom(...BODIES),
    )
    this.junk = fc.sample(body, { seed: SEED, numRuns: 1000 })
    this.words = fc.sample(word, { seed: SEED, numRuns: 1000 })
  }

  async run(cases: number): Promise<void> {
    let next = 0
    const lane = async () => {
      for (let i = next++; i < cases; i = next++) {
        if (i % TRAFFIC_EVERY === 0) await this.traffic(i)
        const route = this.routes[i % this.routes.length] as Route
        await this.one(route, new Chance(SEED + i))
      }
    }
    await Promise.all(Array.from({ length: AT_ONCE }, lane))
  }

  async one(route: Route, chance: Chance): Promise<void> {
    // Half of what is sent is all right; a quarter is almost; the rest is what nobody would.
    const how = chance.of(['legal', 'legal', 'spoilt', 'odd'] as const)
    const { method } = route
    const said = how === 'odd' ? undefined : route.body && legal(route.body, chance)
    const body =
      method === 'GET'
        ? undefined
        : how === 'odd'
          ? chance.is(0.8)
            ? chance.of(this.junk)
            : undefined
          : said === undefined
            ? undefined
            : JSON.stringify(how === 'spoilt' ? spoilt(said, chance) : said)
    const own = (said as Json)?.policy?.id
    const filled = route.path.replace(/\{(\w+)\}/g, (_, name: string) =>
      encode(how === 'odd' ? chance.of(this.words) || 'x' : name === 'id' && own ? own : this.named(name, chance)),
    )
    const query = route.query.flatMap(({ name, schema }) => {
      if (how === 'odd' && chance.is(0.7)) return [`${name}=${encode(chance.of(this.words))}`]
      if (name !== 'epoch' && chance.is(0.7)) return []
      return [`${name}=${encode(how === 'spoilt' && chance.is(0.3) ? chance.of(NASTY) : legal(schema, chance, name))}`]
    })
    const type =
      how === 'odd'
        ? chance.of([undefined, 'text/plain', 'application/json; charset=utf-7', 'multipart/form-data'])
        : undefined
    const path = query.length > 0 ? `${filled}?${query.join('&')}` : filled
    const session = route.path === SESSION || chance.is(0.2) ? this.session() : undefined
    const answer = await send(this.server, { method, path, body, type, session }).catch(
      (error: Error): Answered => ({ status: 0, type: '', text: error.message }),
    )
    const key = `${method} ${route.path}`
    this.statuses.set(key, [...(this.statuses.get(key) ?? []), answer.status])
    const fault = faultOf(answer) ?? notAsDocumented(route, answer)
    if (fault) this.faults.push(`${method} ${path.slice(0, 200)} ${body?.slice(0, 200) ?? ''} → ${fault}`)
  }

  /** How often a route did what it was asked for. */
  successes({ method, path }: Route): number {
    return (this.statuses.get(`${method} ${path}`) ?? []).filter(status => status >= 200 && status < 300).length
  }

  counts(): Record<number, number> {
    const counts: Record<number, number> = {}
    for (const status of [...this.statuses.values()].flat()) counts[status] = (counts[status] ?? 0) + 1
    return counts
  }

  private named(name: string, chance: Chance): unknown {
    if (name !== 'key') return legal({ type: 'string' }, chance, name)
    return this.keys.length > 0 ? chance.of(this.keys) : 'no-such-key'
  }

  /** Of an operator who has just signed in. */
  private session(): Sent['session'] {
    const { secret } = this.sessions.start('operator', 'fuzz')
    const { host } = new URL(this.server.controlPlane)
    const name = cookieName({ headers: { host }, socket: {} } as never)
    return { cookie: `${name}=${secret}`, csrf: this.sessions.csrf(secret) }
  }

  private async traffic(i: number): Promise<void> {
    await Promise.all(
      [1, 2, 3, 4, 5, 6].map(n =>
        this.server.as(`192.0.2.${(i + n) % 250}`, `/f/${(i + n * 7) % PLACES}/x`).catch(() => {}),
      ),
    )
    const { body } = await this.server.admin('GET', '/admin/keys?limit=500')
    this.keys = (body.keys as { key: string }[]).map(({ key }) => key).filter(key => !key.includes('{control}'))
  }
}

const places: [string, () => Promise<[Record<string, string>, () => unknown]>, number][] = [
  ['the embedded store', async () => [{}, () => {}], 0.8],
  [
    'Redis',
    async () => {
      const redis = await RedisServer.start()
      return [{ REDIS_URL: redis.url, DECISION_DEADLINE: '2s' }, () => redis.stop()]
    },
    0.2,
  ],
]

describe.each(places)('on %s', (_, open, share) => {
  const cases = Math.round(CASES * share)
  const sessions = new Sessions()
  let server: TestServer
  let stop: () => unknown
  beforeAll(async () => {
    const [env, end] = await open()
    stop = end
    server = await testServer({ ADMIN_READONLY_TOKEN: VIEWER_TOKEN, ...env }, sessions)
    await until('the store', () => server.bouncer.health().state === 'ok')
  })
  afterAll(async () => {
    await server.close(0)
    await stop()
  })

  test(`whatever is sent to any route, the answer is an answer (${cases} cases, FUZZ_SEED=${SEED})`, async () => {
    const before = everybodys()
    const { body } = await server.admin('GET', '/admin/openapi.json')
    const routes = routesOf(body)
    const attack = new Attack(server, sessions, routes)
    await attack.run(cases)
    const told = Object.entries(attack.counts()).map(([status, n]) => `${n} × ${status}`)
    console.log(`fuzz on ${server.bouncer.health().kind}, seed ${SEED}: ${told.join(', ')}`)
    expect(attack.faults.slice(0, 10)).toEqual([])

    // Every change was made, and again and again: else nothing was tried.
    const least = Math.floor(cases / 1000)
    const rare = routes.filter(route => route.method !== 'GET' && attack.successes(route) < Math.max(1, least))
    expect(rare.map(route => `${route.method} ${route.path}: ${attack.successes(route)}`)).toEqual([])
    expect(attack.counts()[400]).toBeGreaterThan(0)

    // After all that every question has an answer still, and nothing is in what all objects share.
    for (const route of routes.filter(({ method }) => method === 'GET')) {
      for (let i = 0; i < 5; i++) await attack.one(route, new Chance(SEED - 1 - i))
    }
    expect(attack.faults).toEqual([])
    for (const path of ['/admin/stats?range=5m', '/admin/state', '/admin/blocks', '/admin/keys', '/metrics']) {
      expect((await server.admin('GET', path)).status, path).toBe(200)
    }
    expect(everybodys()).toEqual(before)

    // And it still limits to the unit, whatever policies and lists have come to be.
    const { policies, lists } = (await server.admin('GET', '/admin/state')).body as Json
    // The last one that is enforced would not go.
    const elsewhere = { id: 'exact', match: '/nowhere-else', limits: [{ limit: 5, window: '1h' }], penalty: false }
    await server.admin('PUT', '/admin/policies/exact', { policy: elsewhere })
    for (const { policy } of policies.filter(({ policy }: Json) => policy.id !== 'exact')) {
      expect((await server.admin('DELETE', `/admin/policies/${encode(policy.id)}`)).status).toBe(204)
    }
    for (const { list, cidr } of lists) {
      expect((await server.admin('DELETE', `/admin/lists/${list}/${encode(cidr)}`)).status).toBe(204)
    }
    const put = await server.admin('PUT', '/admin/policies/exact', {
      policy: { id: 'exact', match: '*', limits: [{ limit: 5, window: '1h' }], penalty: false },
    })
    expect(put.status).toBe(200)
    const statuses: number[] = []
    for (let i = 0; i < 8; i++) statuses.push((await server.as('198.51.100.5', '/api/data')).status)
    expect(statuses).toEqual([200, 200, 200, 200, 200, 429, 429, 429])
  }, 300_000)
})
