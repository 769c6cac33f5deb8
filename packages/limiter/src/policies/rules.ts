import type { ControlState } from '../contracts/index.ts'
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

/** Throws a BouncerError when the state contradicts itself, so that a bad change never replaces good rules. */
export function compileRules({ epoch, policies, settings, lists }: ControlState, defaults: Defaults): Rules {
  const penalty = compilePenalty(settings.penalty)
  return {
    epoch,
    table: new PolicyTable(
      policies.map(({ policy }) => policy),
      penalty,
      defaults,
    ),
    ipv6Prefix: settings.ipv6Prefix,
    allow: new CidrSet(lists.filter(({ list }) => list === 'allow')),
    deny: new CidrSet(lists.filter(({ list }) => list === 'deny')),
  }
}
