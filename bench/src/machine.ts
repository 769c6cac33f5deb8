import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { availableParallelism, cpus, loadavg, release, totalmem, type } from 'node:os'
import { dirname, join } from 'node:path'

const PEERS = [
  'express',
  'express-rate-limit',
  'rate-limit-redis',
  'rate-limiter-flexible',
  'fastify',
  '@fastify/rate-limit',
  'ioredis',
] as const

const require = createRequire(import.meta.url)

/** The version of an installed package, whether or not it exports its package.json. */
function versionOf(name: string): string {
  let folder = dirname(require.resolve(name))
  for (;;) {
    try {
      const found = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as {
        name?: string
        version?: string
      }
      if (found.name === name && found.version) return found.version
    } catch {
      // No package.json here: one folder up.
    }
    if (folder === dirname(folder)) return 'unknown'
    folder = dirname(folder)
  }
}

/** How busy the machine is, this bench included: above its cores, others are at work and the figures are rough. */
export const load = (): string => `load average ${loadavg()[0]?.toFixed(1)}`

/** What the figures were measured on, in a line. */
export function machine(): string {
  const model = cpus()[0]?.model.replace(/\s+/g, ' ').trim() ?? 'unknown CPU'
  return `${availableParallelism()} × ${model}, ${Math.round(totalmem() / 2 ** 30)} GiB, ${type()} ${release()}`
}

/** Versions of Node and of all that is compared. */
export const versions = (): string =>
  [`Node ${process.versions.node}`, ...PEERS.map(name => `${name} ${versionOf(name)}`)].join(', ')
