import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Browser, TOKEN, testServer } from '../testing.fixture.ts'
import { WrongTokens } from './wrong-tokens.ts'

describe('wrong tokens in the log', () => {
  beforeEach(() => void vi.useFakeTimers())
  afterEach(() => void vi.useRealTimers())

  it('are one line a minute, however many there are', () => {
    const lines: string[] = []
    const wrong = new WrongTokens({ warn: line => lines.push(line) })
    wrong.add('192.0.2.1')
    for (let i = 0; i < 10_000; i++) wrong.add(`192.0.2.${i % 7}`)
    wrong.add('192.0.2.9')
    expect(lines).toEqual(['the control plane was sent a wrong token from 192.0.2.1'])
    vi.advanceTimersByTime(60_000)
    expect(lines.slice(1)).toEqual(['the control plane was sent 10001 wrong tokens, the last one from 192.0.2.9'])
    vi.advanceTimersByTime(600_000)
    expect(lines).toHaveLength(2)
    wrong.add(undefined)
    expect(lines.slice(2)).toEqual(['the control plane was sent a wrong token from unknown'])
    expect(wrong.total).toBe(10_003)
  })
})

it('wrong tokens are counted wherever they come in; the right one passes after any number of them', async () => {
  const server = await testServer()
  const bearer = (token: string) => ({ authorization: `Bearer ${token}` })
  for (let i = 0; i < 50; i++) {
    const answer = await fetch(`${server.controlPlane}/admin/status`, { headers: bearer(`${TOKEN}${i}`) })
    expect(answer.status).toBe(401)
  }
  const browser = new Browser(server.controlPlane)
  expect((await browser.send('POST', '/dashboard/session', { token: 'x'.repeat(43) })).status).toBe(401)
  expect((await browser.send('GET', '/dashboard/session', undefined, bearer('y'.repeat(43)))).status).toBe(401)
  const upgrade = { ...bearer('z'.repeat(43)), connection: 'Upgrade', upgrade: 'websocket' }
  const live = '/dashboard/live/?EIO=4&transport=websocket'
  await browser.send('GET', live, undefined, upgrade).catch(() => {})
  // No token is no guess.
  expect((await fetch(`${server.controlPlane}/admin/status`)).status).toBe(401)
  const { status, body } = await server.admin('GET', '/metrics')
  expect(status).toBe(200)
  expect(body).toContain('\napi_bouncer_wrong_tokens_total 53\n')
  await server.close()
})
