/**
 * Puts the command line into few files, so that `bouncer unblock` starts in a third of the time. Built when that was never done,
 * by another Node, or one of its inputs is newer; without it the command runs from source.
 */
import { readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import type { BuildOptions, Plugin } from 'esbuild'

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

/** They are one script, which `compiled.ts` runs. */
const compiled: Plugin = {
  name: 'compiled',
  setup(build) {
    build.onResolve({ filter: /^\.\/commands\.ts$/ }, () => ({ path: './compiled.js', external: true }))
  },
}

/** They are brought from outside of the script. */
const screens: Plugin = {
  name: 'screens',
  setup(build) {
    build.onLoad({ filter: /[\\/]cli[\\/]src[\\/]screens\.ts$/ }, ({ path }) => ({
      contents: readFileSync(path, 'utf8').replace(/import\('\.\/ui\/(\w+)\.tsx'\)/g, "bring('./$1.js')"),
    }))
  },
}

/** The first of two that were added, since taking the last one back would only undo its adding. */
const AS_TABLE =
  'Commander.prototype.a = 0; Commander.prototype.b = 0; delete Commander.prototype.a; delete Commander.prototype.b'

/**
 * ioredis gives a prototype a thousand methods one by one, and each time V8 copies what is there. Of one that has lost a
 * property V8 makes a table, in which adding is adding: 40 ms less.
 */
const commander: Plugin = {
  name: 'commander',
  setup(build) {
    build.onLoad({ filter: /[\\/]ioredis[\\/]built[\\/]utils[\\/]Commander\.js$/ }, ({ path }) => {
      const [before, after, ...rest] = readFileSync(path, 'utf8').split('commands.forEach(')
      if (after === undefined || rest.length > 0) throw new Error('ioredis adds its commands in another way now')
      return { contents: `${before}\n${AS_TABLE}\ncommands.forEach(${after}` }
    })
  },
}

const writtenAt = (path: string) => statSync(path, { throwIfNoEntry: false })?.mtimeMs

function isFresh(): boolean {
  const builtAt = writtenAt(INPUTS)
  if (builtAt === undefined) return false
  const { node, inputs } = JSON.parse(readFileSync(INPUTS, 'utf8')) as { node?: string; inputs?: string[] }
  if (node !== process.version || !inputs) return false
  return inputs.every(path => (writtenAt(join(ROOT, path)) ?? Number.POSITIVE_INFINITY) <= builtAt)
}

try {
  if (!isFresh()) {
    const { build } = await import('esbuild')
    // Aside, so that a command that starts now has a whole one.
    const fresh = `${BUNDLE}-${process.pid}`
    const common: BuildOptions = {
      absWorkingDir: ROOT,
      outdir: fresh,
      bundle: true,
      metafile: true,
      platform: 'node',
      target: 'node20',
      // Not the names: of some errors and classes they are read.
      minifySyntax: true,
      minifyWhitespace: true,
      conditions: ['@api-bouncer/source'],
      logLevel: 'error',
    }
    const built = await Promise.all([
      build({
        ...common,
        entryPoints: { commands: 'packages/cli/src/commands.ts' },
        outExtension: { '.js': '.cjs' },
        format: 'cjs',
        // One expression, as compiled.ts calls it.
        banner: { js: '(function (module, require, here, bring) {' },
        footer: { js: '})' },
        define: { 'import.meta.url': 'here' },
        plugins: [lua, commander, screens],
        // `require` does.
        supported: { 'dynamic-import': false },
      }),
      // What is a module all the same: the start, what draws with ink (which has a top-level await), a thread's own file.
      build({
        ...common,
        entryPoints: ['main.ts', 'compiled.ts', 'ui/load.tsx', 'ui/top.tsx', 'load/worker.ts'].map(
          path => `packages/cli/src/${path}`,
        ),
        entryNames: '[name]',
        splitting: true,
        format: 'esm',
        // ink's, for who debugs ink.
        external: ['react-devtools-core'],
        // What was CommonJS asks for Node's own modules by `require`.
        banner: {
          js: "import { createRequire as bundled } from 'node:module'; const require = bundled(import.meta.url);",
        },
        plugins: [compiled],
      }),
    ])
    const { script, loadAll } = await import(pathToFileURL(join(fresh, 'compiled.js')).href)
    await loadAll()
    writeFileSync(join(fresh, 'commands.cache'), script.createCachedData())
    const inputs = [
      ...new Set(built.flatMap(({ metafile }) => Object.keys(metafile?.inputs ?? {}))),
      ...luaFiles().map(path => `packages/limiter/src/${path}`),
      'scripts/build-cli.ts',
    ]
    writeFileSync(join(fresh, 'inputs.json'), JSON.stringify({ node: process.version, inputs }))
    rmSync(BUNDLE, { recursive: true, force: true })
    renameSync(fresh, BUNDLE)
  }
} catch (error) {
  rmSync(BUNDLE, { recursive: true, force: true })
  process.stderr.write(`command line: not bundled (${(error as Error).message}); it starts from source, slower\n`)
}
