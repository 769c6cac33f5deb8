import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'

it('the limiter does not slow down the strings of the process that loads it', async () => {
  const limiter = JSON.stringify(new URL('../../index.ts', import.meta.url).href)
  // Whether V8 has it as an object with known properties, and not as a table.
  const isQuick = `new Function('return %HasFastProperties(String.prototype)')()`
  const { stdout } = await promisify(execFile)(process.execPath, [
    '--allow-natives-syntax',
    '--import',
    'tsx',
    '--conditions=@api-bouncer/source',
    '--input-type=module',
    '--eval',
    `await import(${limiter}); console.log(${isQuick}); process.exit()`,
  ])
  expect(stdout.trim()).toBe('true')
})
