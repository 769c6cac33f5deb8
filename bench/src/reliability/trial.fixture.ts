import { expect, test, vi } from 'vitest'
import { trials } from './index.ts'

const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31))

/** Runs these trials in their cuts for CI, each to every promise of ours. */
export function hold(names: readonly string[]): void {
  // The long run is two minutes of them.
  vi.setConfig({ testTimeout: 400_000 })
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
}
