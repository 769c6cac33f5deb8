import { formatRemaining } from '@api-bouncer/limiter/client'
import type { KeyInfo } from '@api-bouncer/limiter/contracts'
import type { CommandRoom } from '../command.ts'
import { CommandError, EXIT } from '../context.ts'
import { dryRun } from '../options.ts'
import { printOne } from '../output.ts'
import { confirm } from '../prompt.ts'
import { safe, safeJson } from '../text.ts'

export const command: CommandRoom = {
  register(program, context) {
    const key = program.command('key').description('One stored key').addHelpText('afterAll', EXAMPLES)

    key
      .command('show')
      .description('What a key holds, in words and as it is')
      .argument('<key>', 'its full name, as bouncer keys lists it')
      .action(async (name: string, _, command) => {
        const of = context(command)
        const info = await (await of.control()).key(name)
        printOne(of, info, () => keyText(info))
      })

    dryRun(key.command('rm').description('Delete a key, after a yes; control state has commands of its own'))
      .argument('<key>', 'its full name')
      .action(async (name: string, options: { dryRun: boolean }, command) => {
        const of = context(command)
        const control = await of.control()
        const info = await control.key(name)
        if (options.dryRun) {
          return printOne(
            of,
            { key: name, removed: false, dryRun: true },
            () => `would delete ${safe(name)}: ${safe(info.words)}\n`,
          )
        }
        if (!(await confirm(of, `delete ${safe(name)} (${safe(info.words)})?`))) {
          throw new CommandError(EXIT.failed, 'nothing was deleted')
        }
        await control.deleteKey(name, of.actor)
        printOne(of, { key: name, removed: true }, () => `deleted ${safe(name)}: ${safe(info.words)}\n`)
      })
  },
}

const EXAMPLES = `
Examples
  bouncer key show 'api_bouncer:block:{1.2.3.4}'
  bouncer key rm 'api_bouncer:violations:{1.2.3.4}' --dry-run`

/** `412 B`, `3.1 KB`. */
export function bytesText(bytes: number | undefined): string {
  if (bytes === undefined) return ''
  if (bytes < 1024) return `${bytes} B`
  return bytes < 1024 * 1024 ? `${(bytes / 1024).toFixed(1)} KB` : `${(bytes / 1024 / 1024).toFixed(1)} MB`
}

export function keyText({ key, type, words, ttlMs, bytes, value }: KeyInfo): string {
  const facts = [
    type,
    ...(ttlMs !== undefined ? [`gone in ${formatRemaining(ttlMs)}`] : type === 'memory' ? [] : ['kept for good']),
    ...(bytes === undefined ? [] : [bytesText(bytes)]),
  ]
  const shown = value === undefined ? [] : ['', ...safeJson(value, 2).split('\n')]
  return `${[safe(key), `  ${facts.join(' · ')}`, `  ${safe(words)}`, ...shown].join('\n')}\n`
}
