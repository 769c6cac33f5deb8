import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { freePort } from '@api-bouncer/limiter/testing/redis-server'

export const TOKEN = 'a-token-for-the-bench-only'

export interface ControlPlane {
  readonly url: string
  readonly child: ChildProcess
  stop(): Promise<void>
}

/** The control plane as `npm start` runs it, alone on the fleet's Redis. */
export async function startControlPlane(redis: { host: string; port: number }): Promise<ControlPlane> {
  const port = await freePort()
  const main = fileURLToPath(new URL('../../packages/server/src/main.ts', import.meta.url))
  const tsx = createRequire(import.meta.url).resolve('tsx')
  const child = spawn(process.execPath, ['--import', tsx, '--conditions=@api-bouncer/source', main], {
    env: {
      ...process.env,
      DATA_PLANE: 'off',
      ADMIN_PORT: String(port),
      ADMIN_TOKEN: TOKEN,
      REDIS_HOST: redis.host,
      REDIS_PORT: String(redis.port),
    },
    stdio: 'ignore',
  })
  const url = `http://127.0.0.1:${port}`
  const isUp = () =>
    fetch(`${url}/admin/status`).then(
      () => true,
      () => false,
    )
  while (!(await isUp())) await sleep(50)
  return {
    url,
    child,
    async stop() {
      const gone = once(child, 'exit')
      child.kill()
      await gone
    },
  }
}
