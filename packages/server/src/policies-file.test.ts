import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { BouncerError } from '@api-bouncer/limiter'
import { describe, expect, it } from 'vitest'
import { parsePolicies, readPoliciesFile } from './policies-file.ts'
import { temporaryFolder, testServer } from './testing.fixture.ts'

const A = 'policies:\n  - id: a\n    match: /a\n    limits: [{ limit: 5, window: 1m }]\n'

describe('a policies file', () => {
  it('gives policies, penalty and lists', () => {
    const { options } = parsePolicies(
      `${A}penalty: { threshold: 3, block: [1m, 1h] }\nallow: [10.0.0.0/8]\ndeny: []\n`,
      'f',
    )
    expect(options.policies).toMatchObject([{ id: 'a', match: ['/a'], limits: [{ limit: 5, window: '1m' }] }])
    expect(options).toMatchObject({ penalty: { threshold: 3, block: ['1m', '1h'] }, allow: ['10.0.0.0/8'], deny: [] })
  })

  it('may leave the policies out: then the built-in ones hold', async () => {
    const path = join(temporaryFolder(), 'policies.yaml')
    writeFileSync(path, 'allow: [10.0.0.0/8]\n')
    const server = await testServer({ POLICIES_FILE: path })
    const { policies, lists } = (await server.admin('GET', '/admin/state')).body
    expect(policies.map(({ policy }: { policy: { id: string } }) => policy.id)).toEqual(['default', 'auth'])
    expect(lists).toMatchObject([{ list: 'allow', cidr: '10.0.0.0/8' }])
    await server.close()
  })

  it('may be a list of policies', () => {
    const list = '- id: a\n  limits: [{ limit: 5, window: 1m }]\n'
    expect(parsePolicies(list, 'f').options).toEqual(parsePolicies(`policies:\n${list}`, 'f').options)
  })

  it('may be JSON, and may switch the penalty off', () => {
    const json = '{ "policies": [{ "id": "a", "limits": [{ "limit": 5, "window": "1m" }] }], "penalty": false }'
    expect(parsePolicies(json, 'f').options).toMatchObject({ policies: [{ id: 'a' }], penalty: false })
  })

  it.each([
    ['policies:\n  - id: a\n    limts: []\n', 'f:3:5: policies.0: unknown field "limts", did you mean "limits"?'],
    [
      'policies:\n  - id: a\n    limits: [{ limit: 1, window: 1 week }]\n',
      'f:3:34: policies.0.limits.0.window: "1 week" is not a duration',
    ],
    ['policies:\n  - id: a\n', 'f:2:5: policies.0.limits: is missing'],
    ['policies:\n  - id: a\n   limits: [\n', 'f:3:1: is neither YAML nor JSON: '],
    ['policies:\n  - id: a\n    id: b\n', 'f:3:5: is neither YAML nor JSON: Map keys must be unique'],
    ['polices: []\n', 'f:1:1: unknown field "polices", did you mean "policies"?'],
    ['policies: []\n', 'f:1:11: policies: no policy'],
    ['', 'f:1:1: is empty. Write policies'],
    ['# nothing yet\n', 'f:1:1: is empty. Write policies'],
    ['- 5\n', 'f:1:3: policies.0: expected an object, not a number'],
    ['[]\n', 'f:1:1: policies: no policy: nothing would be limited'],
    [
      '- id: a\n  limits:\n    - { limit: 5, windw: 1m }\n',
      'f:3:19: policies.0.limits.0: unknown field "windw", did you',
    ],
    ['- id: a\n', 'f:1:3: policies.0.limits: is missing'],
    ['\nhello\n', 'f:2:1: is one value. Write policies: and a list of them under it'],
    ['policies: { a: 1 }\n', 'f:1:11: policies: expected a list, not an object'],
    [
      '{\n  "policies": [{ "id": "a" "limits": [] }]\n}',
      "f:2:28: is not JSON: Expected ',' or '}' after property value",
    ],
    ['{ "policies": [', 'f:1:16: is neither YAML nor JSON: '],
    ['{ policies: [{ id: a } {}] }', 'f:1:24: is neither YAML nor JSON: '],
    ['a: 1\n---\nb: 2\n', 'f:2:1: a second document begins here'],
    [
      'policies:\n  - id: a\n    match: *\n',
      'f:3:12: is neither YAML nor JSON: Alias cannot be an empty string. Write what begins with * in quotes: match: "*"',
    ],
    [
      `${A}    penalty: { treshold: 4 }\n`,
      'f:5:16: policies.0.penalty: unknown field "treshold", did you mean "threshold"?',
    ],
    [`${A}penalty: { window: 5x }\n`, 'f:5:20: penalty.window: "5x" is not a duration'],
    [
      `a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\n`,
      'f:1:1: Excessive alias count',
    ],
  ])('%j is refused with line and column', (text, message) => {
    expect(() => parsePolicies(text, 'f')).toThrow(`POLICIES_FILE: ${message}`)
    expect(() => parsePolicies(text, 'f')).toThrow(/^[^\n]+$/)
  })

  it('is blamed with line and column for what only the limiter can see', () => {
    const file = parsePolicies(
      `${A}  - id: b\n    match: /a\n    limits: [{ limit: 1, window: 1s }]\ndeny:\n  - 10.0.0.0/99\n`,
      'f',
    )
    const tie = new BouncerError('ERR_CONTRADICTION', 'policies "b" (/a) and "a" (/a) match', 'Mend it')
    expect(file.blame(tie).message).toMatch(/^POLICIES_FILE: f:5:9: policies "b"/)
    const range = new BouncerError('ERR_INVALID', '"10.0.0.0/99" is not an IP address', 'Mend it')
    expect(file.blame(range).message).toMatch(/^POLICIES_FILE: f:9:5: /)
  })

  it.each([
    ['there is none', '/nowhere/policies.yaml', undefined, 'there is no such file'],
    ['it is a folder', '/', undefined, 'is a folder'],
    ['it is not UTF-8', undefined, Buffer.from([0xff, 0xfe, 0x00]), 'utf-8'],
  ])('cannot be read when %s', (_, path, bytes, message) => {
    const file = path ?? join(temporaryFolder(), 'policies.yaml')
    if (bytes) writeFileSync(file, bytes)
    expect(() => readPoliciesFile(file)).toThrow(message)
  })

  it('takes effect in a server; a range that is none stops it', async () => {
    const file = join(temporaryFolder(), 'policies.yaml')
    writeFileSync(file, A.replace('limit: 5', 'limit: 1').replace('/a', '/api/*'))
    const server = await testServer({ POLICIES_FILE: file })
    const statuses = [await server.as('192.0.2.1', '/api/data'), await server.as('192.0.2.1', '/api/data')]
    await server.close()
    expect(statuses.map(({ status }) => status)).toEqual([200, 429])

    writeFileSync(file, `${A}deny:\n  - 10.0.0.0/99\n`)
    await expect(testServer({ POLICIES_FILE: file })).rejects.toThrow(`${file}:6:5: "10.0.0.0/99" is not`)
    writeFileSync(file, `${A}penalty: false\n`)
    await expect(testServer({ POLICIES_FILE: file, BLOCK_DURATION: '1m' })).rejects.toThrow('Keep one of the two')
  })
})
