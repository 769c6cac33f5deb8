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
/** Comments are for people: they need not be sent, nor kept by every server. */
const code = (path: string) => read(path).replaceAll(/^ *--.*\n| +-- .*$/gm, '')
/** A function that returns what the file returns: what is not called costs next to nothing. */
const thunk = (path: string) => `function()\n${code(path)}end`
const log = thunk('algorithms/sliding-window/log.lua')
const violator = thunk('stores/redis/violate.lua')
const algorithm = (id: AlgorithmId) => thunk(`algorithms/${room(id)}/${room(id)}.lua`)
const one = (id: AlgorithmId) => code(`algorithms/${room(id)}/one.lua`)

const ONES: readonly AlgorithmId[] = ['sliding_window']

/** Whether an algorithm has a quicker way for one unit of one limit, which is what nearly every check asks. */
export const hasOne = (id: AlgorithmId): boolean => ONES.includes(id)

type Composed = 'check' | 'refund'

const composed: Record<Composed, Map<string, Script>> = { check: new Map(), refund: new Map() }

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
  const algorithms = ids.map(id => `${id} = ${algorithm(id)}`)
  const ones = ids.filter(hasOne).map(
    id => `${id} = function(key, now, nowText, limit, window, ttl)
local allowed, remaining, reset
${one(id)}return allowed, remaining, reset
end`,
  )
  return script(`local made
local function log()
made = made or (${log})()
return made
end
local call = redis.call
local algorithms = {
${algorithms.join(',\n')}
}
local ones = {
${ones.join(',\n')}
}
local violator = ${violator}
${code(`stores/redis/${name}.lua`)}`)
}

/** What solo.lua knows of a policy of one limit. */
export interface Solo {
  readonly prefix: string
  readonly shadow: boolean
  readonly limit: number
  /** µs */
  readonly window: number
  /** ms */
  readonly ttl: number
  readonly penalty: string
}

/**
 * The script that decides one check of one policy: its numbers are part of the text, since every argument costs more than
 * it looks, and nothing is made that only a refusal needs. Redis keeps one such script (about 6.5 KB) for each version of a policy that it
 * was asked about since its start.
 */
export function composeSolo(id: AlgorithmId, policy: Solo): Script {
  const constants = Object.entries(policy)
  const names = constants.map(([name]) => name).join(', ')
  const values = constants.map(([, value]) => (typeof value === 'string' ? quote(value) : value)).join(', ')
  const inPlace = code('stores/redis/solo.lua')
    .replace('one()', () => one(id))
    .replace('algorithm()', () => `(${algorithm(id)})()`)
    .replaceAll('violator()', () => `(${violator})()`)
    .replaceAll('log()', () => `(${log})()`)
  return script(`local ${names} = ${values}\n${inPlace}`)
}

/** Text as Lua reads it; there is no control character in it. */
const quote = (text: string) => `"${text.replaceAll(/[\\"]/g, '\\$&')}"`

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
