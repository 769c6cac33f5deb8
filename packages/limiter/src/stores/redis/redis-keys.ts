import { createHash } from 'node:crypto'
import { Cluster, type Redis } from 'ioredis'
import { blockSchema, type KeyInfo, refusalSchema } from '../../contracts/index.ts'
import type { KeyBrowser } from '../../control/keys.ts'
import { type Connection, OPERATOR_MS } from './connection.ts'
import { withTimeout } from './evaluate.ts'
import type { Keys } from './keys.ts'

/** A page stops looking after this time, however little it has found: its cursor goes on from there. */
const BUDGET_MS = 250
const SCAN_COUNT = 500

const counted = (n: number, one: string, many = `${one}s`) => `${n} ${n === 1 ? one : many}`

const time = (us: number) => new Date(us / 1000).toISOString()

/** What kind of key it is, by its name. */
function kindOf(key: string, prefix: string): string {
  const parts = /^:([a-z_]+):\{(.*)\}(?::(.+):([^:]+))?$/.exec(key.slice(prefix.length))
  if (!parts) {
    const [, name] = /^:\{control\}:(.+)$/.exec(key.slice(prefix.length)) ?? []
    if (name === undefined) return 'unknown'
    const [, step, start] = /^stats:(\d+s):(\d+)$/.exec(name) ?? []
    return start === undefined ? `control state: ${name}` : `all requests in ${step} from ${time(Number(start) * 1e6)}`
  }
  const [, what, client, policy, window] = parts
  if (what === 'history') return `requests by the minute of ${client}`
  return policy === undefined ? `${what} of ${client}` : `${what} of ${client} under ${policy} (${window})`
}

/** A pattern for our names: over all of a name, or over what follows the prefix. */
const patternOf = (match: string, prefix: string) =>
  (match.startsWith('*') && match !== '*') || match.startsWith(`${prefix}:`) ? match : `${prefix}:${match}`

/** `NODE:CURSOR`, the node of a Cluster and its SCAN's cursor, and `:DIGEST` of the last one that a page took of a SCAN. */
function readCursor(cursor: string) {
  const [node = '0', at = '0', after = ''] = cursor.split(':')
  return { node: Number(node), at, after }
}

const digestOf = (name: string) => createHash('sha1').update(name).digest('hex').slice(0, 16)

/** A value that is JSON or counts, in words. */
function valueWords(kind: string, text: string): string | undefined {
  if (kind !== 'block') return undefined
  try {
    const { until, reason, by, offence } = blockSchema.parse(JSON.parse(text))
    return `until ${time(until * 1000)}, ${reason}, by ${by}${offence > 1 ? `, offence ${offence}` : ''}`
  } catch {
    return undefined
  }
}

function hashWords(kind: string, length: number, fields: Readonly<Record<string, string>>): string | undefined {
  if (kind === 'client') {
    const { offences, offences_until: until, grace_until: grace } = fields
    const says = [
      ...(offences && until
        ? [`${counted(Number(offences), 'offence')}, remembered until ${time(Number(until))}`]
        : []),
      ...(grace ? [`not blocked for violations until ${time(Number(grace))}`] : []),
    ]
    return says.length > 0 ? says.join('; ') : undefined
  }
  const minutes = Object.keys(fields).map(Number)
  if (kind !== 'history' || minutes.some(Number.isNaN) || minutes.length === 0) return undefined
  const newest = Math.max(...minutes)
  return `${counted(length, 'minute')}, the newest ${time(newest * 60e6)}: ${fields[newest]}`
}

function listWords(kind: string, length: number, first: string | undefined): string | undefined {
  if (kind !== 'refusals' || first === undefined) return undefined
  try {
    const { at, policy, route, limit } = refusalSchema.parse(JSON.parse(first))
    return `the last ${length}, the newest ${time(at * 1000)}: ${route} under ${policy}, over ${limit}`
  } catch {
    return undefined
  }
}

