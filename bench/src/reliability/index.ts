import type { Bench } from '../harness.ts'
import { eviction } from './eviction.ts'
import { exactness } from './exactness.ts'
import { faults } from './faults.ts'
import { flood } from './flood.ts'
import { local } from './local.ts'
import { benchOf } from './play.ts'
import { rolling } from './rolling.ts'
import { soak } from './soak.ts'
import { versions } from './versions.ts'
import { workers } from './workers.ts'

/** All there is to break, in the order of the report. */
export const trials: readonly Bench[] = [
  ...faults.map(benchOf),
  exactness,
  rolling,
  versions,
  workers,
  local,
  eviction,
  flood,
  soak,
]
