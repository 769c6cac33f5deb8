import type { ControlState, Policy, PolicyRecord } from '../contracts/index.ts'
import { CidrSet } from '../identity/cidr.ts'
import { compilePenalty, type Defaults, PolicyTable } from './table.ts'

export { parseCidr } from '../identity/cidr.ts'

/** All that a decision depends on besides the counters, compiled. Immutable: a change makes new Rules. */
export interface Rules {
  readonly epoch: number
  readonly table: PolicyTable
  readonly ipv6Prefix: number
  readonly allow: CidrSet
  readonly deny: CidrSet
}

/** The policy that a record stands for at `now` (epoch ms): a change that nobody confirmed in time has gone back. */
export const inForce = ({ policy, revert }: PolicyRecord, now: number): Policy | undefined =>
  revert && now >= revert.at ? (revert.policy ?? undefined) : policy

/** When changes go back by themselves after `now` (epoch ms). */
export const revertsAfter = ({ policies }: ControlState, now: number): number[] =>
  policies.flatMap(({ revert }) => (revert && revert.at > now ? revert.at : []))

/** A policy that was made and that nobody confirmed in time is gone at `now`, as if it had been deleted. */
export function stateAt(state: ControlState, now: number): ControlState {
  const gone = state.policies.filter(record => !inForce(record, now))
  if (gone.length === 0) return state
  return {
    ...state,
    policies: state.policies.filter(record => inForce(record, now)),
    tombstones: { ...state.tombstones, ...Object.fromEntries(gone.map(({ policy, version }) => [policy.id, version])) },
  }
}

/** Throws a BouncerError when the state contradicts itself, so that a bad change never replaces good rules. */
export function compileRules({ epoch, policies, settings, lists }: ControlState, defaults: Defaults, now = 0): Rules {
  const penalty = compilePenalty(settings.penalty)
  return {
    epoch,
    table: new PolicyTable(
      policies.flatMap(record => inForce(record, now) ?? []),
      penalty,
      defaults,
    ),
    ipv6Prefix: settings.ipv6Prefix,
    allow: new CidrSet(lists.filter(({ list }) => list === 'allow')),
    deny: new CidrSet(lists.filter(({ list }) => list === 'deny')),
  }
}
