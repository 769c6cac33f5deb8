import type { Bench } from '../harness.ts'
import { embedded } from './embedded.ts'
import { httpEmbedded } from './http-embedded.ts'
import { memoryEmbedded } from './memory-embedded.ts'

/** All benches, in the order of the report. */
export const benches: readonly Bench[] = [embedded, httpEmbedded, memoryEmbedded]
