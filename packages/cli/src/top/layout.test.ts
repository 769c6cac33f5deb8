import { describe, expect, it } from 'vitest'
import { layoutOf } from './layout.ts'

const taken = (columns: number) => {
  const { client, rate, bar, used, policy, state } = layoutOf(columns)
  const cells = [client, rate, used && (bar ? bar + 1 + used : used), policy, state].filter(cell => cell > 0)
  return cells.reduce((sum, cell) => sum + cell + 2, -2)
}

describe('the columns of top', () => {
  it('never take more than there is', () => {
    for (let columns = 33; columns < 250; columns++)
      expect(taken(columns), String(columns)).toBeLessThanOrEqual(columns)
  })

  it.each([
    [33, { rate: 0, used: 0, bar: 0, policy: 0 }],
    [45, { rate: 7, used: 0, bar: 0, policy: 0 }],
    [55, { rate: 7, used: 9, bar: 0, policy: 0 }],
    [79, { rate: 7, used: 9, bar: 8, policy: 10, client: 20 }],
    [199, { rate: 7, used: 9, bar: 20, policy: 10, client: 40 }],
  ])('in %i are %j', (columns, expected) => {
    expect(layoutOf(columns)).toMatchObject(expected)
  })
})
