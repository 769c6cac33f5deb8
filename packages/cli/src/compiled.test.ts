import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'

it('starts from what V8 compiled when the bundle was built', async () => {
  const compiled = new URL('../bundle/compiled.js', import.meta.url).href
  const code = `import(${JSON.stringify(compiled)}).then(({ script }) => console.log(script.cachedDataRejected))`
  const { stdout } = await promisify(execFile)(process.execPath, ['-e', code])
  expect(stdout.trim()).toBe('false')
})
