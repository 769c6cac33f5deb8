/** The process of one worker: `node child.js MODULE ARGS`. Answers its parent's calls, one at a time. */
import type { WorkerModule } from './harness.ts'

const [module, args] = process.argv.slice(2) as [string, string]
const answer = (message: object) => process.send?.(message)
process.on('disconnect', () => process.exit(0))

try {
  const { default: start } = (await import(new URL(`./workers/${module}.js`, import.meta.url).href)) as {
    default: WorkerModule<unknown, Record<string, (...args: unknown[]) => unknown>>
  }
  const calls = {
    ...(await start(JSON.parse(args))),
    cpuMicros: () => process.cpuUsage().user + process.cpuUsage().system,
  } as Record<string, (...args: unknown[]) => unknown>
  process.on('message', async ({ name, args }: { name: string; args: unknown[] }) => {
    try {
      answer({ value: await calls[name]?.(...args) })
    } catch (error) {
      answer({ error: String((error as Error).stack ?? error) })
    }
  })
  answer({ value: 'ready' })
} catch (error) {
  answer({ error: String((error as Error).stack ?? error) })
}
