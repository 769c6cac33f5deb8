import type { ControlPlane, ListedBlock } from '@api-bouncer/limiter/contracts'

/** What a control plane tells at once; more takes another question. */
const PAGE = 10_000

/** The blocks in force, soonest to end first: the first `most`, and how many there are in all. */
export async function allBlocks(
  control: Pick<ControlPlane, 'blocks'>,
  most = Number.POSITIVE_INFINITY,
): Promise<{ blocks: ListedBlock[]; total: number }> {
  const blocks: ListedBlock[] = []
  for (let after: string | undefined; ; ) {
    const limit = Math.min(PAGE, most - blocks.length)
    const page = await control.blocks({ limit, ...(after !== undefined && { after }) })
    for (const block of page.blocks) blocks.push(block)
    if (page.next === undefined || blocks.length >= most) return { blocks, total: Math.max(page.total, blocks.length) }
    after = page.next
  }
}
