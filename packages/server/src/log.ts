import { type BouncerEvent, formatRemaining } from '@api-bouncer/limiter'
import { type Level, type Logger, pino } from 'pino'

const LABELS: Readonly<Record<number, string>> = {
  10: 'trace',
  20: 'debug',
  30: 'info',
  40: 'warn',
  50: 'error',
  60: 'fatal',
}

/** JSON for machines; on a terminal one plain line each. */
export function createLog(level: Level | 'silent', out: NodeJS.WriteStream = process.stdout): Logger {
  return out.isTTY
    ? pino({ level }, { write: line => void out.write(plain(line)) })
    : pino({ level }, pino.destination({ fd: 1, sync: true }))
}

function plain(line: string): string {
  const { time, level, msg } = JSON.parse(line)
  return `${new Date(time).toTimeString().slice(0, 8)} ${(LABELS[level] ?? '').padEnd(5)} ${msg}\n`
}

/** What happened, for the log: changes of state at `info`, refusals at `debug`. */
export function logEvent(log: Logger, event: BouncerEvent): void {
  const by = 'by' in event ? ` by ${event.by}` : ''
  switch (event.type) {
    case 'violation':
      return log.debug({ event }, `limited ${event.client} x${event.count}, policy ${event.policy}`)
    case 'blocked': {
      const { reason, until, since } = event.block
      return log.info({ event }, `blocked ${event.client} for ${formatRemaining(until - since)}: ${reason}`)
    }
    case 'unblocked':
      return log.info({ event }, `unblocked ${event.client}${by}; lifted: ${event.lifted.join(', ') || 'nothing'}`)
    case 'policy-changed':
      return log.info({ event }, `policy ${event.policy} v${event.version} ${event.action}${by}`)
    case 'list-changed':
      return log.info({ event }, `${event.list}list: ${event.cidr} ${event.action}${by}`)
    case 'settings-changed':
      return log.info({ event }, `settings changed${by}`)
    case 'store-state':
    case 'gap':
      // The limiter's own logger has said the first; the second is for those who show events.
      return
    case 'overflow':
      return log.warn({ event }, 'more happened than is told one by one')
  }
}
