import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { RedisServer, startCluster } from '@api-bouncer/limiter/testing/redis-server'
import type { Browser, BrowserContextOptions, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { enter, launch, pageOf, violationsOf } from './browser.fixture.ts'
import { IDLE_MS, Sessions } from './control/session.ts'
import { ROOT, raw, type TestServer, TOKEN, testServer, VIEWER_TOKEN } from './testing.fixture.ts'

let browser: Browser
let server: TestServer
let faults: string[][] = []

beforeAll(async () => {
  browser = await launch()
}, 60_000)
afterAll(() => browser.close())
beforeEach(async () => {
  faults = []
  server = await testServer({ ADMIN_READONLY_TOKEN: VIEWER_TOKEN })
})
afterEach(async () => {
  await Promise.all(browser.contexts().map(context => context.close()))
  await server.close(0)
  expect(faults.flat()).toEqual([])
})

/** A page that is signed in and shows `path`. */
async function open(
  path = '/',
  { token = TOKEN, ...options }: BrowserContextOptions & { token?: string } = {},
): Promise<Page> {
  const opened = await pageOf(browser, options)
  faults.push(opened.faults)
  const { page } = opened
  await page.goto(`${server.controlPlane}/dashboard${path}`)
  await enter(page, token)
  await page.getByRole('navigation', { name: 'pages' }).first().waitFor()
  return page
}

const many = async (client: string, times: number, path = '/api/data') => {
  let last = 0
  for (let i = 0; i < times; i++) last = (await server.as(client, path)).status
  return last
}

/** Clicks the dialog's own button. */
const confirm = (page: Page, name: string | RegExp) =>
  page
    .getByRole('dialog')
    .getByRole('button', { name, exact: typeof name === 'string' })
    .click()

/** What a button copies. */
const copied = async (page: Page, of: RegExp) =>
  ((await page.getByRole('button', { name: of }).getAttribute('aria-label')) ?? '').replace('copy the command ', '')

/** Runs a line that the page shows, as a shell would that has `bouncer` and the token. */
const runs = (command: string) =>
  promisify(execFile)(
    'sh',
    ['-c', `bouncer() { '${process.execPath}' packages/cli/bin/bouncer.js "$@"; }\n${command}`],
    {
      cwd: ROOT,
      env: { ...process.env, BOUNCER_TOKEN: TOKEN },
    },
  )

/** In an answer of the page: the command after its words. */
const offered = async (page: Page, words: string) =>
  ((await page.getByText(words).first().textContent()) ?? '').split(words)[1] as string

describe('signing in', () => {
  test('by token; a wrong one is told to be', async () => {
    const opened = await pageOf(browser)
    faults.push(opened.faults)
    await opened.page.goto(`${server.controlPlane}/dashboard/blocks`)
    await enter(opened.page, 'wrong-token-0123456789')
    await opened.page.getByRole('alert').waitFor()
    await enter(opened.page)
    // Where one wanted to go.
    await opened.page.getByRole('heading', { name: 'Blocks' }).waitFor()
  })

  test('by the link of the start-up line, once; the code leaves the address bar', async () => {
    const { body } = await server.admin('POST', '/admin/sign-in-link')
    const link = (body as { url: string }).url
    const [first, second] = [await pageOf(browser), await pageOf(browser)]
    faults.push(first.faults, second.faults)
    await first.page.goto(link)
    await first.page.getByRole('navigation', { name: 'pages' }).first().waitFor()
    expect(first.page.url()).not.toContain(link.split('#')[1])
    await second.page.goto(link)
    await second.page.getByRole('alert').waitFor()
  })

  test('signing out ends it', async () => {
    const page = await open()
    await page.getByRole('button', { name: /▾/ }).click()
    await page.getByRole('menuitem', { name: 'Sign out' }).click()
    await page.getByLabel('Admin token').waitFor()
    await page.goto(`${server.controlPlane}/dashboard/policies`)
    await page.getByLabel('Admin token').waitFor()
  })

  test('a session that ends while the page is open loses nothing: not what was being written, nor where', async () => {
    const now = { ms: 1_764_000_000_000 }
    await server.close(0)
    server = await testServer({ ADMIN_READONLY_TOKEN: VIEWER_TOKEN }, new Sessions(() => now.ms))
    const page = await open('/policies/auth')
    const limit = page.getByLabel('limit 1', { exact: true })
    await limit.fill('8')
    await page.getByRole('button', { name: 'Save…' }).click()
    now.ms += IDLE_MS
    await page.getByRole('alert').getByText('unused for too long').waitFor()
    expect(await limit.isVisible()).toBe(false)
    await enter(page, 'wrong-token-0123456789')
    await page.getByText('Wrong token').waitFor()
    await enter(page)
    await page.getByText('● live', { exact: true }).waitFor()
    expect(new URL(page.url()).pathname).toBe('/dashboard/policies/auth')
    await confirm(page, 'Save')
    await page.getByText(/Saved auth v2/).waitFor()
    expect((await server.admin('GET', '/admin/policies/auth')).body).toMatchObject({
      policy: { limits: [{ limit: 8 }] },
    })
  })

  test('who looks on sees that they may change nothing', async () => {
    const page = await open('/clients/198.51.100.7', { token: VIEWER_TOKEN })
    await page.getByRole('heading', { name: '198.51.100.7' }).waitFor()
    expect(await page.getByRole('button', { name: 'Block', exact: true }).isDisabled()).toBe(true)
    await page.goto(`${server.controlPlane}/dashboard/policies`)
    await page.getByRole('link', { name: 'auth' }).waitFor()
    expect(await page.getByRole('button', { name: 'New policy' }).isDisabled()).toBe(true)
  })
})

describe('an attack', () => {
  test('is seen as it happens: the numbers agree with the metrics, and the offender is let back in', async () => {
    const page = await open()
    await page.getByText('● live', { exact: true }).waitFor()
    const attacker = '198.51.100.20'
    expect(await many(attacker, 106)).toBe(429)
    await many('198.51.100.21', 30)
    // Events as they come.
    const feed = page.getByRole('list', { name: /events/ })
    await feed
      .getByText(/blocked/)
      .first()
      .waitFor()
    await page.getByRole('group', { name: 'active blocks' }).getByText('1', { exact: true }).waitFor()
    // The bar of the client that was let through says just what was counted.
    await page
      .getByRole('table', { name: /clients/ })
      .getByText('30/100')
      .waitFor()
    const metrics = (await server.admin('GET', '/metrics')).body as unknown as string
    const allowed = [...metrics.matchAll(/^\w+\{[^}]*outcome="allowed"[^}]*\} (\d+)$/gm)].reduce(
      (sum, [, n]) => sum + Number(n),
      0,
    )
    expect(allowed).toBe(130)

    await feed
      .getByRole('button', { name: `unblock ${attacker}` })
      .first()
      .click()
    await page.getByRole('dialog').getByText(`bouncer unblock ${attacker}`).waitFor()
    await confirm(page, 'Unblock')
    await page.getByText(new RegExp(`Unblocked ${attacker}`)).waitFor()
    // Nothing is left to lift.
    await feed.getByRole('button', { name: `unblock ${attacker}` }).waitFor({ state: 'detached' })
    expect((await server.as(attacker, '/api/data')).status).toBe(200)
  })

  test('leaves its marks on the client’s page, which says why and what can be done', async () => {
    const client = '198.51.100.30'
    await many(client, 106)
    const page = await open(`/clients/${client}`)
    await page.getByText(/Blocked: ends in/).waitFor()
    await page
      .getByText(/refused by default \(100 per 1m\): GET \/api\/data/)
      .first()
      .waitFor()
    await page
      .getByRole('region', { name: /Why/ })
      .getByText(/5 violations within 5m/)
      .first()
      .waitFor()
    await page.getByText(/requests kept since/).waitFor()
    await page.getByRole('button', { name: 'Unblock', exact: true }).click()
    await confirm(page, 'Unblock')
    await page.getByText('Not blocked, on neither list.').waitFor()
    await page.getByRole('button', { name: 'Block', exact: true }).click()
    await page.getByRole('dialog').getByLabel('Reason').fill('rehearsal')
    await confirm(page, 'Block')
    await page
      .getByText(/rehearsal/)
      .first()
      .waitFor()
    expect((await server.as(client, '/api/data')).status).toBe(429)
  })

  test('is explained as on the command line, where the client was refused, and stands on its timeline whenever one looks', async () => {
    const client = '198.51.100.31'
    for (let i = 0; i < 36; i++) await server.as(client, '/auth/login', { method: 'POST' })
    const page = await open(`/clients/${client}`)
    const why = page.getByRole('region', { name: /Why/ })
    await why.getByText('Refused now: blocked, which ends at').waitFor()
    expect(await why.getByRole('textbox', { name: 'path' }).inputValue()).toBe('/auth/login')
    await why.getByText('bouncer explain 198.51.100.31 POST /auth/login').waitFor()
    for (const [name, says] of [
      ['client', client],
      ['policy', /auth decides: .*, 30 per 1m, sliding_window ?default matches too: \*, 100 per 1m/],
      ['lists', 'on neither the allowlist nor the denylist'],
      ['block', /5 violations within 5m set it at \d\d:\d\d:\d\d; it ends at \d\d:\d\d:\d\d \(in 1\dm/],
      ['limits', /auth: 30 of 30 per 1m used, 0 left; the next unit at .*; it would refuse too for \d+s/],
    ] as const)
      await why.getByRole('listitem').filter({ hasText: name }).filter({ hasText: says }).first().waitFor()
    const evidence = why.getByRole('table', { name: 'what it was refused' }).getByRole('row')
    await expect.poll(() => evidence.count()).toBe(5)
    expect(await evidence.first().textContent()).toMatch(/^\d\d:\d\d:\d\dauthPOST \/auth\/loginover 30 per 1m$/)

    await server.admin('POST', `/admin/unblock/${client}`, { reason: 'a mistake' })
    await server.admin('POST', '/admin/blocks', { client, for: '1h', reason: 'rehearsal' })
    // What was before this page is there, and what a page that stayed open has seen.
    for (const look of [() => {}, () => page.reload()]) {
      await look()
      const told = page.getByRole('region', { name: 'what happened to it, newest first' }).getByRole('listitem')
      await expect
        .poll(() => told.allTextContents(), { timeout: 15_000 })
        .toEqual([
          expect.stringMatching(/blocked for 1h 00m · rehearsal · by admin/),
          expect.stringMatching(/unblocked by admin · a mistake/),
          expect.stringMatching(/blocked for 15m 00s · 5 violations within 5m · by auto/),
          ...Array(5).fill(expect.stringMatching(/refused by auth \(30 per 1m\): POST \/auth\/login/)),
        ])
      await page.getByText(/Violations, blocks and unblocks are kept since \d\d:/).waitFor()
      const history = page.getByRole('region', { name: 'Requests by outcome' })
      await history.getByRole('img', { name: /a minute of .*, with \d violations?, 2 blocks, 1 unblock\./ }).waitFor()
      await history.getByRole('group', { name: 'outcomes shown' }).getByText('requests a minute').waitFor()
    }
  })

  test('is told by all numbers of the overview alike, over one time, and as /metrics has it', {
    timeout: 60_000,
  }, async () => {
    const page = await open()
    await page.getByText('● live', { exact: true }).waitFor()
    await page.getByText('mean of the last 10 s').waitFor()
    const numbers = `(() => {
      const of = name => {
        const [label, value] = document.querySelector('[role=group][aria-label="' + name + '"]').children
        if (!label.textContent.endsWith(' · 10 s')) throw Error(label.textContent)
        return value.textContent
      }
      const table = document.querySelector('table[aria-label=policies]')
      const all = table.querySelector('tfoot tr').children
      const rates = [...table.querySelectorAll('tbody tr')].map(row => Number(row.children[2].textContent))
      return {
        tiles: ['allowed /s', 'limited /s', 'blocked /s'].map(name => Number(of(name))),
        refused: of('refused'),
        rates,
        all: [Number(all[1].textContent), all[2].textContent],
      }
    })()`
    await many('198.51.100.32', 110)
    await many('198.51.100.33', 20, '/auth/login')
    const sum = (of: number[]) => of.reduce((total, n) => total + n, 0)
    type Numbers = { tiles: number[]; refused: string; rates: number[]; all: [number, string] }
    let seen: Numbers | undefined
    const off = async () => {
      seen = (await page.evaluate(numbers)) as Numbers
      expect(Math.abs(sum(seen.tiles) - seen.all[0])).toBeLessThan(0.2)
      expect(Math.abs(sum(seen.rates) - seen.all[0])).toBeLessThan(0.2)
      expect(seen.all[1]).toBe(seen.refused)
      return Math.abs(seen.all[0] - 13)
    }
    // At first the page has fewer seconds than ten.
    await expect.poll(off, { timeout: 25_000, interval: 300 }).toBeLessThan(0.3)
    const metrics = (await server.admin('GET', '/metrics')).body as unknown as string
    const counted = (outcome: string) =>
      sum(
        [...metrics.matchAll(new RegExp(`^rate_limit_hits_total.*outcome="${outcome}"\\} (\\d+)$`, 'gm'))].map(
          ([, n]) => Number(n),
        ),
      )
    const [allowed, limited, blocked] = ['allowed', 'limited', 'blocked'].map(counted) as [number, number, number]
    expect(allowed + limited + blocked).toBe(130)
    expect(seen?.refused).toBe(`${(((limited + blocked) / 130) * 100).toFixed(1)} %`)
  })

  test('with HTML, control characters and 8 KB of text is shown as text, and nothing of it runs', async () => {
    const page = await open('/?events=violations')
    await server.admin('PUT', '/admin/policies/default', {
      policy: { id: 'default', match: '*', limits: [{ limit: 1, window: '1h' }] },
    })
    const long = 'x'.repeat(8192)
    const path = '/<img/src=x/onerror=alert(1)>/%e2%80%ae%1b[31m/'
    const agent = '<script>alert(2)</script>\t\u0085\u202e'
    const send = (target: string, agent: string) =>
      raw(
        server.dataPlane,
        `GET ${target} HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 198.51.100.66\r\nUser-Agent: ${agent}\r\nConnection: close\r\n\r\n`,
      )
    for (const [target, named] of [
      [path, `${agent}${long}`],
      [`${path}?${long}`, agent],
      [`${path}${long}`, agent],
    ] as const)
      expect(await send(target, named)).toMatch(/^HTTP\/1\.1 (404|429)/)
    await page
      .getByText(/limited/)
      .filter({ hasText: '<img' })
      .first()
      .waitFor()
    // In a path they stand as codes; a reason may hold them.
    const reason = `<img src=x onerror=alert(3)>\u202e\u009b31m${'y'.repeat(400)}`
    await server.admin('POST', '/admin/blocks', { client: '198.51.100.66', for: '1h', reason })
    await page.goto(`${server.controlPlane}/dashboard/clients/198.51.100.66`)
    await page
      .getByText(/<img src=x/)
      .first()
      .waitFor()
    await page
      .getByText(/<img\/src=x/)
      .first()
      .waitFor()
    expect(await page.evaluate('document.querySelectorAll("img").length')).toBe(0)
    // Controls are spelt, so that none turns the text around.
    const text = await page.evaluate('document.body.innerText')
    expect(text).toContain('\\u202e\\u009b31m')
    expect(text).not.toMatch(/[\u0080-\u009f\u202e]/)
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(1280)
  })
})

