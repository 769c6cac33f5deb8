import { createBouncer, type Decision } from '@api-bouncer/limiter'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createMetrics } from './metrics.ts'
import { type TestServer, testServer } from './testing.fixture.ts'

let server: TestServer
beforeAll(async () => {
  server = await testServer()
})
afterAll(() => server.close())

/** The text exposition format 0.0.4, strictly: every line, every family once, types before samples, whole histograms. */
function parseExposition(text: string): Map<string, number> {
  expect(text.endsWith('\n')).toBe(true)
  const types = new Map<string, string>()
  const samples = new Map<string, number>()
  let family = ''
  for (const line of text.split('\n')) {
    if (line === '') continue
    const meta = /^# (HELP|TYPE) ([a-zA-Z_:][\w:]*) (.+)$/.exec(line)
    if (meta) {
      const [, kind, name, rest] = meta as unknown as [string, string, string, string]
      if (kind === 'TYPE') {
        expect(rest).toMatch(/^(counter|gauge|histogram|summary|untyped)$/)
        expect(types.has(name), `${name} once`).toBe(false)
        types.set(name, rest)
        family = name
      }
      continue
    }
    const sample = /^([a-zA-Z_:][\w:]*)(\{(?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\["\\n])*",?)*\})? (\S+)$/.exec(line)
    expect(sample, line).not.toBeNull()
    const [, name = '', labels = '', value = ''] = sample as RegExpExecArray
    const histogram = types.get(family) === 'histogram'
    expect(histogram ? name.replace(/_(bucket|sum|count)$/, '') : name).toBe(family)
    // Prometheus reads numbers with Go's ParseFloat, which takes the `Nan` of prom-client's idle event loop too.
    expect(value).toMatch(/^(NaN|Nan|[+-]Inf|-?\d+(\.\d+)?(e[+-]?\d+)?)$/)
    expect(samples.has(name + labels), `${line} once`).toBe(false)
    samples.set(name + labels, Number(value))
  }
  for (const [name, type] of types) {
    if (type === 'counter') expect(name).toMatch(/(_total|_seconds|_info|_bytes)$|^process_|^nodejs_/)
    if (type !== 'histogram') continue
    const buckets = [...samples].filter(([key]) => key.startsWith(`${name}_bucket{`) && !/,|type|kind/.test(key))
    const counts = buckets.map(([, value]) => value)
    expect(counts).toEqual([...counts].sort((a, b) => a - b))
    if (samples.has(`${name}_count`))
      expect(samples.get(`${name}_bucket{le="+Inf"}`)).toBe(samples.get(`${name}_count`))
  }
  return samples
}

const scrape = async () => {
  const { status, body, headers } = await server.admin('GET', '/metrics')
  expect(status).toBe(200)
  expect(headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8')
  return parseExposition(body)
}

describe('/metrics', () => {
  it('agrees with what was sent', async () => {
    for (let i = 0; i < 37; i++) await server.as('192.0.2.1', '/auth/x')
    for (let i = 0; i < 4; i++) await server.as('192.0.2.2', '/api/data')
    await server.as('192.0.2.2', '/health')
    const samples = await scrape()
    const hits = (policy: string, outcome: string) =>
      samples.get(`rate_limit_hits_total{policy="${policy}",outcome="${outcome}"}`)
    expect([hits('auth', 'allowed'), hits('auth', 'limited'), hits('auth', 'blocked')]).toEqual([30, 5, 2])
    expect(hits('default', 'allowed')).toBe(4)
    expect(samples.get('rate_limit_blocks_total')).toBe(1)
    expect(samples.get('rate_limit_active_blocks')).toBe(1)
    expect(samples.get('rate_limit_store_up')).toBe(1)
    expect(samples.get('rate_limit_duration_seconds_count')).toBe(41)
    expect(samples.get('rate_limit_duration_seconds_sum')).toBeGreaterThan(0)
    expect([...samples.keys()].some(key => key.startsWith(`api_bouncer_build_info{version="`))).toBe(true)
    expect(samples.get('process_cpu_seconds_total')).toBeGreaterThan(0)
  })

  it('has no label that a request could choose', async () => {
    // Node's own vary with what the process is doing.
    const ours = async () => [...(await scrape()).keys()].filter(key => /^(rate_limit|api_bouncer)_/.test(key))
    const before = await ours()
    for (let i = 0; i < 50; i++)
      await server.as(`198.51.100.${i}`, `/path-${i}?q=${i}`, { headers: { 'x-junk': `${i}` } })
    expect(await ours()).toEqual(before)
  })

  it('tells trials of shadow policies apart', async () => {
    const limits = [{ limit: 1, window: '1m' }]
    const bouncer = createBouncer({
      policies: [
        { id: 'real', limits: [{ limit: 9, window: '1m' }] },
        { id: 'trial', limits, mode: 'shadow' },
      ],
    })
    const peer = { headers: {}, socket: { remoteAddress: '192.0.2.9' } } as never
    const decisions: Decision[] = []
    for (let i = 0; i < 3; i++) decisions.push(await bouncer.check({ peer, method: 'GET', path: '/' }))
    const samples = parseExposition(await createMetrics(bouncer, { node: false }).metrics())
    await bouncer.close()
    expect(samples.get('rate_limit_hits_total{policy="real",outcome="allowed"}')).toBe(3)
    expect(samples.get('rate_limit_shadow_hits_total{policy="trial",outcome="limited"}')).toBe(2)
    expect([...samples.keys()].some(key => key.startsWith('rate_limit_hits_total{policy="trial"'))).toBe(false)
  })
})