/** Pages the keys of our prefix and says in words what each holds. Never KEYS, never an unbounded SCAN. */
export function redisKeys({ commands }: Connection, keys: Keys): KeyBrowser {
  const servers = (): Redis[] => (commands instanceof Cluster ? commands.nodes('master') : [commands])

  async function describe(key: string): Promise<KeyInfo | undefined> {
    const [type, ttlMs, bytes] = await Promise.all([
      commands.type(key),
      commands.pttl(key),
      commands.memory('USAGE', key),
    ])
    if (type === 'none') return undefined
    const what = /^:([a-z_]+):\{/.exec(key.slice(keys.prefix.length))?.[1] ?? ''
    const { value, says } = await read(key, type, what)
    return {
      key,
      type,
      words: `${kindOf(key, keys.prefix)}: ${says}`,
      value,
      ...(ttlMs >= 0 && { ttlMs }),
      ...(typeof bytes === 'number' && { bytes }),
    }
  }

  async function read(key: string, type: string, kind: string): Promise<{ value: unknown; says: string }> {
    switch (type) {
      case 'string': {
        const text = (await commands.get(key)) ?? ''
        return { value: text, says: valueWords(kind, text) ?? text.slice(0, 200) }
      }
      case 'list': {
        const [length, first, last] = await Promise.all([
          commands.llen(key),
          commands.lindex(key, 0),
          commands.lindex(key, -1),
        ])
        if (first?.startsWith('{')) {
          const says = listWords(kind, length, first) ?? counted(length, 'entry', 'entries')
          return { value: await commands.lrange(key, 0, 9), says }
        }
        const value = (await commands.lrange(key, -20, -1)).map(Number)
        return {
          value,
          says: `${counted(length, 'entry', 'entries')}, ${time(Number(first))} to ${time(Number(last))}`,
        }
      }
      case 'hash': {
        const [length, [, flat]] = await Promise.all([commands.hlen(key), commands.hscan(key, 0, 'COUNT', 100)])
        const value: Record<string, string> = {}
        for (let i = 0; i + 1 < flat.length && i < 200; i += 2) value[flat[i] as string] = flat[i + 1] as string
        const shown = Object.entries(value)
          .slice(0, 4)
          .map(([field, one]) => `${field}=${one.slice(0, 40)}`)
        return { value, says: hashWords(kind, length, value) ?? `${counted(length, 'field')}: ${shown.join(', ')}` }
      }
      case 'zset': {
        const [length, value] = await Promise.all([commands.zcard(key), commands.zrange(key, '0', '19', 'WITHSCORES')])
        return { value, says: counted(length, 'member') }
      }
      case 'stream': {
        const [length, value] = await Promise.all([commands.xlen(key), commands.xrevrange(key, '+', '-', 'COUNT', 5)])
        return { value, says: counted(length, 'entry', 'entries') }
      }
      default:
        return { value: undefined, says: type }
    }
  }

  return {
    async page(match, cursor, limit) {
      const nodes = servers()
      let { node, at, after } = readCursor(cursor)
      const asked = patternOf(match, keys.prefix)
      const names: string[] = []
      const until = performance.now() + BUDGET_MS
      let first = true
      while (names.length < limit && node < nodes.length && (first || performance.now() < until)) {
        first = false
        const [next, found] = await withTimeout(
          (nodes[node] as Redis).scan(at, 'MATCH', asked, 'COUNT', SCAN_COUNT),
          OPERATOR_MS,
        )
        // In an order of their own, so that a page may end in the midst of what one SCAN finds, and the next go on there.
        const ours = found
          .filter(name => name.startsWith(`${keys.prefix}:`))
          .map(name => ({ name, digest: digestOf(name) }))
          .filter(({ digest }) => digest > after)
          .sort((a, b) => (a.digest < b.digest ? -1 : 1))
        const fitting = ours.slice(0, limit - names.length)
        names.push(...fitting.map(({ name }) => name))
        if (fitting.length < ours.length) {
          after = fitting.at(-1)?.digest ?? after
          break
        }
        after = ''
        at = next
        if (next === '0') node++
      }
      const described = await withTimeout(Promise.all(names.map(describe)), OPERATOR_MS)
      return {
        keys: described.filter(info => info !== undefined),
        cursor: node >= nodes.length ? '0' : [node, at, ...(after === '' ? [] : [after])].join(':'),
      }
    },
    get: key =>
      withTimeout(key.startsWith(`${keys.prefix}:`) ? describe(key) : Promise.resolve(undefined), OPERATOR_MS),
    async delete(key) {
      return key.startsWith(`${keys.prefix}:`) && (await withTimeout(commands.del(key), OPERATOR_MS)) > 0
    },
  }
}
