import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterEach, describe, expect, it } from 'vitest'
import { endAll, ROOT, run, temporaryFolder } from './testing.fixture.ts'

afterEach(endAll)

const TSX = pathToFileURL(join(ROOT, 'node_modules/tsx/dist/loader.mjs')).href

/** A repository with a dashboard whose build takes no time, and is as broken as its `build.mjs`. */
function repository(build: string): string {
  const root = temporaryFolder()
  const folder = join(root, 'packages/dashboard')
  mkdirSync(join(folder, 'src'), { recursive: true })
  mkdirSync(join(root, 'scripts'))
  mkdirSync(join(root, 'node_modules'))
  cpSync(join(ROOT, 'scripts/build-dashboard.ts'), join(root, 'scripts/build-dashboard.ts'))
  const json = (path: string, value: object) => writeFileSync(join(root, path), JSON.stringify(value))
  json('package.json', { name: 'root', type: 'module', workspaces: ['packages/*'] })
  json('packages/dashboard/package.json', { name: 'dashboard', scripts: { build: 'node build.mjs' } })
  writeFileSync(join(folder, 'index.html'), '')
  writeFileSync(join(folder, 'src/main.tsx'), '')
  writeFileSync(join(folder, 'build.mjs'), build)
  return root
}

const BUILDS = `import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
const out = process.argv[process.argv.indexOf('--outDir') + 1]
mkdirSync(out, { recursive: true })
writeFileSync(out + '/index.html', 'built of ' + readFileSync('src/main.tsx'))`

async function start(root: string): Promise<{ code: number | null; said: string }> {
  const process = run(globalThis.process.execPath, ['--import', TSX, 'scripts/build-dashboard.ts'], {}, root)
  const { code } = await process.exited
  return { code, said: process.output().stderr }
}

describe('what runs before npm start', () => {
  it('builds the dashboard when it was never built or its sources are newer, and says so in a line', async () => {
    const root = repository(BUILDS)
    const page = join(root, 'packages/dashboard/dist/index.html')
    expect(await start(root)).toEqual({ code: 0, said: expect.stringMatching(/^dashboard: not built yet; .*\n$/) })
    expect(readFileSync(page, 'utf8')).toBe('built of ')
    expect(await start(root)).toEqual({ code: 0, said: '' })
    const source = join(root, 'packages/dashboard/src/main.tsx')
    writeFileSync(source, 'this')
    const later = statSync(page).mtimeMs / 1000 + 1
    utimesSync(source, later, later)
    expect((await start(root)).said).toMatch(/^dashboard: its sources have changed; .*\n$/)
    expect(readFileSync(page, 'utf8')).toBe('built of this')
  })

  it('stops no start when that fails: it says why, and what was built before stays', async () => {
    const root = repository(`console.error('no such thing'); process.exit(1)`)
    const { code, said } = await start(root)
    expect(code).toBe(0)
    expect(said).toMatch(/no such thing\ndashboard: not built; the server starts without it\n$/)
    expect(existsSync(join(root, 'packages/dashboard/dist'))).toBe(false)
  })

  it('has nothing to say where there is no dashboard', async () => {
    const root = repository(BUILDS)
    rmSync(join(root, 'packages/dashboard'), { recursive: true })
    expect(await start(root)).toEqual({ code: 0, said: '' })
  })
})
