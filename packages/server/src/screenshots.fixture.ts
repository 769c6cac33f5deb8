/**
 * Takes docs/screenshots: every page of the dashboard, light, dark and narrow, of a real server under a real attack.
 * Needs Chromium, as the tests do (npm test finds or installs it).
 */
import { spawn } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { enter, launch, pageOf } from './browser.fixture.ts'
import { TOKEN, testServer } from './testing.fixture.ts'

const at = (path: string) => fileURLToPath(new URL(`../../../${path}`, import.meta.url))
const OUT = at('docs/screenshots')

const PAGES = [
  ['overview', '/'],
  ['clients', '/clients'],
  ['client', '/clients/198.18.0.20?explain=GET%20%2Fapi%2Fdata'],
  ['blocks', '/blocks'],
  ['lists', '/lists'],
  ['policies', '/policies'],
  ['policy', '/policies/auth'],
  ['keys', '/keys'],
  ['audit', '/audit'],
  ['fleet', '/fleet'],
] as const
const LOOKS = [
  ['light', { colorScheme: 'light', viewport: { width: 1440, height: 900 } }],
  ['dark', { colorScheme: 'dark', viewport: { width: 1440, height: 900 } }],
  ['narrow', { colorScheme: 'light', viewport: { width: 360, height: 800 } }],
] as const

const server = await testServer({ INSTANCE: 'api-1' })
await server.admin('PUT', '/admin/lists/allow/10.0.0.0%2F8', { comment: 'office' })
await server.admin('PUT', '/admin/policies/login-v2', {
  policy: { id: 'login-v2', match: '/api/*', limits: [{ limit: 60, window: '1m' }], mode: 'shadow' },
})
// People for as long as it takes, and among them two who do not take no for an answer.
const load = spawn(
  process.execPath,
  [
    ...[at('packages/cli/bin/bouncer.js'), '--url', server.controlPlane, 'load', '--keep', '--rps', '60'],
    ...['--clients', '20', '--attackers', '0.1', '--duration', '10m', '/api/data'],
  ],
  { env: { ...process.env, BOUNCER_TOKEN: TOKEN }, stdio: 'ignore' },
)
await new Promise(resolve => setTimeout(resolve, 25_000))

mkdirSync(OUT, { recursive: true })
const browser = await launch()
for (const [look, options] of LOOKS) {
  const { page } = await pageOf(browser, options)
  await page.goto(`${server.controlPlane}/dashboard/`)
  await enter(page)
  for (const [name, path] of PAGES) {
    await page.goto(`${server.controlPlane}/dashboard${path}`)
    await page.getByText('● live', { exact: true }).waitFor()
    // Until what is live has come in.
    await page.waitForTimeout(2500)
    await page.screenshot({ path: `${OUT}/${name}-${look}.png` })
  }
  await page.context().close()
}
await browser.close()
load.kill()
await server.close(0)