describe('policies', () => {
  test('one is tightened, bites at once, and is rolled back', async () => {
    const page = await open('/policies/auth')
    const limit = page.getByLabel('limit 1', { exact: true })
    await limit.fill('2')
    await page.getByRole('button', { name: 'Save…' }).click()
    await page
      .getByRole('dialog')
      .getByText(/more than 2 of 30/)
      .waitFor()
    // The command does the same, on this server, with no file that is not there.
    const command = await copied(page, /policy apply/)
    const twin = command.replaceAll('auth', 'twin')
    expect((await runs(twin)).stdout).toMatch(/created +twin v1/)
    expect((await server.admin('GET', '/admin/policies/twin')).body.policy.limits).toMatchObject([{ limit: 2 }])
    await server.admin('DELETE', '/admin/policies/twin')
    await confirm(page, 'Save')
    await page.getByText(/Saved auth v2, in force on 1 of 1 instance\./).waitFor()
    expect(await many('198.51.100.40', 3, '/auth/login')).toBe(429)
    await page.getByRole('button', { name: 'roll back to version 1' }).click()
    await confirm(page, 'Roll back')
    await page.getByText(/as in version 1 again, as v3/).waitFor()
    expect((await server.as('198.51.100.40', '/auth/login')).status).not.toBe(429)
  })

  test('what is wrong is said while one types, with the line', async () => {
    const page = await open('/policies/auth')
    const yaml = page.getByRole('textbox', { name: 'policy as YAML' })
    await yaml.click()
    await page.keyboard.press('Control+A')
    await page.keyboard.insertText('id: auth\nlimits:\n  - { limit: 5, windo: 1m }\n')
    await page
      .getByRole('status', { name: 'problems' })
      .getByText(/line 3: .*did you mean "window"\?/)
      .waitFor()
    expect(await page.getByRole('button', { name: 'Save…' }).isDisabled()).toBe(true)
  })

  test('two who edit at once: nobody loses anything', async () => {
    const [ann, bob] = [await open('/policies/auth'), await open('/policies/auth')]
    await bob.getByLabel('limit 1', { exact: true }).fill('7')
    await ann.getByLabel('limit 1', { exact: true }).fill('9')
    await ann.getByRole('button', { name: 'Save…' }).click()
    await confirm(ann, 'Save')
    await ann.getByText(/Saved auth v2/).waitFor()
    await bob.getByText(/saved version 2 while you edited version 1/).waitFor()
    expect(await bob.getByLabel('limit 1', { exact: true }).inputValue()).toBe('7')
    await bob.getByRole('button', { name: 'Keep mine, to save over theirs' }).click()
    await bob.getByRole('button', { name: 'Save…' }).click()
    await confirm(bob, 'Save')
    await bob.getByText(/Saved auth v3/).waitFor()
    const { body } = await server.admin('GET', '/admin/policies/auth')
    expect(body).toMatchObject({ version: 3, policy: { limits: [{ limit: 7 }] } })
  })

  test('one that is deleted under the editor keeps the draft, and can be made again', async () => {
    const page = await open('/policies/auth')
    await page.getByLabel('limit 1', { exact: true }).fill('8')
    await server.admin('DELETE', '/admin/policies/auth')
    await page.getByText('Somebody deleted this policy while you looked at it').waitFor()
    await page.getByRole('button', { name: 'Create it again' }).click()
    await page.getByRole('button', { name: 'Save…' }).click()
    await confirm(page, 'Save')
    // There is no version between to go back to.
    await page.getByText(/Saved auth v3, .* Undo: bouncer policy rm auth/).waitFor()
    const { body } = await server.admin('GET', '/admin/policies/auth')
    expect(body).toMatchObject({ policy: { limits: [{ limit: 8 }] } })
  })

  test('one on trial is enforced in one step, with what it would have refused in sight', async () => {
    await server.admin('PUT', '/admin/policies/trial', {
      policy: { id: 'trial', match: '/api/*', limits: [{ limit: 2, window: '1h' }], mode: 'shadow' },
    })
    expect(await many('198.51.100.45', 5)).toBe(200)
    const page = await open('/policies/trial')
    await page.getByText(/As of [\d:]+: it would have refused 3 of 5 requests/).waitFor()
    // What is on trial is the saved version: a draft is not what would be enforced.
    const enforce = page.getByRole('button', { name: 'Enforce it' })
    await page.getByLabel('limit 1', { exact: true }).fill('9')
    await page.getByText('Save or discard the draft first').waitFor()
    expect(await enforce.isDisabled()).toBe(true)
    await page.getByRole('button', { name: 'Save…' }).click()
    // All of the command is there to read, not its first line.
    await page
      .getByRole('dialog')
      .getByText(/bouncer policy apply.*limit: 9.*EOF$/s)
      .waitFor()
    await confirm(page, 'Cancel')
    await page.getByRole('button', { name: 'Discard' }).click()
    // What takes a burst, and what does not.
    await page.getByText('A burst is for token_bucket and gcra: the others ignore it.').waitFor()
    await page.getByRole('button', { name: 'Enforce it' }).click()
    await confirm(page, 'Save')
    await page.getByText(/Saved trial v2, in force on 1 of 1 instance\./).waitFor()
    await page.getByRole('button', { name: 'Enforce it' }).waitFor({ state: 'detached' })
    expect(await many('198.51.100.46', 3)).toBe(429)
  })

  test('a change that is not confirmed waits to be, and stays once it is', async () => {
    await server.admin('PUT', '/admin/policies/auth', {
      policy: { id: 'auth', match: '/auth/*', limits: [{ limit: 3, window: '1m' }] },
      confirmWithin: '5m',
    })
    const page = await open('/policies/auth')
    await page.getByText(/auth v2 goes back in/).waitFor()
    // What is saved meanwhile goes back with it, and says so before and after.
    await page.getByLabel('limit 1', { exact: true }).fill('4')
    await page.getByRole('button', { name: 'Save…' }).click()
    const when = page.getByRole('dialog').getByRole('combobox', { name: 'Goes back by itself' })
    expect(await when.inputValue()).toMatch(/^at .*, with version 2, which is not confirmed yet$/)
    await confirm(page, 'Save')
    await page.getByText(/Saved auth v3, .* Goes back at .* unless: bouncer policy confirm auth/).waitFor()
    await page.getByText(/auth v3 goes back in/).waitFor()
    await page.getByRole('button', { name: 'Keep it' }).click()
    await page.getByText('auth v3 stays').waitFor()
    await page.getByText(/goes back in/).waitFor({ state: 'detached' })
  })
})

