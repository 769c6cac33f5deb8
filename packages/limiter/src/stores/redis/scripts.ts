import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { AlgorithmId } from '../../contracts/index.ts'

/** Lua stays Lua: read from beside its TypeScript, in `src` from both `src` and `dist`. */
const read = (path: string) => readFileSync(new URL(`../../../src/${path}`, import.meta.url), 'utf8')

export interface Script {
  readonly text: string
  readonly sha: string
}

export const script = (text: string): Script => ({ text, sha: createHash('sha1').update(text).digest('hex') })

/** A script of stores/redis by its file name. */
export const loadScript = (name: string): Script => script(read(`stores/redis/${name}.lua`))

const room = (id: AlgorithmId) => id.replaceAll('_', '-')
const thunk = (path: string) => `function()\n${read(path)}end`

/** Algorithms that have a quicker way for one unit of one limit, which is what nearly every check asks. */
const ONES: readonly AlgorithmId[] = ['sliding_window']

const composed = new Map<string, Script>()

/**
 * A script with just the algorithms that it needs, so that a batch loads nothing it does not run. It finds them as
 * `algorithms.NAME()`, and the quick ones as `ones.NAME`.
 */
export function composeScript(name: 'check' | 'refund', algorithms: readonly AlgorithmId[]): Script {
  const ids = algorithms.length === 1 ? algorithms : [...new Set(algorithms)].sort()
  const key = ids.length === 1 ? `${name} ${ids[0]}` : `${name} ${ids.join(' ')}`
  let made = composed.get(key)
  if (!made) {
    const rooms = ids.map(id => `algorithms.${id} = ${thunk(`algorithms/${room(id)}/${room(id)}.lua`)}\n`)
    const ones = ids
      .filter(id => ONES.includes(id))
      .map(id => `ones.${id} = (${thunk(`algorithms/${room(id)}/one.lua`)})()\n`)
    const log = `local log = (${thunk('algorithms/sliding-window/log.lua')})()\n`
    made = script(
      `${log}local algorithms, ones = {}, {}\n${rooms.join('')}${ones.join('')}${read(`stores/redis/${name}.lua`)}`,
    )
    composed.set(key, made)
  }
  return made
}

const fences = new WeakMap<Script, Script>()

/** The same script behind a deadline, which becomes its first argument. */
export function fenced(inner: Script): Script {
  let made = fences.get(inner)
  if (!made) {
    made = script(`${read('stores/redis/fence.lua')}${inner.text}`)
    fences.set(inner, made)
  }
  return made
}

/** The same script on a clock that runs ahead of Redis' own: the store's injectable clock. */
export function onShiftedClock({ text }: Script, shiftUs: number): Script {
  return script(`local server = redis
local redis = { call = function(command, ...)
  local reply = server.call(command, ...)
  if command ~= 'TIME' then return reply end
  local us = reply[1] * 1000000 + reply[2] + ${shiftUs}
  return { math.floor(us / 1000000), us % 1000000 }
end }
${text}`)
}
