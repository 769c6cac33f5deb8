import { type ControlState, guess, type Policy, type PolicyRecord } from '@api-bouncer/limiter/contracts'
import { compileRules } from '@api-bouncer/limiter/rules'
import { CommandError, EXIT } from '../context.ts'
import { inForce } from './changes.ts'

/** A policy as it stands: its record, and what of it is in force now. */
export interface Standing {
  readonly record: PolicyRecord | undefined
  /** What a compare-and-set has to name; 0: there is none. */
  readonly version: number
  readonly policy: Policy | undefined
}

export function standing({ policies }: ControlState, id: string, now: number): Standing {
  const record = policies.find(({ policy }) => policy.id === id)
  return { record, version: record?.version ?? 0, policy: record && inForce(record, now) }
}

export function noSuchPolicy({ policies }: ControlState, id: string, more = ''): CommandError {
  const meant = guess(
    id,
    policies.map(({ policy }) => policy.id),
  )
  return new CommandError(
    EXIT.notFound,
    `there is no policy "${id}"${meant ? `; did you mean ${meant}?` : ' (bouncer policy list)'}${more}`,
  )
}

/** Throws what the limiter has against these policies together (ties, limits that cannot be), before anything is written. */
export function proveCompiles(state: ControlState, changed: readonly Policy[], removed: readonly string[] = []): void {
  const touched = new Set([...changed.map(({ id }) => id), ...removed])
  const records = changed.map(policy => ({ policy, version: 1, updatedAt: 0, updatedBy: '' }))
  const policies = [...state.policies.filter(({ policy }) => !touched.has(policy.id)), ...records]
  // Which algorithm the server uses by default is not known here: one that takes every limit.
  compileRules({ ...state, policies }, { algorithm: 'gcra', failMode: 'open' }, Date.now())
}
