import { expect, test } from 'vitest'
import { guard } from '../benches/guard.ts'
import { build } from '../run.ts'

test('no ratio against a peer has fallen under its floor', { timeout: 240_000 }, async () => {
  build()
  const { goals } = await guard.run({ quick: true, oursOnly: false, seed: 20_240, log: console.log })
  for (const { what, goal, measured } of goals) console.log(`${what}: ${measured}, ${goal}`)
  expect(goals.filter(({ met }) => !met)).toEqual([])
})
