import { expect, test, vi } from 'vitest'
import { trials } from './index.ts'

// A long run of two minutes; floods and fleets of a size for CI.
vi.setConfig({ testTimeout: 400_000 })

const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31))
const names = ['exactness', 'rolling', 'versions', 'workers', 'local', 'eviction', 'flood', 'soak']

test.each(names)('what is promised holds: %s', async name => {
  const trial = trials.find(trial => trial.name === name)
  expect(trial).toBeDefined()
  const told: string[] = []
  const section = await trial?.run({ quick: true, oursOnly: true, seed, log: line => told.push(line) })
  expect(
    section?.goals.filter(({ met }) => !met),
    [`SEED=${seed}`, ...told].join('\n'),
  ).toEqual([])
})
