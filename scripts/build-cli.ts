/**
 * Puts the command line into few files, so that `bouncer unblock` starts in half the time. Built when that was never done or one
 * of its inputs is newer; without it the command runs from source.
 */
import { readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Plugin } from 'esbuild'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const BUNDLE = join(ROOT, 'packages/cli/bundle')
const INPUTS = join(BUNDLE, 'inputs.json')
const LIMITER = join(ROOT, 'packages/limiter/src')

/** The Redis scripts, by their path below the limiter's sources. */
const luaFiles = () => readdirSync(LIMITER, { recursive: true, encoding: 'utf8' }).filter(path => path.endsWith('.lua'))

/** In place of the module that reads them from disk. */
const lua: Plugin = {
  name: 'lua',
  setup(build) {
    build.onLoad({ filter: /[\\/]stores[\\/]redis[\\/]lua\.ts$/ }, () => {
      const texts = luaFiles().map(path => [path.replaceAll('\\', '/'), readFileSync(join(LIMITER, path), 'utf8')])
      return {
        contents: `const texts = ${JSON.stringify(Object.fromEntries(texts))}\nexport const readLua = path => texts[path]`,
        watchFiles: luaFiles().map(path => join(LIMITER, path)),
      }
    })
  },
}

const writtenAt = (path: string) => statSync(path, { throwIfNoEntry: false })?.mtimeMs

function isFresh(): boolean {
  const builtAt = writtenAt(INPUTS)
  if (builtAt === undefined) return false
  const inputs = JSON.parse(readFileSync(INPUTS, 'utf8')) as string[]
  return inputs.every(path => (writtenAt(join(ROOT, path)) ?? Number.POSITIVE_INFINITY) <= builtAt)
}

try {
  if (!isFresh()) {
    const { build } = await import('esbuild')
    // Aside, so that a command that starts now has a whole one.
    const fresh = `${BUNDLE}-${process.pid}`
    const { metafile } = await build({
      absWorkingDir: ROOT,
      entryPoints: { main: 'packages/cli/src/main.ts', worker: 'packages/cli/src/load/worker.ts' },
      outdir: fresh,
      bundle: true,
      splitting: true,
      metafile: true,
      format: 'esm',
      platform: 'node',
      target: 'node20',
      minify: true,
      keepNames: true,
      conditions: ['@api-bouncer/source'],
      // ink's, for who debugs ink.
      external: ['react-devtools-core'],
      // What was CommonJS asks for Node's own modules by `require`.
      banner: {
        js: "import { createRequire as bundled } from 'node:module'; const require = bundled(import.meta.url);",
      },
      plugins: [lua],
      logLevel: 'error',
    })
    const inputs = [...Object.keys(metafile.inputs), ...luaFiles().map(path => `packages/limiter/src/${path}`)]
    writeFileSync(join(fresh, 'inputs.json'), JSON.stringify(inputs))
    rmSync(BUNDLE, { recursive: true, force: true })
    renameSync(fresh, BUNDLE)
  }
} catch (error) {
  rmSync(BUNDLE, { recursive: true, force: true })
  process.stderr.write(`command line: not bundled (${(error as Error).message}); it starts from source, slower\n`)
}
