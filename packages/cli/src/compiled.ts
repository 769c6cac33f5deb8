import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { Script } from 'node:vm'
import type * as commands from './commands.ts'

/**
 * Stands in the bundle for `commands.ts`: all of it as one script rather than as modules. Only of a script V8 takes what it
 * compiled before, and compiling is a third of a start. That lies beside it; another version of Node compiles anew.
 */
const file = new URL('./commands.cjs', import.meta.url)

function compiledBefore(): Buffer | undefined {
  try {
    return readFileSync(new URL('./commands.cache', import.meta.url))
  } catch {
    return undefined
  }
}

// ASCII, as esbuild writes it.
export const script = new Script(readFileSync(file, 'latin1'), {
  filename: fileURLToPath(file),
  cachedData: compiledBefore(),
})
const module = { exports: {} as typeof commands }
// A script that was compiled before cannot import by itself.
const bring = (name: string) => import(new URL(name, import.meta.url).href)
script.runInThisContext()(module, createRequire(file), file.href, bring)
export const { run, loadAll } = module.exports
