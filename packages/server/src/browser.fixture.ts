/** A real browser on a real control plane; whatever goes wrong in the page fails the test. */
import { accessSync, constants } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { delimiter, join } from 'node:path'
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core'
import { TOKEN } from './testing.fixture.ts'

const NAMES = ['chromium', 'chromium-browser', 'google-chrome']

function executable(): string {
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    for (const name of NAMES) {
      try {
        accessSync(join(folder, name), constants.X_OK)
        return join(folder, name)
      } catch {}
    }
  }
  throw new Error('no Chromium here: npm test finds or installs it')
}

export const launch = (): Promise<Browser> =>
  chromium.launch({
    executablePath: executable(),
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  })

/** A page of its own; `faults` is what must stay empty. */
export async function pageOf(
  browser: Browser,
  options: BrowserContextOptions = {},
): Promise<{ page: Page; faults: string[] }> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options })
  const page = await context.newPage()
  page.setDefaultTimeout(15_000)
  const faults: string[] = []
  page.on('pageerror', error => faults.push(`error: ${error.message}`))
  page.on('dialog', dialog => {
    faults.push(`dialog: ${dialog.message()}`)
    void dialog.dismiss()
  })
  page.on('console', message => {
    const text = message.text()
    // A request that was refused or met nobody is no fault of the page.
    if (message.type() === 'error' && !/Failed to load resource|WebSocket connection|ERR_CONNECTION/.test(text)) {
      faults.push(`console: ${text}`)
    }
  })
  page.on('request', request => {
    if (new URL(request.url()).hostname !== '127.0.0.1') faults.push(`third party: ${request.url()}`)
  })
  return { page, faults }
}

/** Signs in on the page that asks for it. */
export async function enter(page: Page, token = TOKEN): Promise<void> {
  await page.getByLabel('Admin token').fill(token)
  await page.getByRole('button', { name: 'Sign in' }).click()
}

const AXE = createRequire(import.meta.url).resolve('axe-core/axe.min.js')

/** What axe has against the page, in words. */
export async function violationsOf(page: Page): Promise<string[]> {
  // The page's policy lets no foreign script in; a debugger may.
  await page.evaluate(await readFile(AXE, 'utf8'))
  const found = (await page.evaluate('axe.run(document, { resultTypes: ["violations"] })')) as {
    violations: { id: string; help: string; nodes: { html: string; failureSummary: string }[] }[]
  }
  return found.violations.map(({ id, nodes }) => {
    const [first] = nodes
    return `${id}: ${first?.html.slice(0, 160)} (${nodes.length}) ${first?.failureSummary.replaceAll('\n', ' ').slice(0, 220)}`
  })
}
