import { describe, expect, it } from 'vitest'
import { csvCell, fold, safe, safeJson, truncate, width } from './text.ts'

describe('what others wrote', () => {
  it.each([
    ['\x1b[31mred', '\\x1b[31mred'],
    ['bell\x07, tab\t, line\nend', 'bell\\x07, tab\\x09, line\\x0aend'],
    ['\x9b31m (C1)', '\\x9b31m (C1)'],
    ['\u202egnp.exe', '\\u202egnp.exe'],
    ['a\u200bb\u2028c', 'a\\u200bb\\u2028c'],
    ['/plain/päth ✓ 漢字', '/plain/päth ✓ 漢字'],
  ])('%j shows as %s', (text, shown) => {
    expect(safe(text)).toBe(shown)
  })

  it('says the same in JSON, with nothing a terminal would act on', () => {
    const value = { path: '\x1b]0;x\x07\x9b\u202e' }
    expect(safeJson(value)).toBe('{"path":"\\u001b]0;x\\u0007\\u009b\\u202e"}')
    expect(JSON.parse(safeJson(value, 2))).toEqual(value)
  })
})

describe('a CSV cell', () => {
  it.each([
    ['plain', 'plain'],
    ['a,b "c"', '"a,b ""c"""'],
    ['=1+1', "'=1+1"],
    ['+1', "'+1"],
    ['-1', "'-1"],
    ['@SUM(A1)', "'@SUM(A1)"],
    ['\t=1', "'\\x09=1"],
    ['\r=1', "'\\x0d=1"],
    ['=HYPERLINK("http://x","y")', `"'=HYPERLINK(""http://x"",""y"")"`],
    ['two\nlines', 'two\\x0alines'],
    [-5, '-5'],
    [true, 'true'],
    [undefined, ''],
    [null, ''],
  ])('%j is written %s', (value, cell) => {
    expect(csvCell(value)).toBe(cell)
  })
})

describe('columns on a terminal', () => {
  it.each([
    ['abc', 3],
    ['漢字', 4],
    ['e\u0301', 1],
    ['\x1b[31mred\x1b[39m', 3],
    ['…', 1],
  ])('%j takes %i', (text, columns) => {
    expect(width(text)).toBe(columns)
  })

  it.each([
    ['abcdef', 6, 'abcdef'],
    ['abcdefg', 6, 'abcde…'],
    ['漢字漢字', 5, '漢字…'],
    ['漢字漢字', 4, '漢…'],
    ['abc', 0, ''],
  ])('%s in %i is %s', (text, columns, cut) => {
    expect(truncate(text, columns)).toBe(cut)
  })
})

describe('text on a narrow terminal', () => {
  it('breaks between words, under the cell they belong to, and leaves commands whole', () => {
    const help = '  --rps <rate>  requests a second, at most 20000\nplain words that are too long for it\n'
    const command = '  bouncer load --rps 500 --fail-if x /api/data\n'
    expect(fold(help + command, 32)).toBe(
      `  --rps <rate>  requests a\n${' '.repeat(16)}second, at most\n${' '.repeat(16)}20000\nplain words that are too long\n  for it\n${command}`,
    )
    expect(fold(help, undefined)).toBe(help)
    expect(fold(`\x1b[31mproblem\x1b[39m  one two three four`, 20)).toBe(
      `\x1b[31mproblem\x1b[39m  one two\n${' '.repeat(9)}three four`,
    )
  })
})
