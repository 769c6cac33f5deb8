import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { bouncer, endAll, hasTmux, type RealServer, realServer, run, Terminal } from './real.fixture.ts'

let server: RealServer
beforeAll(async () => {
  server = await realServer()
  // Windows of a day: what is used stays so while the tests run.
  const policy = (id: string, units: number) =>
    server.admin('PUT', `/admin/policies/${id}`, {
      policy: {
        id,
        match: id === 'default' ? '*' : `/${id}/*`,
        limits: [{ limit: units, window: '1d' }],
        penalty: false,
      },
    })
  await policy('default', 100)
  await policy('auth', 10)
  // Who was refused is remembered; who was not is known only while it asks.
  await server.request('192.0.2.2', '/api/data', 101)
  await server.request('192.0.2.3', '/auth/x', 11)
  await server.admin('POST', '/admin/blocks', { client: '192.0.2.4', for: '5h' })
})
afterAll(endAll)

/** What differs from second to second, in as many columns. */
const still = (screen: string) =>
  screen
    .replace(/\d\d:\d\d:\d\d/g, 'HH:MM:SS')
    .replace(/4h 59m/g, '5h 00m')
    .replace(/[▁-█]{1,}(?=$)/gm, ticks => ticks.replace(/./g, '▁'))
    .replace(/ *▁+$/gm, '  ▁')

describe.skipIf(!hasTmux)('top', () => {
  it('is one calm screen of 80 by 24', async () => {
    const terminal = Terminal.open('top', server.env)
    await terminal.shows('192.0.2.4')
    // The second in which they asked is over.
    await terminal.shows('\n0.0 req/s')
    terminal.keys('s')
    const screen = await terminal.shows('USED▾')
    expect(still(screen)).toBe(
      `
healthy · embedded, in this process · 1 instance · 1 block              HH:MM:SS
0.0 req/s  ▁
allowed 0.0   limited 0.0   blocked 0.0   degraded 0

 CLIENT                  REQ/S  USED▾               POLICY      STATE
>192.0.2.4                 0.0                                  blocked 5h 00m
 192.0.2.2                 0.0  ████████ 100/100    default     limited
 192.0.2.3                 0.0  ████████ 10/10      auth        limited














s sort · / filter · p pause · u unblock · enter inspect · q quit`.trim(),
    )
    terminal.keys('q')
    // The screen is as it was before.
    expect(await terminal.shows('ended with 0')).toBe('before\nended with 0')
  })

  it('uses the room of 200 by 50, and yields to 44 by 12', async () => {
    const terminal = Terminal.open('top', server.env, 200, 50)
    await terminal.shows('192.0.2.4')
    terminal.keys('s')
    await terminal.shows('\n0.0 req/s')
    const wide = await terminal.shows('USED▾')
    expect(wide).toContain(
      '192.0.2.2                                     0.0  ████████████████████ 100/100    default     limited',
    )
    terminal.resize(44, 12)
    const narrow = await terminal.shows(/^>192\.0\.2\.4 +0\.0 {2}blocked/m)
    for (const line of narrow.split('\n')) expect(line.length).toBeLessThanOrEqual(44)
    expect(narrow.split('\n')[0]).toMatch(/^healthy · /)
    terminal.keys('C-c')
    expect(await terminal.shows('ended with 130')).toBe('before\nended with 130')
  })

  it('sorts, filters, pauses and inspects', async () => {
    const terminal = Terminal.open('top', server.env)
    await terminal.shows('192.0.2.4')
    terminal.keys('s', 's')
    await terminal.shows('CLIENT▾')
    terminal.keys('/')
    await terminal.shows('filter: _')
    terminal.keys('auth', 'Enter')
    const filtered = await terminal.shows('/ filter "auth" (1)')
    expect(filtered).toContain('>192.0.2.3')
    expect(filtered).not.toContain('192.0.2.2')
    terminal.keys('Enter')
    const detail = await terminal.shows('enter back')
    expect(detail).toMatch(/^192\.0\.2\.3 +limited by auth/m)
    terminal.keys('Enter')
    await terminal.shows('filter "auth"')
    terminal.keys('p')
    await terminal.shows('paused')
    terminal.keys('Escape')
    await terminal.shows('192.0.2.2')
    terminal.keys('q')
    await terminal.shows('ended with 0')
  })

  it('unblocks whom the cursor is on, after a yes', async () => {
    await server.admin('POST', '/admin/blocks', { client: '192.0.2.200', for: '5h' })
    const terminal = Terminal.open('top', server.env)
    await terminal.shows('192.0.2.200')
    terminal.keys('/', '2.200', 'Enter')
    await terminal.shows('filter "2.200" (1)')
    terminal.keys('u')
    await terminal.shows('unblock 192.0.2.200, with its violations and counters? (y/N)')
    terminal.keys('n')
    await terminal.shows('nothing was unblocked')
    terminal.keys('u')
    await terminal.shows('(y/N)')
    terminal.keys('y')
    await terminal.shows('unblocked 192.0.2.200: block')
    const { blocks } = (await server.admin('GET', '/admin/blocks')) as { blocks: { client: string }[] }
    expect(blocks.map(({ client }) => client)).toEqual(['192.0.2.4'])
    terminal.keys('q')
    await terminal.shows('ended with 0')
  })

  it('keeps the last picture while the server is away', async () => {
    const own = await realServer()
    await own.admin('POST', '/admin/blocks', { client: '192.0.2.7', for: '5h' })
    const terminal = Terminal.open('top', own.env)
    await terminal.shows('192.0.2.7')
    await own.stop()
    expect(await terminal.shows('cut off')).toContain('192.0.2.7')
    await own.start()
    await terminal.shows(/^healthy/m)
    terminal.keys('C-c')
    await terminal.shows('ended with 130')
  })
})

describe('top without a terminal', () => {
  it('says what to use instead', async () => {
    expect(await run(['top'], server.env)).toEqual({
      code: 2,
      stdout: '',
      stderr: 'bouncer: top draws on a terminal; for a script: bouncer clients -o json\n',
    })
    expect(await bouncer(['top', '-o', 'json'], server.env).done).toMatchObject({ code: 2 })
  })
})