describe('no white page', () => {
  test('code that cannot be fetched is told of in its place, and comes once it can be', async () => {
    const { page, faults: seen } = await pageOf(browser)
    const gone = '**/assets/Policies-*.js'
    // As when a newer build took its place.
    await page.route(gone, route => route.fulfill({ status: 404 }))
    await page.goto(`${server.controlPlane}/dashboard`)
    await enter(page)
    const to = (name: string) => page.getByRole('navigation', { name: 'pages' }).first().getByRole('link', { name })
    await to('Policies').click()
    await page
      .getByRole('alert')
      .getByText(/code could not be fetched/)
      .waitFor()
    await page.getByRole('button', { name: 'Reload' }).waitFor()
    await to('Lists').click()
    await page.getByRole('heading', { name: 'Lists' }).waitFor()
    await to('Policies').click()
    await page.unroute(gone)
    await page.getByRole('button', { name: 'Try again' }).click()
    await page.getByRole('link', { name: 'auth' }).waitFor()
    expect(seen.filter(fault => !fault.includes('code could not be fetched'))).toEqual([])
  })

  test('with the network away the other pages are there: their code came when there was time', async () => {
    const page = await open()
    const last = `performance.getEntriesByType('resource').some(({ name, responseEnd }) => /Fleet-.*js$/.test(name) && responseEnd > 0)`
    await expect.poll(() => page.evaluate(last), { timeout: 15_000 }).toBe(true)
    await page.context().setOffline(true)
    await page.getByRole('navigation', { name: 'pages' }).first().getByRole('link', { name: 'Policies' }).click()
    await page.getByRole('heading', { name: 'Policies' }).waitFor()
  })

  test('what cannot be drawn is told of in its place, and drawn anew from a new answer', async () => {
    const { page, faults: seen } = await pageOf(browser)
    await page.route('**/admin/blocks*', route => route.fulfill({ json: { blocks: [null], total: 1 } }))
    await page.goto(`${server.controlPlane}/dashboard/blocks`)
    await enter(page)
    await page
      .getByRole('alert')
      .getByText(/The dashboard has a fault: /)
      .waitFor()
    await page.unroute('**/admin/blocks*')
    await page.getByRole('button', { name: 'Try again' }).click()
    await page.getByText('Nobody is blocked').waitFor()
    expect(seen.length).toBeGreaterThan(0)
  })

  test('an address that leads nowhere says so, and leads on', async () => {
    const page = await open('/clients/%E0%A4%A')
    // As it is counted: what is no text of the address stays, and is spelt so that it can be typed.
    await page.getByRole('heading', { level: 1 }).getByText('%25E0%25A4%25A').waitFor()
    await page.getByText('%E0%A4%A is counted as').waitFor()
    await page.goto(`${server.controlPlane}/dashboard/none`)
    await page.getByRole('alert').getByText('There is no such page').waitFor()
    await page.getByRole('link', { name: 'Overview' }).last().click()
    await page.getByRole('group', { name: 'active blocks' }).waitFor()
  })

  test.each(['50%', '%2F', 'a/b', 'what?', '#1', 'Zoë 你好', 'two words', 'a%20b', '2001:db8::/64'])(
    'the client %j has a page by its address',
    async client => {
      const { body } = await server.admin('POST', '/admin/blocks', { client, for: '1h' })
      const page = await open(`/clients/${encodeURIComponent(client)}?explain=GET%20%2F50%2525`)
      await page.getByRole('heading', { name: body.block?.client ?? body.client, exact: true }).waitFor()
      await page.getByText(/Blocked: ends in/).waitFor()
      expect(await page.getByLabel('path').inputValue()).toBe('/50%25')
    },
  )
})

