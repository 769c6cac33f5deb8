import type { Block, BlocksQuery } from '@api-bouncer/limiter/contracts'
import { expect, it } from 'vitest'
import { allBlocks } from './all-blocks.ts'

/** A control plane with so many blocks, and what it was asked. */
function planeOf(total: number) {
  const all = Array.from({ length: total }, (_, i) => ({ client: `c${i}`, until: i }) as Block)
  const asked: BlocksQuery[] = []
  return {
    asked,
    async blocks(query: BlocksQuery = {}) {
      asked.push(query)
      const { limit = 1000, after = '0' } = query
      const end = Number(after) + limit
      return { blocks: all.slice(Number(after), end), total, ...(end < total && { next: String(end) }) }
    },
  }
}

it('all blocks are asked for by pages, and no more than are wanted', async () => {
  const plane = planeOf(25_000)
  const { blocks, total } = await allBlocks(plane)
  expect([blocks.length, new Set(blocks.map(({ client }) => client)).size, total]).toEqual([25_000, 25_000, 25_000])
  expect(plane.asked.map(({ limit }) => limit)).toEqual([10_000, 10_000, 10_000])
  const some = planeOf(25_000)
  expect(await allBlocks(some, 12_000)).toMatchObject({ total: 25_000 })
  expect(some.asked.map(({ limit }) => limit)).toEqual([10_000, 2000])
  expect(await allBlocks(planeOf(0))).toEqual({ blocks: [], total: 0 })
})
