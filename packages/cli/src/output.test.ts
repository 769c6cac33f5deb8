import { describe, expect, it } from 'vitest'
import { type Column, csv, laidOut, leftOut, ndjson, table } from './output.ts'
import { width } from './text.ts'

interface Row {
  readonly client: string
  readonly used: number
  readonly reason: string
}
const COLUMNS: Column<Row>[] = [
  { name: 'client', value: ({ client }) => client },
  { name: 'used', csv: 'units_used', value: ({ used }) => used, text: ({ used }) => `${used} units`, align: 'right' },
  { name: 'id', value: ({ client }) => client.length, csvOnly: true },
  { name: 'reason', value: ({ reason }) => reason, cut: 2 },
]
const ROWS: Row[] = [
  { client: '1.2.3.4', used: 5, reason: 'scraping, all day' },
  { client: '2001:db8:1:2::/64', used: 120, reason: '=1+1\x1b[31m' },
]

describe('a table', () => {
  it('is aligned, with no space at the ends and control bytes shown', () => {
    expect(table(ROWS, COLUMNS)).toBe(
      [
        'CLIENT                  USED  REASON',
        '1.2.3.4              5 units  scraping, all day',
        '2001:db8:1:2::/64  120 units  =1+1\\x1b[31m',
        '',
      ].join('\n'),
    )
  })

  it('cuts the least important column, leaves it out where nothing legible remains, and never wraps', () => {
    expect(table(ROWS, COLUMNS, undefined, 40).split('\n')[1]).toBe('1.2.3.4              5 units  scraping,…')
    expect(table(ROWS, COLUMNS, undefined, 32).split('\n')[0]).toBe('CLIENT                  USED')
    expect(leftOut(laidOut(ROWS, COLUMNS, 32), 32)).toBe('no room for: REASON\n')
    expect(leftOut(laidOut(ROWS, COLUMNS, 40), 40) + leftOut(laidOut(ROWS, COLUMNS, undefined), undefined)).toBe('')
    for (const fit of [60, 40, 30, 24]) {
      for (const line of table(ROWS, COLUMNS, undefined, fit).split('\n')) expect(width(line)).toBeLessThanOrEqual(fit)
    }
  })
})

describe('for programs', () => {
  it('CSV has a header, CRLF, quotes where needed and no formulas', () => {
    expect(csv(ROWS, COLUMNS)).toBe(
      'client,units_used,id,reason\r\n1.2.3.4,5,7,"scraping, all day"\r\n2001:db8:1:2::/64,120,17,\'=1+1\\x1b[31m\r\n',
    )
    expect(csv([], COLUMNS)).toBe('client,units_used,id,reason\r\n')
  })

  it('ndjson is one object a line, and nothing for nothing', () => {
    expect(ndjson([{ a: 1 }, { a: '\n' }])).toBe('{"a":1}\n{"a":"\\n"}\n')
    expect(ndjson([])).toBe('')
  })
})
