import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { afterEach, describe, expect, it } from 'vitest'
import { outcomeOf, retryAfterOf } from './answer.ts'
import { crowd, generator } from './clients.ts'
import { MAX_IN_FLIGHT, start } from './run.ts'
import { constant, ramps, type Schedule } from './schedule.ts'
import { ADMITTED, BLOCKED, DEGRADED, DENIED, LIMITED } from './trace.ts'

/** A server in a process of its own that answers after so many ms; -1: never. */
const SERVER = `
  const delay = Number(process.argv[1])
  require('node:http').createServer((req, res) => {
    const began = performance.now()
    const answer = () => performance.now() - began >= delay ? res.end('ok') : setTimeout(answer, 1)
    if (delay >= 0) setTimeout(answer, delay)
  }).listen(0, '127.0.0.1', function () { console.log(this.address().port) })`

const children: ChildProcess[] = []
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
})

async function server(delay: number): Promise<URL> {
  const child = spawn(process.execPath, ['-e', SERVER, '--', String(delay)], { stdio: ['ignore', 'pipe', 'inherit'] })
  children.push(child)
  const [port] = await once(child.stdout, 'data')
  return new URL(`http://127.0.0.1:${Number(port)}/`)
}

const send = (url: URL, schedule: Schedule) =>
  start({ url, schedule, crowd: crowd(3, undefined, generator(1)), method: 'GET', headers: {}, body: undefined })

// How punctual it is depends on what else the machine does: printed, and held to bounds that only a mistake would miss.
describe('the open loop', () => {
  it.each([
    ['200 rps', constant(200, 3000), 600],
    ['2000 rps', constant(2000, 2000), 4000],
    ['a ramp', ramps([{ rps: 1000, durationMs: 2000 }], 0), 1000],
  ])('sends all that is due, and measures a server that takes 20 ms: %s', async (name, schedule, count) => {
    const run = send(await server(20), schedule)
    await run.done
    const { seen } = run
    const [p50, p99, lag] = [seen.latencyMs(50), seen.latencyMs(99), seen.lagMs(99)]
    const { sent, late, dropped } = seen
    console.log(`${name}: p50 ${p50} p99 ${p99} ms, lag p99 ${lag} ms, sent ${sent}, late ${late}, dropped ${dropped}`)
    expect(seen.offered).toBe(count)
    expect(seen.sent + seen.dropped).toBe(count)
    expect(seen.answered + seen.errorCount).toBe(seen.sent)
    expect(seen.errorCount).toBe(0)
    expect(run.endedAfter).toBeGreaterThanOrEqual(schedule.durationMs)
    expect(p50).toBeGreaterThan(19)
  })

  it('drops what is due while too many are unanswered, and lets go of them when it is stopped', async () => {
    const run = send(await server(-1), constant(3000, 60_000))
    while (run.seen.offered < 2 * MAX_IN_FLIGHT) await new Promise(resolve => setTimeout(resolve, 20))
    run.stop()
    await run.done
    const { seen, trace } = run
    expect(seen.sent).toBe(MAX_IN_FLIGHT)
    expect(seen.dropped).toBe(seen.offered - MAX_IN_FLIGHT)
    expect([seen.answered, seen.errorCount, trace.count]).toEqual([0, MAX_IN_FLIGHT, MAX_IN_FLIGHT])
  })

  it('counts what nobody took as errors', async () => {
    const url = await server(0)
    children[0]?.kill('SIGKILL')
    await once(children[0] as ChildProcess, 'exit')
    const run = send(url, constant(100, 500))
    await run.done
    expect([...run.seen.errors]).toEqual([['ECONNREFUSED', 50]])
  })
})

describe('an answer', () => {
  const problem = { 'content-type': 'application/problem+json; charset=utf-8', ratelimit: '"default";r=0;t=9' }
  const typed = (type: string, more = {}) =>
    JSON.stringify({ type: `https://iana.org/assignments/http-problem-types#${type}`, ...more })

  it('is a refusal only where the limiter says so', () => {
    expect(outcomeOf(429, problem, typed('quota-exceeded'))).toBe(LIMITED)
    expect(outcomeOf(429, problem, typed('abnormal-usage-detected'))).toBe(BLOCKED)
    expect(outcomeOf(429, problem, typed('abnormal-usage-detected', { 'violated-policies': ['a'] }))).toBe(LIMITED)
    expect(outcomeOf(503, problem, typed('temporary-reduced-capacity'))).toBe(DEGRADED)
    const { ratelimit: _, ...uncounted } = problem
    expect(outcomeOf(403, uncounted, '{"type":"about:blank","requestId":"1"}')).toBe(DENIED)
    expect(outcomeOf(429, problem, '')).toBe(LIMITED)
  })

  it('of the application behind it means that the request was let through, whatever its status', () => {
    expect(outcomeOf(200, {}, '')).toBe(ADMITTED)
    expect(outcomeOf(404, problem, '{"type":"about:blank"}')).toBe(ADMITTED)
    expect(outcomeOf(403, problem, '{"type":"about:blank","requestId":"1"}')).toBe(ADMITTED)
    expect(outcomeOf(429, { 'content-type': 'text/html' }, 'slow down')).toBe(ADMITTED)
    expect(outcomeOf(429, problem, '{"type":"https://example.com/mine"}')).toBe(ADMITTED)
    expect(outcomeOf(503, problem, 'not json')).toBe(ADMITTED)
  })

  it('may say when to come back', () => {
    expect(retryAfterOf({ 'retry-after': '60' })).toBe(60_000)
    expect(retryAfterOf({ 'retry-after': 'Wed, 21 Oct 2015 07:28:00 GMT' })).toBeUndefined()
    expect(retryAfterOf({})).toBeUndefined()
  })
})
