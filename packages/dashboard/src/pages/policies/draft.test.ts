import { policySchema } from '@api-bouncer/limiter/contracts'
import { describe, expect, test } from 'vitest'
import { changeField, consequences, readDraft, template, write } from './draft.ts'

const policy = policySchema.parse({ id: 'auth', match: '/auth/*', limits: [{ limit: 30, window: '1m' }] })

test('what is written is read back the same', () => {
  expect(readDraft(write(policy), 'auth').policy).toEqual(policy)
  expect(readDraft(template('fresh'), 'fresh').policy?.mode).toBe('shadow')
})

describe('problems stand where they are', () => {
  test.each([
    ['id: auth\nlimits:\n  - { limit: 0, window: 1m }\n', '0'],
    ['id: auth\nlimits:\n  - { limit: 5, window: 1 fortnight }\n', '1 fortnight'],
    ['id: auth\nlimitz: 3\nlimits:\n  - { limit: 5, window: 1m }\n', '3'],
    ['id: other\nlimits:\n  - { limit: 5, window: 1m }\n', 'other'],
  ])('%j', (text, at) => {
    const { problems, policy } = readDraft(text, 'auth')
    expect(policy).toBeUndefined()
    expect(problems.map(({ from, to }) => text.slice(from, to).trim())).toContain(at)
  })

  test('an unknown field is told which one was meant', () => {
    const { problems } = readDraft('id: auth\nlimits:\n  - { limit: 5, windo: 1m }\n', 'auth')
    expect(problems.map(({ message }) => message).join()).toContain('did you mean "window"?')
  })

  test.each(['', '[', 'just words', '- 1\n- 2', 'a: &x [*x]'])('%j is no policy, and nothing breaks', text => {
    const { problems, policy } = readDraft(text, 'auth')
    expect(policy).toBeUndefined()
    expect(problems.length).toBeGreaterThan(0)
  })
})

test('the form changes one field and leaves comments alone', () => {
  const text = '# why it is so low\nid: auth\nlimits:\n  - limit: 30 # per person\n    window: 1m\n'
  const changed = changeField(text, ['limits', 0, 'limit'], 20)
  expect(changed).toContain('# why it is so low')
  expect(readDraft(changed, 'auth').policy?.limits).toEqual([{ limit: 20, window: '1m' }])
  expect(readDraft(changeField(changed, ['cost'], 2), 'auth').policy?.cost).toBe(2)
})

test('says what a change does to the counters', () => {
  const change = (over: object) => consequences(policy, policySchema.parse({ ...policy, ...over })).join(' ')
  expect(change({ algorithm: 'gcra' })).toMatch(/counts anew/)
  expect(change({ limits: [{ limit: 20, window: '1m' }] })).toMatch(/more than 20 of 30/)
  expect(change({ limits: [{ limit: 30, window: '2m' }] })).toMatch(/per 1m is forgotten/)
  expect(change({ mode: 'shadow' })).toMatch(/refuses nobody/)
  expect(change({})).toBe('')
})
