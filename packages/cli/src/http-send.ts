import { request as http } from 'node:http'
import type { Fetch } from '@api-bouncer/limiter/client'

/** fetch() by node:http, which is there at once: a command is done before Node's own fetch would be loaded. */
export const send: Fetch = async (url, { method, headers, body, signal }) => {
  const request = url.startsWith('https:') ? (await import('node:https')).request : http
  const { status, text } = await new Promise<{ status: number; text: string }>((resolve, reject) => {
    const fail = (cause: Error) => reject(signal.aborted ? signal.reason : new TypeError('fetch failed', { cause }))
    const length = body === undefined ? {} : { 'Content-Length': Buffer.byteLength(body) }
    request(url, { method, headers: { ...headers, ...length }, signal }, response => {
      const chunks: Buffer[] = []
      response.on('data', chunk => chunks.push(chunk))
      response.on('error', fail)
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString() }))
    })
      .on('error', fail)
      .end(body)
  })
  return { ok: status >= 200 && status < 300, status, text: async () => text }
}
