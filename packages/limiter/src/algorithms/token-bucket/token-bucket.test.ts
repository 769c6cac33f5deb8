import { describe, expect, it } from 'vitest'
import { policySchema } from '../../contracts/index.ts'
import { compilePolicy } from '../../policies/table.ts'
import { tokenBucket } from './token-bucket.ts'

const NOW = 1.8e15
const limit = compilePolicy(
  policySchema.parse({ id: 'p', limits: [{ limit: 100, window: '1m', burst: 120 }] }),
  undefined,
  { algorithm: 'token_bucket', failMode: 'open' },
).limits[0]!

describe('token_bucket, 100 a minute with a burst of 120', () => {
  it('admits 120 at once, refuses the 121st, then lets one through every 600 ms: 100 over the next minute', () => {
    const bucket = tokenBucket.fresh(limit, NOW)
    const askAt = (us: number) => {
      const admitted = tokenBucket.available(bucket, limit, NOW + us) >= 1
      if (admitted) tokenBucket.take(bucket, limit, NOW + us, 1)
      return admitted
    }
    expect(Array.from({ length: 121 }, () => askAt(0)).filter(Boolean)).toHaveLength(120)
    expect(tokenBucket.wait(bucket, limit, NOW, 1)).toBe(600_000)
    expect(tokenBucket.fullAfter(bucket, limit, NOW)).toBe(72_000_000)

    const admitted: number[] = []
    for (let us = 1000; us <= 60_000_000; us += 1000) if (askAt(us)) admitted.push(us)
    expect(admitted).toEqual(Array.from({ length: 100 }, (_, i) => (i + 1) * 600_000))
  })

  it('never holds more than the burst, however long it rests', () => {
    const bucket = tokenBucket.fresh(limit, NOW)
    tokenBucket.take(bucket, limit, NOW, 100)
    expect(tokenBucket.available(bucket, limit, NOW + 8.64e10)).toBe(120)
  })
})
