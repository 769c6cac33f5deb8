import { version } from '@api-bouncer/limiter'
import * as z from 'zod'
import type { Route } from './routes.ts'

type Json = Record<string, unknown>

/** JSON Schema (2020-12, as OpenAPI 3.1 takes it) of what a caller may send, or of what it is answered. */
const schemaOf = (schema: z.ZodType, io: 'input' | 'output'): Json => {
  const { $schema, ...json } = z.toJSONSchema(schema, { io, unrepresentable: 'any' }) as Json
  return json
}

const problem: Json = {
  description: 'RFC 9457 problem; `code` is stable, `detail` says what, where and how to mend it',
  content: {
    'application/problem+json': {
      schema: {
        type: 'object',
        required: ['type', 'title', 'status', 'detail'],
        properties: {
          type: { type: 'string' },
          title: { type: 'string' },
          status: { type: 'integer' },
          detail: { type: 'string' },
          code: { type: 'string' },
          requestId: { type: 'string' },
        },
      },
    },
  },
}

/** `/admin/lists/:list/:cidr` → `/admin/lists/{list}/{cidr}` and its parameters. */
function pathOf(path: string): { template: string; parameters: Json[] } {
  const names = [...path.matchAll(/:([a-z]+)/gi)].map(match => match[1] as string)
  const parameters = names.map(name => ({ name, in: 'path', required: true, schema: { type: 'string' } }))
  return { template: path.replace(/:([a-z]+)/gi, '{$1}'), parameters }
}

function queryOf(query: z.ZodType): Json[] {
  const { properties = {}, required = [] } = schemaOf(query, 'input') as {
    properties?: Record<string, Json>
    required?: string[]
  }
  return Object.entries(properties).map(([name, schema]) => ({
    name,
    in: 'query',
    required: required.includes(name),
    schema,
  }))
}

function operationOf({ method, path, summary, body, query, answer }: Route): Json {
  const { parameters } = pathOf(path)
  const content = answer ? { content: { 'application/json': { schema: schemaOf(answer, 'output') } } } : {}
  return {
    operationId: `${method}${path.replace(/[:/-]+(\w)/g, (_, letter: string) => letter.toUpperCase())}`,
    summary,
    parameters: [...parameters, ...(query ? queryOf(query) : [])],
    ...(body && { requestBody: { content: { 'application/json': { schema: schemaOf(body, 'input') } } } }),
    responses: { '2XX': { description: 'Done', ...content }, '4XX': problem, '5XX': problem },
  }
}

/** The admin API as an OpenAPI 3.1 document, from the same table and contracts that serve it. */
export function openApi(routes: readonly Route[]): Json {
  const paths: Record<string, Json> = {}
  for (const route of routes) {
    const { template } = pathOf(route.path)
    paths[template] = { ...paths[template], [route.method]: operationOf(route) }
  }
  return {
    openapi: '3.1.0',
    info: { title: 'API Bouncer: the control plane', version, license: { name: 'MIT', identifier: 'MIT' } },
    security: [{ token: [] }],
    components: { securitySchemes: { token: { type: 'http', scheme: 'bearer' } } },
    paths,
  }
}
