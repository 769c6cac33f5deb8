import { once } from 'node:events'
import { createServer, IncomingMessage, type RequestListener, ServerResponse } from 'node:http'
import { createRequire } from 'node:module'
import { type AddressInfo, Socket } from 'node:net'
import { setFlagsFromString } from 'node:v8'
import express5 from 'express'
import { expect, test } from 'vitest'
import { createBouncer } from './bouncer.ts'
import { keepAsTable } from './hidden-classes.ts'

setFlagsFromString('--allow-natives-syntax')
const isTable = new Function('a', 'return !%HasFastProperties(a)') as (object: object) => boolean
const shareClass = new Function('a', 'b', 'return %HaveSameMap(a, b)') as (a: object, b: object) => boolean
/** Where what is given another prototype shares its class with others, nothing has to be mended. */
const isMended = Number.parseInt(process.versions.v8, 10) >= 13

const express4 = createRequire(import.meta.url)('express4') as typeof express5

const answer = (_req: IncomingMessage, res: ServerResponse) => void res.end()

/** The responses to two requests. */
async function twoResponses(app: RequestListener) {
  const found: ServerResponse[] = []
  const server = createServer((req, res) => {
    found.push(res)
    app(req, res)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  for (let i = 0; i < 2; i++) await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`)
  server.closeAllConnections()
  await once(server.close(), 'close')
  return found as [ServerResponse, ServerResponse]
}

test.each([
  ['Express 5', express5],
  ['Express 4', express4],
])(
  'the responses of %s are tables behind the limiter, for as long as they share no hidden class without',
  async (_, express) => {
    const bouncer = createBouncer()
    const behind = await twoResponses(express().use(bouncer.express(), answer))
    await bouncer.close()
    const without = await twoResponses(express().use(answer))
    expect({ behind: behind.map(isTable), share: shareClass(...without) }).toEqual({
      behind: [!isMended, !isMended],
      share: isMended,
    })
  },
)

test('a response that Node made, and nobody changed, is none, whatever was put into its locals', async () => {
  const bouncer = createBouncer()
  const limit = bouncer.express()
  const [res] = await twoResponses((req, res) => {
    limit(req, Object.assign(res, { locals: {} }), () => res.end())
  })
  await bouncer.close()
  expect(isTable(res)).toBe(false)
})

/** As Express changes it, when it is done. */
const changed = (res: ServerResponse) => Object.setPrototypeOf(res, Object.create(ServerResponse.prototype))

test.each<[string, (res: ServerResponse) => unknown]>([
  ['as Express leaves it', res => Object.assign(changed(res), { locals: { user: 1 } })],
  ['with more behind it', res => Object.assign(changed(res), { locals: {}, flush: () => {} })],
  ['without locals', res => changed(res)],
  [
    'with locals of its prototype',
    res => Object.setPrototypeOf(res, Object.create(ServerResponse.prototype, { locals: { value: 1 } })),
  ],
  ['with locals that cannot go', res => Object.defineProperty(changed(res), 'locals', { value: 1 })],
  [
    'with locals made when asked for',
    res => Object.defineProperty(changed(res), 'locals', { get: () => expect.unreachable(), configurable: true }),
  ],
  [
    'with locals that are not listed',
    res => Object.defineProperty(changed(res), 'locals', { value: 1, writable: true, configurable: true }),
  ],
  ['that takes no more', res => Object.preventExtensions(Object.assign(changed(res), { locals: {} }))],
  ['frozen', res => Object.freeze(Object.assign(changed(res), { locals: {} }))],
])('a response %s has the same properties as a table', (_, prepare) => {
  const res = new ServerResponse(new IncomingMessage(new Socket()))
  prepare(res)
  const before = Object.getOwnPropertyDescriptors(res)
  keepAsTable(res)
  expect(Object.getOwnPropertyDescriptors(res)).toEqual(before)
})

test('a response behind a Proxy that lets nothing go is left alone', () => {
  const made = new ServerResponse(new IncomingMessage(new Socket()))
  const res = new Proxy(Object.assign(changed(made), { locals: { user: 1 } }), { deleteProperty: () => false })
  keepAsTable(res)
  expect(res.locals).toEqual({ user: 1 })
})
