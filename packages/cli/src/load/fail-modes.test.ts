import type { Status } from '@api-bouncer/limiter/contracts'
import { expect, it } from 'vitest'
import { failModesBetween } from './fail-modes.ts'

type Told = readonly [instance: string, uptimeMs: number, degradedTotal?: number]
const status = (told: readonly Told[], degradedDecisions = 0, kind = 'redis') =>
  ({
    store: { kind },
    degradedDecisions,
    instances: told.map(([instance, uptimeMs, degradedTotal]) => ({ instance, uptimeMs, degradedTotal })),
  }) as unknown as Status

it.each<[string, Status, Status, RegExp | undefined]>([
  [
    'nobody',
    status([
      ['a', 1, 7],
      ['b', 1, 0],
    ]),
    status([
      ['a', 9, 7],
      ['b', 9, 0],
    ]),
    undefined,
  ],
  [
    'another instance',
    status([
      ['a', 1, 0],
      ['b', 1, 3],
    ]),
    status([
      ['a', 9, 0],
      ['b', 9, 8],
    ]),
    /no answer 5 times/,
  ],
  [
    'one that came meanwhile',
    status([['a', 1, 0]]),
    status([
      ['a', 9, 0],
      ['b', 1, 2],
    ]),
    /no answer 2 times/,
  ],
  [
    'one that is gone',
    status([
      ['a', 1, 0],
      ['b', 1, 0],
    ]),
    status([['a', 9, 0]]),
    /instance b is gone/,
  ],
  ['one that started anew', status([['a', 5000, 3]]), status([['a', 900, 3]]), /a started anew/],
  [
    'an older one',
    status([
      ['a', 1, 0],
      ['b', 1],
    ]),
    status([
      ['a', 9, 0],
      ['b', 9],
    ]),
    /b does not tell/,
  ],
  ['unknown instances', status([]), status([]), /no instance tells/],
  ['a server without its store', status([]), status([], 4), /no answer 4 times/],
  ['the embedded store', status([], 0, 'memory'), status([['a', 9, 0]], 0, 'memory'), undefined],
])('whether a fail mode decided: %s', (_, before, after, says) => {
  const reason = failModesBetween(before, after)
  if (says) expect(reason).toMatch(says)
  else expect(reason).toBeUndefined()
})
