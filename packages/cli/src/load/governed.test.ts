import { expect, it } from 'vitest'
import { notGoverned } from './governed.ts'
import type { Law } from './oracle.ts'
import type { Result } from './sender.ts'

const law = (id: string, windowMs: number, list?: 'allow') =>
  ({ policy: { algorithm: { id }, limits: [{ limit: 100, windowMs }] }, listed: () => list }) as unknown as Law
const ran = (seconds: number, seen: Record<string, number> = {}) =>
  ({
    seen: { answered: 10, counted: 10, limited: 0, blocked: 0, degraded: 0, ...seen },
    trace: { client: Uint32Array.of(0, 0), count: 2, sentAt: Float64Array.of(0, seconds * 1e6) },
  }) as unknown as Result

const MINUTE = 60_000
it.each<[string, Law, Result, boolean, RegExp | undefined]>([
  ['counted', law('sliding_window', MINUTE), ran(10), true, undefined],
  ['not counted', law('sliding_window', MINUTE), ran(10), false, /governed by another one/],
  ['not counted, a long run', law('sliding_window', MINUTE), ran(600), false, /governed by another one/],
  ['a window that may be over', law('fixed_window', MINUTE), ran(59), false, undefined],
  ['one that cannot be', law('fixed_window', MINUTE), ran(10), false, /governed by another one/],
  ['a short window', law('sliding_window', 500), ran(10, { limited: 5 }), false, undefined],
  ['a bucket that refills', law('gcra', MINUTE), ran(10), false, undefined],
  ['a slow bucket', law('gcra', 100 * MINUTE), ran(10), false, /governed by another one/],
  ['no headers', law('gcra', MINUTE), ran(10, { counted: 0 }), false, /no answer had the limiter's headers/],
  ['no headers, on the allowlist', law('gcra', MINUTE, 'allow'), ran(10, { counted: 0 }), false, undefined],
  ['nothing answered', law('sliding_window', MINUTE), ran(10, { answered: 0, counted: 0 }), false, undefined],
])('whether the control plane governs the target: %s', (_, of, result, counted, says) => {
  const reason = notGoverned(of, result, counted, 200)
  if (says) expect(reason).toMatch(says)
  else expect(reason).toBeUndefined()
})
