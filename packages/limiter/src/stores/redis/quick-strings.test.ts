import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'

/** Whether V8 has String.prototype as an object with known properties, and not as a table, in a process that has loaded this. */
async function isQuickWith(module: string): Promise<string> {
  const asked = `await import(${JSON.stringify(module)}); console.log(new Function('return %HasFastProperties(String.prototype)')()); process.exit()`
  const { stdout } = await promisify(execFile)(process.execPath, [
    '--allow-natives-syntax',
    ...['--import', 'tsx', '--conditions=@api-bouncer/source'],
    ...['--input-type=module', '--eval', asked],
  ])
  return stdout.trim()
}

it('the limiter does not slow down the strings of the process that loads it', async () => {
  expect(await isQuickWith(new URL('../../index.ts', import.meta.url).href)).toBe('true')
})
