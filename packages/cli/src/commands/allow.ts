import { listCommand } from '../lists.ts'

export const command = listCommand('allow')