test('a page that one comes back to shows its rows', async () => {
  await server.admin('POST', '/admin/blocks', { client: '198.51.100.66', for: '10m' })
  const page = await open()
  // Where nobody asks for anything it is said who is kept out, and no traffic is asked for.
  const clients = page.getByRole('region', { name: 'Clients' })
  await clients.getByRole('link', { name: '1 client is blocked' }).waitFor()
  expect(await clients.getByText('bouncer load').isVisible()).toBe(false)
  const pages = page.getByRole('navigation', { name: 'pages' }).first()
  for (let visit = 0; visit < 2; visit++) {
    await pages.getByRole('link', { name: 'Policies' }).click()
    await page.getByRole('table', { name: 'policies' }).getByRole('link', { name: 'auth' }).waitFor()
    await pages.getByRole('link', { name: 'Blocks' }).click()
    await page.getByRole('table', { name: 'blocks' }).getByRole('link', { name: '198.51.100.66' }).waitFor()
  }
})

test('lists, keys and the audit do what they say', async () => {
  const page = await open('/lists?add=deny&cidr=203.0.113.0/24')
  const dialog = page.getByRole('dialog')
  await dialog.getByText(`bouncer deny add 203.0.113.0/24 --url ${server.controlPlane}`).waitFor()
  await dialog.getByLabel('For', { exact: true }).fill('1h')
  await confirm(page, 'Deny')
  await page
    .getByText(/is on the denylist/)
    .first()
    .waitFor()
  await dialog.waitFor({ state: 'detached' })
  expect(new URL(page.url()).search).toBe('')
  expect((await server.as('203.0.113.9', '/api/data')).status).toBe(403)
  await page.goto(`${server.controlPlane}/dashboard/lists?list=deny`)
  await page.getByRole('button', { name: 'remove 203.0.113.0/24' }).click()
  await confirm(page, 'Remove')
  await page.getByText('Nobody is on the denylist.').waitFor()
  await page.getByText(`bouncer deny add 192.0.2.0/24 --comment why --url ${server.controlPlane}`).waitFor()
  // It is put back for what was left of its time.
  await runs(await offered(page, 'Put it back: '))
  const [entry] = (await server.admin('GET', '/admin/lists')).body.deny
  expect(entry.expiresAt - Date.now()).toBeGreaterThan(3_500_000)
  expect(entry.expiresAt - Date.now()).toBeLessThan(3_601_000)

  await many('198.51.100.50', 3)
  await page.goto(`${server.controlPlane}/dashboard/keys?match=*198.51.100.50*`)
  // What the embedded store does not know of keys has no column.
  const memory = page.getByRole('columnheader', { name: 'Memory' })
  await page.getByRole('columnheader', { name: 'What it is' }).waitFor()
  expect(await memory.isVisible()).toBe(false)
  await page.getByRole('button', { name: /^sliding_window:.*198\.51\.100\.50/ }).click()
  await page.getByRole('button', { name: 'Delete' }).click()
  await page.getByRole('dialog', { name: 'Delete a key' }).getByRole('button', { name: 'Delete' }).click()
  await page.getByText(/^Deleted /).waitFor()
  expect((await server.admin('GET', '/admin/clients/198.51.100.50')).body).toMatchObject({ usage: [{}, {}] })

  await page.goto(`${server.controlPlane}/dashboard/audit`)
  for (const action of ['list.put', 'list.delete', 'key.delete'])
    await page.getByText(action, { exact: true }).first().waitFor()
})

