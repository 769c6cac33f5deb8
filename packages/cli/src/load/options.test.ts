import { describe, expect, it } from 'vitest'
import { CommandError } from '../context.ts'
import { isLoopback, parseOptions, type RawOptions } from './options.ts'
import type { Report } from './report.ts'
import { parseThreshold } from './threshold.ts'

const RAW: RawOptions = { rps: '200', header: [], failIf: [], oracle: true }
const parse = (raw: Partial<RawOptions> = {}, where = '/api/data') => parseOptions(where, { ...RAW, ...raw })

function refusal(raw: Partial<RawOptions>, where?: string): string {
  try {
    parse(raw, where)
  } catch (error) {
    expect(error).toBeInstanceOf(CommandError)
    expect((error as CommandError).exitCode).toBe(2)
    return (error as Error).message
  }
  throw new Error(`accepted ${JSON.stringify(raw)}`)
}

describe('the options of load', () => {
  it('have defaults for all but the rate', () => {
    const { schedule, pace, clients, attackers, method, url, path, headers } = parse()
    expect({ count: schedule.count, pace, clients, attackers, method, url, path, headers }).toEqual({
      count: 2000,
      pace: '200 rps for 10s',
      clients: 1,
      attackers: undefined,
      method: 'GET',
      url: undefined,
      path: '/api/data',
      headers: {},
    })
    expect(parse({ seed: '7' }).seed).toBe(7)
  })

  it('read stages, bodies, headers and targets', () => {
    const { rps: _, ...rest } = RAW
    expect(parseOptions('/', { ...rest, stages: '50:10s,200:30s' }).pace).toBe(
      'from 50 rps to 50 rps in 10s, to 200 rps in 30s',
    )
    expect(parse({ body: '{"a":1}' })).toMatchObject({
      method: 'POST',
      headers: { 'content-type': 'application/json' },
    })
    expect(parse({ body: 'a=1', header: ['Content-Type: text/x'] }).headers).toEqual({ 'Content-Type': 'text/x' })
    expect(parse({ target: 'http://127.0.0.1:3000/base/' }, '/x?y=1').url?.href).toBe(
      'http://127.0.0.1:3000/base/x?y=1',
    )
    expect(parse({}, 'http://localhost:3000/x').url?.href).toBe('http://localhost:3000/x')
  })

  it.each<[string, Partial<RawOptions>, string?]>([
    ['how fast? --rps 200, or --stages 50:10s,200:30s', { rps: undefined as never }],
    ['--rps: "fast" is not a number of requests a second', { rps: 'fast' }],
    ['--rps: "0" is not a number of requests a second', { rps: '0' }],
    ['--rps: 20001 is more than a run may send (20000 requests a second)', { rps: '20001' }],
    ['--duration: "soon" is not a duration (write 500ms, 10s or 2m)', { duration: 'soon' }],
    ['--duration: 11m is longer than a run may last (10m)', { duration: '11m' }],
    ['these are 1200000 requests; a run may send 1000000 at most', { rps: '2000', duration: '10m' }],
    ['--stages: "50" is not RATE:DURATION; write 50:10s,200:30s', { stages: '50' }],
    ['11m is longer than a run may last (10m)', { stages: '5:6m,5:5m' }],
    ['--duration: the stages of --stages have durations of their own', { stages: '5:6m', duration: '1s' }],
    ['--clients: "0" is not a whole number from 1 to 1000', { clients: '0' }],
    ['--attackers: "2" is not a share from 0 to 1; 0.1 is a tenth of the clients', { attackers: '2' }],
    ['--attackers: a share of 0.1 of 1 client is nobody; raise --clients', { attackers: '0.1' }],
    ['-X, --method: "G T" is not a method that can be sent', { method: 'G T' }],
    ['-H, --header: "nonsense" is not a header; write \'Name: value\'', { header: ['nonsense'] }],
    ['-H, --header: "A: b\nC: d" is not a header; write \'Name: value\'', { header: ['A: b\nC: d'] }],
    [
      '-H, --header: X-Forwarded-For is how the clients are told apart; say how many with --clients',
      { header: ['x-forwarded-for: 1.2.3.4'] },
    ],
    ['--body: cannot read /no/such/file (ENOENT)', { body: '@/no/such/file' }],
    ['"api" is neither a path (/api/data) nor a URL (http://127.0.0.1:3000/)', {}, 'api'],
    ['"ftp://127.0.0.1/" is not a URL that can be called; write http://127.0.0.1:3000', {}, 'ftp://127.0.0.1/'],
    ['--target: "here" is not a URL that can be called; write http://127.0.0.1:3000', { target: 'here' }],
    [
      '--target: the URL says already where to; give a path with it',
      { target: 'http://127.0.0.1' },
      'http://127.0.0.1/',
    ],
    ['--seed: "x" is not a whole number from 0 to 4294967295', { seed: 'x' }],
    [`--fail-if: "p99" is not a threshold; write 'p99>50ms', 'errors>0' or 'refused>10%'`, { failIf: ['p99'] }],
    [
      '--fail-if: "constructor>1": there is no "constructor"; there are p50, p90, p95, p99, p99.9, max, mean, errors, refused, limited, blocked, admitted, late, dropped',
      { failIf: ['constructor>1'] },
    ],
  ])('refuse: %s', (message, raw, where) => {
    expect(refusal(raw, where)).toBe(message)
  })

  it('know which hosts are this machine, without asking a name server', () => {
    const hosts = [
      '127.0.0.1',
      '127.9.9.9',
      'localhost',
      '[::1]',
      '10.0.0.1',
      'example.com',
      'localhost.example.com',
      '[::2]',
    ]
    expect(hosts.filter(host => isLoopback(new URL(`http://${host}/`)))).toEqual([
      '127.0.0.1',
      '127.9.9.9',
      'localhost',
      '[::1]',
    ])
  })
})

describe('a threshold', () => {
  const report = {
    sent: 200,
    late: 0,
    dropped: 0,
    errors: { ECONNRESET: 2 },
    outcomes: { admitted: 170, limited: 20, blocked: 8, denied: 0, degraded: 0 },
    latencyMs: { p50: 1, p90: 2, p95: 3, p99: 51.2, 'p99.9': 60, mean: 1.5, max: 70 },
  } as unknown as Report
  const check = (source: string) => parseThreshold(source).check(report)

  it('compares times, counts and shares of what was sent', () => {
    expect(check('p99>50ms')).toEqual({ value: '51.2 ms', missed: true })
    expect(check('p99.9 > 0.1s').missed).toBe(false)
    expect(check('mean>=1500us').missed).toBe(true)
    expect(check('errors>2')).toEqual({ value: '2', missed: false })
    expect(check('refused>10%')).toEqual({ value: '14%', missed: true })
    expect(check('admitted<171').missed).toBe(true)
  })

  it('says what it does not understand', () => {
    expect(() => parseThreshold('p98>1ms')).toThrow('there is no "p98"; there are p50')
    expect(() => parseThreshold('p99>1')).toThrow('p99 is a time; write p99>1ms')
    expect(() => parseThreshold('errors>1ms')).toThrow('errors is a number; write errors>1')
  })
})
