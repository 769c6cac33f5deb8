import type { PolicyInput } from '@api-bouncer/limiter/contracts'
import { CommandError, type Context, EXIT } from '../context.ts'
import type { EditOptions } from './edit.ts'
import { FlagError, type PolicyFlags, withFlags } from './flags.ts'
import { noSuchPolicy, proveCompiles, standing } from './records.ts'
import { changeOne } from './save.ts'

/** Changes a policy by flags, on top of what is there. */
export async function set(context: Context, id: string, options: PolicyFlags & EditOptions): Promise<void> {
  const { dryRun, reason, confirmWithin, create, ...flags } = options
  if (Object.values(flags).every(value => value === undefined) && !create) {
    throw new CommandError(EXIT.usage, 'nothing to set; give a flag (--limit 20/1m), or see --help')
  }
  const control = await context.control()
  const state = await control.state()
  const before = standing(state, id, context.now())
  if (!before.policy && !create) throw noSuchPolicy(state, id, '\na new one: --create --limit 20/1m --match PATTERN')
  if (!before.policy && !flags.limit) throw new CommandError(EXIT.usage, 'a new policy needs --limit, as 20/1m')
  const policy = flagged(before.policy ?? { id, limits: [] }, flags)
  proveCompiles(state, [policy])
  await changeOne(context, control, before, policy, {
    ...(dryRun && { dryRun }),
    ...(reason !== undefined && { reason }),
    ...(confirmWithin !== undefined && { confirmWithin }),
  })
}

function flagged(policy: PolicyInput, flags: PolicyFlags) {
  try {
    return withFlags(policy, flags)
  } catch (error) {
    if (error instanceof FlagError) throw new CommandError(EXIT.usage, error.message)
    throw error
  }
}
