import { expect, it } from 'vitest'
import { table } from '../output.ts'
import { width } from '../text.ts'
import { columnsOf } from './blocks.ts'

const NOW = Date.UTC(2026, 0, 2, 3, 4, 5)
const block = {
  client: '2001:db8:1234:5678::/64',
  reason: '5 violations within 5m',
  since: NOW - 86_400_000,
  until: NOW + 778_000,
  offence: 2,
  policy: 'auth',
  by: 'ann.example',
}

it('keeps the reason on a narrow terminal, and leaves out what matters less', () => {
  const [head, row] = table([block], columnsOf(NOW), undefined, 80).split('\n') as [string, string]
  expect(head.replace(/ +/g, ' ')).toBe('CLIENT LEFT UNTIL POLICY REASON')
  expect(row).toContain(block.reason)
  expect(width(row)).toBeLessThanOrEqual(80)
  expect(table([block], columnsOf(NOW), undefined, 60)).toContain('REASON')
})

it('says of a block that the allowlist wins over it', () => {
  const row = table([{ ...block, allowlisted: '2001:db8::/32' }], columnsOf(NOW)).split('\n')[1]
  expect(row).toContain('let in by the allowlist (2001:db8::/32): 5 violations within 5m')
})
