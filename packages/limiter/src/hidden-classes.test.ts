import { once } from 'node:events'
import { createServer, IncomingMessage, ServerResponse } from 'node:http'
import { createRequire } from 'node:module'
import { type AddressInfo, Socket } from 'node:net'
import { setFlagsFromString } from 'node:v8'
import express5 from 'express'
import { expect, test } from 'vitest'
import { createBouncer } from './bouncer.ts'
import { keepAsTable } from './hidden-classes.ts'

setFlagsFromString('--allow-natives-syntax')
const haveSameClass = new Function('a', 'b', 'return %HaveSameMap(a, b)') as (a: object, b: object) => boolean

const express4 = createRequire(import.meta.url)('express4') as typeof express5

/** The responses to two requests, as a handler finds them. */
async function twoResponses(app: express5.Express) {
  const found: ServerResponse[] = []
  app.use((_req, res) => {
    found.push(res)
    res.end()
  })
  const server = createServer(app).listen(0, '127.0.0.1')
  await once(server, 'listening')
  for (let i = 0; i < 2; i++) await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`)
  server.closeAllConnections()
  await once(server.close(), 'close')
  return found as [ServerResponse, ServerResponse]
}

test.each([
  ['Express 5', express5],
  ['Express 4', express4],
])('the responses of %s share a hidden class behind the limiter', async (_, express) => {
  const bouncer = createBouncer()
  expect(haveSameClass(...(await twoResponses(express().use(bouncer.express()))))).toBe(true)
  await bouncer.close()
  // Where they do without it there is nothing to be mended any more.
  expect(haveSameClass(...(await twoResponses(express())))).toBe(Number.parseInt(process.versions.v8, 10) >= 13)
})

test.each<[string, (res: ServerResponse) => unknown]>([
  ['as Express leaves it', res => Object.assign(res, { locals: { user: 1 } })],
  ['with more behind it', res => Object.assign(res, { locals: {}, flush: () => {} })],
  ['without locals', res => res],
  [
    'with locals of its prototype',
    res => Object.setPrototypeOf(res, Object.create(ServerResponse.prototype, { locals: { value: 1 } })),
  ],
  ['with locals that cannot go', res => Object.defineProperty(res, 'locals', { value: 1 })],
  [
    'with locals made when asked for',
    res => Object.defineProperty(res, 'locals', { get: () => expect.unreachable(), configurable: true }),
  ],
  ['that takes no more', res => Object.preventExtensions(Object.assign(res, { locals: {} }))],
  ['frozen', res => Object.freeze(Object.assign(res, { locals: {} }))],
])('a response %s has the same properties as a table', (_, prepare) => {
  const res = new ServerResponse(new IncomingMessage(new Socket()))
  prepare(res)
  const before = Object.getOwnPropertyDescriptors(res)
  keepAsTable(res)
  expect(Object.getOwnPropertyDescriptors(res)).toEqual(before)
})
