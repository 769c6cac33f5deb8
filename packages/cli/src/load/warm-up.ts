import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { crowd, generator } from './clients.ts'
import { start } from './run.ts'
import { constant } from './schedule.ts'

/**
 * Sends some hundreds of requests to a server of its own. What has not run yet is slow: at 2,000 a second the first half of a
 * second would be late, and its lag stand in the percentiles.
 */
export async function warmUp(): Promise<void> {
  const server = createServer((_, response) => response.end()).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  await start({
    schedule: constant(2000, 300),
    crowd: crowd(1, undefined, generator(1)),
    url: new URL(`http://127.0.0.1:${port}/`),
    method: 'GET',
    headers: {},
    body: undefined,
  }).done
  server.close()
}