test('where IPv6 is counted by wider networks, one of them is a client that can be blocked', async () => {
  await server.admin('PUT', '/admin/settings', { ipv6Prefix: 48 })
  const page = await open('/blocks?do=block')
  const dialog = page.getByRole('dialog')
  await dialog.getByText('its /48 is blocked').waitFor()
  const client = dialog.getByRole('textbox', { name: 'Client' })
  await client.fill('2001:db8::/32')
  await dialog.getByText('A range cannot be blocked for a time').waitFor()
  await client.fill('2001:db8:1::/48')
  await confirm(page, 'Block')
  await page.getByRole('link', { name: '2001:db8:1::/48' }).waitFor()
})

test('what an operator types is told what it will be, and what the server would refuse is not sent', async () => {
  await server.admin('PUT', '/admin/lists/allow/10.0.0.0%2F8', { comment: 'office' })
  const page = await open('/blocks?do=block')
  const dialog = page.getByRole('dialog')
  const client = dialog.getByRole('textbox', { name: 'Client' })
  await client.fill('999.1.1.1')
  await dialog.getByText('It looks like an address, but is none').waitFor()
  expect(await dialog.getByRole('button', { name: 'Block', exact: true }).isDisabled()).toBe(true)
  await client.fill('a b\u0007c')
  await dialog.getByText('it will be taken as a client id, kept as a%20b%07c').waitFor()
  await confirm(page, 'Block')
  await page.getByRole('link', { name: 'a%20b%07c' }).waitFor()
  await page.getByRole('button', { name: 'unblock a%20b%07c' }).click()
  await confirm(page, 'Unblock')
  await page.getByText('Nobody is blocked').waitFor()
  await runs(await offered(page, 'Block it again: '))
  const { blocks } = (await server.admin('GET', '/admin/blocks')).body
  expect(blocks).toMatchObject([{ client: 'a%20b%07c' }])
  expect(blocks[0].until - Date.now()).toBeLessThan(901_000)
  // No list has such a one.
  await page.getByRole('link', { name: 'a%20b%07c' }).first().click()
  await page.getByRole('heading', { name: 'a%20b%07c' }).waitFor()
  expect(await page.getByRole('button', { name: 'Deny' }).isVisible()).toBe(false)

  await page.goto(`${server.controlPlane}/dashboard/lists?add=deny&cidr=10.1.2.3`)
  await dialog.getByText(/10\.0\.0\.0\/8 is on the allowlist, which wins/).waitFor()
  expect(await dialog.getByRole('button', { name: 'Deny', exact: true }).isDisabled()).toBe(true)
  await dialog.getByLabel('Address or range').fill('10.0.0.0/7')
  await dialog.getByText(/where both hold, the allowlist wins/).waitFor()
  await confirm(page, 'Deny')
  await page.getByText(/10\.0\.0\.0\/7 is on the denylist/).waitFor()
})

