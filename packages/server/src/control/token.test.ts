import { chmodSync, mkdirSync, readFileSync, statSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { temporaryFolder } from '../testing.fixture.ts'
import { keepToken } from './token.ts'

const mode = (path: string) => (statSync(path).mode & 0o777).toString(8)

describe('the token of a control plane that was given none', () => {
  it('is kept where only its user can read it, and used again', () => {
    const folder = join(temporaryFolder(), 'state', 'api-bouncer')
    const { token, file } = keepToken(folder, 8900)
    expect(token).toMatch(/^[\w-]{43}$/)
    expect(readFileSync(file, 'utf8')).toBe(`${token}\n`)
    expect([mode(folder), mode(file)]).toEqual(['700', '600'])
    expect(keepToken(folder, 8900).token).toBe(token)
    expect(keepToken(folder, 8901).token).not.toBe(token)
  })

  it.each([
    ['others could read', (file: string) => chmodSync(file, 0o644)],
    ['holds no token', (file: string) => writeFileSync(file, 'short\n')],
    [
      'is a link',
      (file: string) => {
        const elsewhere = `${file}.elsewhere`
        writeFileSync(elsewhere, readFileSync(file), { mode: 0o600 })
        unlinkSync(file)
        symlinkSync(elsewhere, file)
      },
    ],
  ])('is replaced when its file %s', (_, spoil) => {
    const folder = temporaryFolder()
    const { token, file } = keepToken(folder, 8900)
    spoil(file)
    const fresh = keepToken(folder, 8900)
    expect(fresh.token).not.toBe(token)
    expect(mode(file)).toBe('600')
  })

  it('stops the start with a mend where it cannot be kept', () => {
    const folder = temporaryFolder()
    mkdirSync(join(folder, 'x'))
    writeFileSync(join(folder, 'x', 'file'), '')
    for (const place of [join(folder, 'x', 'file', 'y'), '/proc/nowhere/api-bouncer']) {
      expect(() => keepToken(place, 8900)).toThrow(/ADMIN_TOKEN: is not set, .*Set ADMIN_TOKEN/)
    }
  })
})
