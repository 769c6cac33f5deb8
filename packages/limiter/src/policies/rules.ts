import type { ControlState, Policy, PolicyRecord } from '../contracts/index.ts'
import { CidrSet } from '../identity/cidr.ts'
import { compilePenalty, type Defaults, PolicyTable } from './table.ts'

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