test('many are let back in with one question', async () => {
  for (let i = 1; i <= 12; i++) await server.admin('POST', '/admin/blocks', { client: `192.0.2.${i}`, for: '1h' })
  const page = await open('/blocks')
  await page.getByText('12 of 12 in force').waitFor()
  await page.getByLabel('filter').fill('192.0.2.1')
  await page.getByText('4 of 12 in force').waitFor()
  await page.getByLabel('select all').check()
  await page.getByRole('button', { name: 'Unblock 4' }).click()
  await confirm(page, 'Cancel')
  await page.getByRole('dialog').waitFor({ state: 'detached' })
  await page.getByRole('button', { name: 'Unblock 4' }).click()
  await confirm(page, 'Unblock 4')
  await page.getByText('Unblocked 4 clients').waitFor()
  await page.getByLabel('filter').fill('')
  await server.admin('PUT', '/admin/lists/allow/192.0.2.5', {})
  await page.getByText('let in by the allowlist (192.0.2.5): ').waitFor()
  expect(((await server.admin('GET', '/admin/blocks')).body as { blocks: unknown[] }).blocks).toHaveLength(8)

  // Who is let in elsewhere while it is asked stays in the question, and counts as done.
  await page.getByLabel('filter').fill('192.0.2.9')
  await page.getByLabel('select all').check()
  await page.getByRole('button', { name: 'Unblock 1', exact: true }).click()
  await server.admin('POST', '/admin/unblock/192.0.2.9')
  await page.getByText('0 of 7 in force').waitFor()
  await page.getByRole('dialog', { name: 'Unblock 1 client' }).getByText('bouncer unblock 192.0.2.9 ').waitFor()
  await confirm(page, 'Unblock 1')
  await page.getByText('Unblocked 1 client (already let in: 1)').waitFor()
})

test('the keyboard leads everywhere: the palette finds a client', async () => {
  const page = await open()
  await page.keyboard.press('Control+K')
  await page.getByPlaceholder(/A page, a policy/).fill('198.51.100.77')
  await page.getByText('Inspect 198.51.100.77').waitFor()
  await page.keyboard.press('Enter')
  await page.getByRole('heading', { name: '198.51.100.77' }).waitFor()
})

test('the keyboard is enough: through the overview, to the palette, and a client is blocked', async () => {
  await many('198.51.100.77', 106)
  await many('198.51.100.78', 3)
  const page = await open()
  await page
    .getByRole('table', { name: /clients/ })
    .getByRole('link')
    .first()
    .waitFor()
  const passed: string[] = []
  const focused = `(() => {
    const { activeElement: at } = document
    const { outlineStyle } = getComputedStyle(at)
    const name = at.getAttribute('aria-label') ?? (at.textContent.trim() || at.closest('[aria-label]')?.getAttribute('aria-label') || at.tagName)
    return at === document.body ? '' : at.matches(':focus-visible') && outlineStyle !== 'none' || at.type === 'radio' ? name : 'unseen: ' + name
  })()`
  for (let i = 0; i < 60; i++) {
    await page.keyboard.press('Tab')
    const name = (await page.evaluate(focused)) as string
    if (name === '' || (passed.length > 0 && name === passed[0])) break
    passed.push(name)
  }
  expect(passed.filter(name => name.startsWith('unseen'))).toEqual([])
  expect(passed.slice(0, 3)).toEqual(['Skip to the page', 'Overview', 'Clients'])
  for (const name of [
    'Ctrl K: find and do',
    'pause',
    '198.51.100.78',
    'default',
    'events, newest first',
    'unblock 198.51.100.77',
  ])
    expect(passed).toContain(name)

  await page.keyboard.press('Control+K')
  await page.getByPlaceholder(/A page, a policy/).waitFor()
  await page.keyboard.type('198.51.100.79')
  await page.getByText('Block 198.51.100.79', { exact: true }).waitFor()
  await page.keyboard.press('ArrowDown')
  await page.keyboard.press('Enter')
  const dialog = page.getByRole('dialog', { name: 'Block 198.51.100.79' })
  await dialog.getByLabel('Reason').waitFor()
  const label = () => page.evaluate('document.activeElement.labels?.[0]?.textContent')
  for (let i = 0; i < 10 && (await label()) !== 'Reason'; i++) await page.keyboard.press('Tab')
  await page.keyboard.type('by hand')
  await page.keyboard.press('Enter')
  await page.getByText(/Blocked 198\.51\.100\.79 until/).waitFor()
  await dialog.waitFor({ state: 'detached' })
  expect((await server.as('198.51.100.79', '/api/data')).status).toBe(429)
})

test.each([10, -10])('a browser whose clock is %i minutes off tells times by the server’s', async minutes => {
  await server.admin('POST', '/admin/blocks', { client: '192.0.2.9', for: '5m' })
  const opened = await pageOf(browser)
  faults.push(opened.faults)
  await opened.page.addInitScript(`{ const real = Date.now; Date.now = () => real() + ${minutes * 60_000} }`)
  await opened.page.goto(`${server.controlPlane}/dashboard/blocks`)
  await enter(opened.page)
  await opened.page.getByText(/^4m \d\ds$/).waitFor()
})

