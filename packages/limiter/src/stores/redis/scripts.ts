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
const chunk = (path: string) => `(function()\n${read(path)}end)()\n`

const composed = new Map<string, Script>()

/** A script with just the algorithms that it needs, so that a batch loads nothing it does not run. */
export function composeScript(name: 'check' | 'refund', algorithms: Iterable<AlgorithmId>): Script {
  const ids = [...new Set(algorithms)].sort()
  const key = `${name} ${ids.join(' ')}`
  let made = composed.get(key)
  if (!made) {
    const rooms = ids.map(id => `algorithms.${id} = ${chunk(`algorithms/${room(id)}/${room(id)}.lua`)}`).join('')
    const log = `local log = ${chunk('algorithms/sliding-window/log.lua')}`
    made = script(`${log}local algorithms = {}\n${rooms}${read(`stores/redis/${name}.lua`)}`)
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
