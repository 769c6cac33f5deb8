import { auditEntrySchema } from '../../contracts/index.ts'
import { type AuditLog, KEPT_AUDIT } from '../../control/audit.ts'
import { type Connection, OPERATOR_MS } from './connection.ts'
import { withTimeout } from './evaluate.ts'
import type { Keys } from './keys.ts'

/** The audit in a capped stream. */
export function redisAuditLog({ commands }: Connection, { audit }: Keys): AuditLog {
  return {
    async append(entry) {
      await withTimeout(
        commands.xadd(audit, 'MAXLEN', '~', KEPT_AUDIT, '*', 'entry', JSON.stringify(entry)),
        OPERATOR_MS,
      )
    },
    async latest(limit) {
      const entries = await withTimeout(commands.xrevrange(audit, '+', '-', 'COUNT', limit), OPERATOR_MS)
      return entries.flatMap(([id, fields]) => {
        const parsed = auditEntrySchema.safeParse({
          ...JSON.parse(fields[1] ?? '{}'),
          id,
          at: Number(id.split('-')[0]),
        })
        return parsed.success ? [parsed.data] : []
      })
    },
  }
}
