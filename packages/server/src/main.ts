import cluster from 'node:cluster'
import { misspelt, readConfig } from './config.ts'
import { greeting } from './greeting.ts'
import { createLog } from './log.ts'
import { type Server, startServer } from './server.ts'
import { isConfigError } from './setting.ts'
import { serveAsWorker, startWorkers } from './workers.ts'

// What people read goes to stderr, the log to stdout: a pipe gets nothing but JSON.
const say = (text: string) => void process.stderr.write(text)

async function main(): Promise<void> {
  const config = readConfig(process.env)
  const log = createLog(config.logLevel)
  if (cluster.isWorker) return serveAsWorker(config, log)
  for (const { name, meant } of misspelt(process.env)) {
    log.warn(`${name} is no setting and is ignored; did you mean ${meant}?`)
  }
  const workers = config.workers > 1 ? await startWorkers(config, log) : undefined
  const server = await startServer(config, log, workers)
  say(greeting(server, config))
  const { dataPlane, controlPlane, bouncer } = server
  const { kind: store, detail } = bouncer.health()
  log.info({ dataPlane, controlPlane, store, detail, workers: config.workers, instance: bouncer.instance }, 'serving')
  closeOnSignals(server)
}

function closeOnSignals(server: Server): void {
  let closing = false
  for (const [signal, number] of [
    ['SIGINT', 2],
    ['SIGTERM', 15],
  ] as const) {
    process.on(signal, () => {
      if (closing) process.exit(128 + number)
      closing = true
      say('\nstopping: finishing what is in flight (at most 10 s; once more to stop at once)\n')
      server.close().then(() => process.exit(0), fail)
    })
  }
}

function fail(error: unknown): never {
  say(
    isConfigError(error)
      ? `api-bouncer: ${error.message.replaceAll('\n', ' ')}\n`
      : `${(error as Error)?.stack ?? error}\n`,
  )
  process.exit(1)
}

main().catch(fail)
