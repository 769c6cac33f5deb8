import { createHash } from 'node:crypto'
import type { AlgorithmId } from '../../contracts/index.ts'
import { readLua as read } from './lua.ts'

export interface Script {
  readonly text: string
  readonly sha: string
}

export const script = (text: string): Script => ({ text, sha: createHash('sha1').update(text).digest('hex') })

/** A script of stores/redis by its file name. */
export const loadScript = (name: string): Script => script(read(`stores/redis/${name}.lua`))

const room = (id: AlgorithmId) => id.replaceAll('_', '-')
/** A function that returns what the file returns: what is not called costs next to nothing. */
const thunk = (path: string) => `function()\n${read(path)}end`

const ONES: readonly AlgorithmId[] = ['sliding_window']

/** Whether an algorithm has a quicker way for one unit of one limit, which is what nearly every check asks. */
export const hasOne = (id: AlgorithmId): boolean => ONES.includes(id)

type Composed = 'check' | 'solo' | 'refund'

const composed: Record<Composed, Map<string, Script>> = { check: new Map(), solo: new Map(), refund: new Map() }

/**
 * A script with just the algorithms that it needs, so that a batch loads nothing it does not run. It finds them as
 * `algorithms.NAME()`, the quick ones as `ones.NAME`, and how to count a violation as `violator()`.
 */
export function composeScript(name: Composed, algorithms: readonly AlgorithmId[]): Script {
  const ids = algorithms.length === 1 ? algorithms : [...new Set(algorithms)].sort()
  // No key is put together for what is asked all the time.
  const key = ids.length === 1 ? (ids[0] as string) : ids.join(' ')
  let made = composed[name].get(key)
  if (!made) {
    made = compose(name, ids)
    composed[name].set(key, made)
  }
  return made
}

function compose(name: Composed, ids: readonly AlgorithmId[]): Script {
  const file = (id: AlgorithmId, part: string) => thunk(`algorithms/${room(id)}/${part}.lua`)
  const table = (rows: readonly string[]) => `{\n${rows.join(',\n')}\n}`
  // A lone check that is asked the quick way needs no other.
  const whole = name === 'solo' ? [] : ids.map(id => `${id} = ${file(id, room(id))}`)
  return script(`local made
local function log()
made = made or (${file('sliding_window', 'log')})()
return made
end
local algorithms = ${table(whole)}
local ones = ${table(ids.filter(hasOne).map(id => `${id} = (${file(id, 'one')})()`))}
local violator = ${thunk('stores/redis/violate.lua')}
${read(`stores/redis/${name}.lua`)}`)
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