test('a page tells for how long nobody has touched it, however often it asks', async () => {
  const page = await open('/clients')
  const untouched: number[] = []
  page.on('request', async request => {
    if (request.url().includes('/admin/')) untouched.push(Number(await request.headerValue('x-untouched-ms')))
  })
  await expect.poll(() => untouched.at(-1) ?? 0, { timeout: 15_000 }).toBeGreaterThan(4000)
  await page.keyboard.press('Shift')
  await expect.poll(() => untouched.at(-1), { timeout: 15_000 }).toBeLessThan(3000)
})

test('what came before the page was opened is there, over five minutes, an hour and a day', {
  timeout: 90_000,
}, async () => {
  for (let i = 0; i < 5; i++) await many(`198.51.100.${i}`, 30)
  await expect
    .poll(async () => (await server.admin('GET', '/admin/stats?range=24h')).body.buckets.length, { timeout: 15_000 })
    .toBeGreaterThan(0)
  const page = await open()
  for (const range of ['5m', '1h', '24h']) {
    await page.getByRole('radiogroup', { name: 'range' }).getByText(range, { exact: true }).click()
    const chart = page.getByRole('img', { name: `the last ${range}.` })
    await chart.waitFor()
    // Drawn, not only known: the area of what was allowed has its colour.
    await expect
      .poll(
        () =>
          chart.locator('canvas').evaluate(canvas => {
            const { width, height } = canvas as unknown as { width: number; height: number }
            const context = (
              canvas as unknown as {
                getContext(kind: '2d'): { getImageData(...at: number[]): { data: Uint8ClampedArray } }
              }
            ).getContext('2d')
            const { data } = context.getImageData(0, 0, width, height)
            let coloured = 0
            for (let i = 0; i < data.length; i += 4) {
              const [r = 0, g = 0, b = 0] = data.subarray(i, i + 3)
              if ((data[i + 3] ?? 0) > 200 && Math.max(r, g, b) - Math.min(r, g, b) > 60) coloured++
            }
            return coloured
          }),
        { timeout: 30_000 },
      )
      .toBeGreaterThan(20)
  }
})

test('a network that is gone for a while is told of, and what happened meanwhile stands where it belongs', async () => {
  const page = await open()
  await page.getByText('● live', { exact: true }).waitFor()
  const block = (client: string) => server.admin('POST', '/admin/blocks', { client, for: '1h' })
  const told = page.getByRole('list', { name: /events/ }).getByText(/^blocked 192/)
  await block('192.0.2.1')
  await told.first().waitFor()
  await page.context().setOffline(true)
  await page.getByText('The connection is lost').waitFor()
  await page.getByText(/What is shown is \d+s old/).waitFor()
  await block('192.0.2.2')
  await block('192.0.2.3')
  await page.context().setOffline(false)
  await page.getByText('● live', { exact: true }).waitFor()
  await page.getByText('The connection is lost').waitFor({ state: 'detached' })
  await expect.poll(() => told.count(), { timeout: 15_000 }).toBe(3)
  await block('192.0.2.4')
  await expect.poll(() => told.count(), { timeout: 15_000 }).toBe(4)
  expect((await told.allTextContents()).map(text => /192\S+/.exec(text)?.[0])).toEqual(
    [4, 3, 2, 1].map(n => `192.0.2.${n}`),
  )
  await page.getByRole('group', { name: 'active blocks' }).getByText('4', { exact: true }).waitFor()
})

test('on a Redis Cluster all of it is there: numbers, blocks and keys of every node', { timeout: 90_000 }, async () => {
  const cluster = await startCluster(3)
  // After the server is closed, which would look for its nodes.
  onTestFinished(() => cluster.stop())
  await server.close(0)
  server = await testServer({
    REDIS_CLUSTER_NODES: cluster.endpoints.join(),
    DECISION_DEADLINE: '2s',
    ADMIN_READONLY_TOKEN: VIEWER_TOKEN,
  })
  await expect.poll(() => server.bouncer.health().state, { timeout: 15_000 }).toBe('ok')
  const page = await open()
  await page.getByText('● live', { exact: true }).waitFor()
  const attacker = '198.51.100.20'
  // Longer than this test takes.
  await server.admin('PUT', '/admin/policies/default', {
    policy: { id: 'default', match: '*', limits: [{ limit: 100, window: '1h' }] },
  })
  const answers = await Promise.all(Array.from({ length: 250 }, (_, i) => server.as(`203.0.113.${i}`, '/api/data')))
  expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]))
  expect(await many(attacker, 106)).toBe(429)
  await page.getByRole('group', { name: 'active blocks' }).getByText('1', { exact: true }).waitFor()
  await page.getByRole('group', { name: 'store' }).getByText('Redis · 1 instance').waitFor()
  await page
    .getByRole('table', { name: /clients/ })
    .getByText(attacker)
    .waitFor()

  await page.goto(`${server.controlPlane}/dashboard/blocks`)
  await page.getByText('1 of 1 in force').waitFor()
  await page.getByRole('button', { name: `unblock ${attacker}` }).click()
  await confirm(page, 'Unblock')
  await page.getByText(new RegExp(`Unblocked ${attacker}`)).waitFor()
  expect((await server.as(attacker, '/api/data')).status).toBe(200)

  await page.goto(`${server.controlPlane}/dashboard/keys?match=sliding_window*203.0.113.*`)
  const more = page.getByRole('button', { name: 'More' })
  const shown = async () => {
    // It may be on its way, or gone with the last page.
    if (await more.isVisible()) await more.click({ timeout: 1000 }).catch(() => {})
    return page.getByText(/^\d+ shown/).textContent()
  }
  await expect.poll(shown, { timeout: 30_000 }).toBe('250 shown, that is all')
  await page.getByRole('columnheader', { name: 'Memory' }).waitFor()
})

test('held, the picture stands still and says what it missed', async () => {
  const page = await open()
  await page.getByText('● live', { exact: true }).waitFor()
  await page.getByRole('button', { name: 'pause' }).click()
  await page.getByRole('button', { name: /paused · [2-9] s missed/ }).click()
  await page.getByText('● live', { exact: true }).waitFor()
})

