import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { beside, diffLines, renderDiff, withContext } from './diff.ts'

const AUTH = 'id: auth\nmatch: /auth/*\nlimits:\n  - { limit: 30, window: 1m }\nmode: enforce\n'

describe('a diff', () => {
  it('shows the changed lines and the field they belong to', () => {
    const diff = diffLines(AUTH, AUTH.replace('30', '20'))
    expect(renderDiff(withContext(diff))).toEqual([
      '    limits:',
      '-     - { limit: 30, window: 1m }',
      '+     - { limit: 20, window: 1m }',
    ])
  })

  it('of a new text is all of it', () => {
    expect(diffLines('', 'a\nb\n')).toEqual([
      { kind: '+', text: 'a' },
      { kind: '+', text: 'b' },
    ])
  })

  it('leads from the one to the other, and is empty for the same', () => {
    const text = fc.array(fc.constantFrom('a', 'b', 'c', '  d')).map(lines => lines.map(line => `${line}\n`).join(''))
    fc.assert(
      fc.property(text, text, (before, after) => {
        const diff = diffLines(before, after)
        const side = (leave: string) =>
          diff
            .filter(({ kind }) => kind !== leave)
            .map(line => `${line.text}\n`)
            .join('')
        expect([side('+'), side('-')]).toEqual([before, after])
        if (before === after) expect(diff.every(({ kind }) => kind === ' ')).toBe(true)
      }),
    )
  })

  it('stands beside another when there is room, else below it', () => {
    const [left, right] = [['theirs:', ['- a', '+ b']] as const, ['yours:', ['- a']] as const]
    expect(beside(left, right, 80)).toEqual(['theirs:    yours:', '- a        - a', '+ b'])
    expect(beside(left, right, 12)).toEqual(['theirs:', '- a', '+ b', '', 'yours:', '- a'])
  })
})
