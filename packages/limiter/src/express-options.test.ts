import { expect, test } from 'vitest'
import { createBouncer, policySchema } from './index.ts'

test.each([
  ['an unknown name', { keyGenerator: () => 'x' }, /unknown field "keyGenerator"/],
  ['a name nearly right', { refundwhen: () => true }, /did you mean "refundWhen"/],
  ['a value where a function is meant', { skip: true }, /skip: expected a function/],
  ['a style that is none', { headers: 'all' }, /headers: .*both/],
])('bouncer.express and bouncer.wrap stop the start for %s, with a code and a mend', async (_, options, message) => {
  const bouncer = createBouncer()
  for (const make of [() => bouncer.express(options as never), () => bouncer.wrap(() => {}, options as never)]) {
    expect(make).toThrow(message)
    expect(make).toThrow(expect.objectContaining({ code: 'ERR_INVALID' }))
  }
  await bouncer.close()
})

test.each([[undefined], [{ callback() {} }]])(
  'bouncer.wrap stops the start for %s, which is no application',
  async app => {
    const bouncer = createBouncer()
    expect(() => bouncer.wrap(app as never)).toThrow(/is no application.*app\.callback\(\)/s)
    await bouncer.close()
  },
)

test('a misspelt method would leave its route unguarded, so it is refused with a guess', () => {
  const { error } = policySchema.safeParse({ id: 'x', match: 'GTE /x', limits: [{ limit: 1, window: '1m' }] })
  expect(error?.message).toContain('did you mean')
  expect(error?.message).toContain('GET /x')
})

test("an operator's block tells the client neither of violations nor of the operator's reason", async () => {
  const bouncer = createBouncer()
  await bouncer.control.block({ client: '9.9.9.9', reason: 'ticket 4711: suspected scraper' }, { by: 'jane' })
  const decision = await bouncer.check({
    peer: { headers: {}, socket: { remoteAddress: '9.9.9.9' } } as never,
    method: 'GET',
    path: '/',
  })
  const { problemOf } = await import('./headers.ts')
  const problem = problemOf(decision, 'id')
  expect(problem).toMatchObject({ status: 429, title: 'Blocked' })
  expect(JSON.stringify(problem)).not.toMatch(/4711|violation/)
  await bouncer.close()
})