test('when the server goes away the page says so, and is back when it is', async () => {
  const page = await open('/blocks')
  await page.getByText('● live', { exact: true }).waitFor()
  const env = { ADMIN_PORT: new URL(server.controlPlane).port, ADMIN_READONLY_TOKEN: VIEWER_TOKEN }
  await server.close(0)
  await page.getByText('The connection is lost').waitFor()
  server = await testServer(env)
  await server.admin('POST', '/admin/blocks', { client: '192.0.2.44', for: '1h' })
  // Its sessions went with it: who was signed in signs in again, and is where they were.
  await page.getByLabel('Admin token').waitFor()
  await enter(page)
  await page.getByRole('link', { name: '192.0.2.44' }).waitFor()
})

test('when Redis goes away a bar across the top says so, and goes when it is back', async () => {
  const redis = await RedisServer.start()
  await server.close(0)
  server = await testServer({ REDIS_URL: redis.url, ADMIN_READONLY_TOKEN: VIEWER_TOKEN })
  try {
    const page = await open()
    await page.getByText('● live', { exact: true }).waitFor()
    await redis.kill()
    await page.getByText('Degraded: the store gives no answer').waitFor()
    await many('198.51.100.90', 5)
    await page.getByRole('group', { name: 'store' }).getByText('degraded').waitFor()
    await redis.start()
    await page.getByText('Degraded: the store gives no answer').waitFor({ state: 'detached' })
  } finally {
    await redis.stop()
  }
})

/** What every page does not know while Redis is gone. */
const UNKNOWN: Readonly<Record<string, readonly string[]>> = {
  '/': ['what came before this page was opened', 'the policies', 'what happened before'],
  '/clients': ['who asks'],
  '/clients/198.51.100.20': [
    'how it stands',
    'its requests',
    'what it has used',
    'its violations and blocks',
    'its last refusals',
  ],
  '/blocks': ['who is blocked'],
  '/lists': ['who is on the allowlist'],
  '/policies': ['the policies'],
  '/policies/auth': ['the policies'],
  '/keys': ['the keys'],
  '/audit': ['who changed what'],
  '/fleet': ['other instances'],
}

test.each(['killed', 'frozen'] as const)(
  'opened while Redis is %s every page says what it does not know and why, and knows it once Redis is back',
  { timeout: 120_000 },
  async how => {
    const redis = await RedisServer.start()
    onTestFinished(() => redis.stop())
    await server.close(0)
    server = await testServer({ REDIS_URL: redis.url, ADMIN_READONLY_TOKEN: VIEWER_TOKEN })
    // What a doctor needs to have seen.
    await many('198.51.100.20', 1)
    const page = await open()
    await page.getByText('● live', { exact: true }).waitFor()
    if (how === 'killed') await redis.kill()
    else redis.freeze()
    onTestFinished(() => redis.thaw())
    await page.getByText('Degraded: the store gives no answer').waitFor()
    const tabs: [string, Page][] = []
    for (const path of Object.keys(UNKNOWN)) {
      const tab = await page.context().newPage()
      await tab.goto(`${server.controlPlane}/dashboard${path}`)
      tabs.push([path, tab])
    }
    for (const [path, tab] of tabs) {
      for (const what of UNKNOWN[path] ?? []) await tab.getByText(`Unknown: ${what}.`).waitFor()
      const text = (await tab.evaluate('document.querySelector("main").innerText')) as string
      if (path !== '/fleet') expect(text, path).toContain('Asked again every few seconds.')
      // Nothing that is not known is told to be empty.
      expect(text, path).not.toMatch(
        /Nobody|Nothing (is|has happened)|No (?!answer)|none in|Quiet|that is all|not blocked/,
      )
    }
    if (how === 'killed') await redis.start()
    else redis.thaw()
    for (const [path, tab] of tabs) {
      await tab.bringToFront()
      await expect
        .poll(() => tab.getByText(/unknown/i).allTextContents(), { timeout: 20_000, message: path })
        .toEqual([])
    }
  },
)

const PAGES = [
  '/',
  '/clients',
  '/clients/198.51.100.20',
  '/blocks',
  '/lists',
  '/policies',
  '/policies/auth',
  '/keys',
  '/audit',
  '/fleet',
]

test.each(['light', 'dark'] as const)(
  'every page is accessible in the %s theme, and fits 360 pixels',
  { timeout: 90_000 },
  async colorScheme => {
    await many('198.51.100.20', 106)
    await server.admin('PUT', '/admin/lists/allow/10.0.0.0%2F8', { comment: 'office' })
    await server.admin('PUT', '/admin/policies/auth', {
      policy: { id: 'auth', match: '/auth/*', limits: [{ limit: 1000, window: '1h' }] },
    })
    const page = await open('/', { colorScheme })
    const found: string[] = []
    for (const path of PAGES) {
      await page.goto(`${server.controlPlane}/dashboard${path}`)
      await page.getByRole('heading', { level: 1 }).waitFor({ state: 'attached' })
      await page.getByText('● live', { exact: true }).waitFor()
      found.push(...(await violationsOf(page)).map(one => `${path} ${one}`))
      await page.setViewportSize({ width: 360, height: 800 })
      const wide = await page.evaluate('document.documentElement.scrollWidth')
      if (wide !== 360) found.push(`${path} is ${wide} wide at 360`)
      const cut = await page.evaluate(
        `['counters', 'history'].filter(name => { const box = document.querySelector('table[aria-label="' + name + '"]')?.closest('.scroll'); return box && box.scrollWidth > box.clientWidth })`,
      )
      found.push(...(cut as string[]).map(name => `${path} ${name} is cut at 360`))
      // Routes stand at the end of what happened.
      const clipped = await page.evaluate(
        `[...document.querySelectorAll('.event > .foreign, .scroll:has(> .evidence)')].filter(one => one.scrollWidth > one.clientWidth).map(one => one.textContent)`,
      )
      found.push(...(clipped as string[]).map(text => `${path} clips at 360: ${text}`))
      if (!(await page.getByRole('button', { name: /find and do/ }).isVisible()))
        found.push(`${path} hides the palette`)
      await page.setViewportSize({ width: 1280, height: 800 })
    }
    expect(found).toEqual([])
  },
)
