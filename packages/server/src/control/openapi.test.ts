import { Validator } from '@seriousme/openapi-schema-validator'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type TestServer, testServer } from '../testing.fixture.ts'
import { routes } from './routes.ts'

let server: TestServer
beforeAll(async () => {
  server = await testServer()
})
afterAll(() => server.close())

it('serves an OpenAPI 3.1 document that a third party finds valid, with every route in it', async () => {
  const { body } = await server.admin('GET', '/admin/openapi.json')
  const result = await new Validator().validate(structuredClone(body))
  expect(result).toMatchObject({ valid: true })
  expect(body.openapi).toBe('3.1.0')
  const documented = Object.entries(body.paths as Record<string, object>).flatMap(([path, operations]) =>
    Object.keys(operations).map(method => `${method} ${path.replace(/\{(\w+)\}/g, ':$1')}`),
  )
  expect(documented.sort()).toEqual(routes.map(({ method, path }) => `${method} ${path}`).sort())
  const ids = Object.values(body.paths as Record<string, Record<string, { operationId: string }>>).flatMap(operations =>
    Object.values(operations).map(({ operationId }) => operationId),
  )
  expect(new Set(ids).size).toBe(ids.length)
})

it('says what a policy may be', async () => {
  const { body } = await server.admin('GET', '/admin/openapi.json')
  const { schema } = body.paths['/admin/policies/{id}'].put.requestBody.content['application/json']
  expect(Object.keys(schema.properties.policy.properties)).toContain('limits')
  expect(schema.properties.policy.additionalProperties).toBe(false)
})
