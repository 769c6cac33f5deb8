import type { AlgorithmId } from '../contracts/index.ts'
import type { Algorithm } from './algorithm.ts'
import { fixedWindow } from './fixed-window/fixed-window.ts'
import { gcra } from './gcra/gcra.ts'
import { slidingWindow } from './sliding-window/sliding-window.ts'
import { slidingWindowCounter } from './sliding-window-counter/sliding-window-counter.ts'
import { tokenBucket } from './token-bucket/token-bucket.ts'

export type { Algorithm, Limit } from './algorithm.ts'

/** Every algorithm by its id. */
export const algorithms: Readonly<Record<AlgorithmId, Algorithm>> = {
  sliding_window: slidingWindow,
  token_bucket: tokenBucket,
  gcra,
  sliding_window_counter: slidingWindowCounter,
  fixed_window: fixedWindow,
} as Readonly<Record<AlgorithmId, Algorithm>>
