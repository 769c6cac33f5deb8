import { expect, test, vi } from 'vitest'
import type { Api } from './apis.ts'
import { faults } from './faults.ts'
import { play, promises, QUICK } from './play.ts'

// Servers start, die and fail over while others use the machine too.
vi.setConfig({ testTimeout: 150_000 })

const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31))

// Fail mode `local` takes its turn with `open`: the report has both.
test.each(faults.map((fault, i): [string, Api] => [fault.name, i % 2 ? 'ours, local' : 'ours, open']))(
  'what is promised holds: %s, %s',
  async (name, api) => {
    const fault = faults.find(fault => fault.name === name) as (typeof faults)[number]
    const figures = await play(fault, api, QUICK, seed)
    const kept = promises(fault, api, figures, QUICK)
    expect(
      kept.filter(({ met }) => !met),
      `SEED=${seed}: ${JSON.stringify(figures)}`,
    ).toEqual([])
  },
)
