import type { ClientSummary, ControlPlane, StatsFrame } from '../contracts/index.ts'
import { addFrame, emptyBucket } from '../stats/history.ts'
import { Operator } from './operator.ts'

/** For who shows the fleet live, from within a process that is on its store: what would be too much to ask for over HTTP. */
export interface FleetView {
  /** Calls back with every frame of every instance, this one's too and first of all; returns how to stop. */
  watch(listener: (frame: StatsFrame) => void): () => void
  /** The newest frame of every live instance. */
  fleet(): Promise<StatsFrame[]>
  /**
   * Who is busiest by these frames and who is nearest a limit, at most `limit` each, and how many are blocked: in one go
   * over the store. Rejects with ERR_UNAVAILABLE.
   */
  look(
    frames: readonly StatsFrame[],
    limit: number,
  ): Promise<{ busiest: ClientSummary[]; nearest: ClientSummary[]; activeBlocks: number }>
}

/** The view of a bouncer's own control plane; undefined for one that is somewhere else. */
export const fleetViewOf = (control: ControlPlane): FleetView | undefined =>
  control instanceof Operator ? control : undefined

/** What all of these frames tell, added up. */
export function sumFrames(
  frames: readonly Pick<StatsFrame, 'policies' | 'latency' | 'blocks'>[],
): Pick<StatsFrame, 'policies' | 'latency' | 'blocks'> {
  const { policies, latency, blocks } = emptyBucket(0)
  const sum = { policies, latency, blocks }
  for (const frame of frames) addFrame(sum, frame)
  return sum
}
