import { randomBytes, scrypt, timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'

const derive = promisify<string, Buffer, number, Buffer>(scrypt)

interface User {
  readonly salt: Buffer
  readonly hash: Promise<Buffer>
}

const protect = (password: string): User => {
  const salt = randomBytes(16)
  return { salt, hash: derive(password, salt, 32) }
}

/** Users of the demo API: in memory, gone at the next start, and no more than a bounded number. */
export class DemoUsers {
  private readonly users = new Map<string, User>()
  private readonly nobody: User = protect(randomBytes(16).toString('hex'))
  private readonly max: number

  constructor(max = 1000) {
    this.max = max
    this.users.set('demo', protect('correct horse battery'))
  }

  /** Takes as long for a name that nobody has. */
  async verify(name: string, password: string): Promise<boolean> {
    const user = this.users.get(name)
    const { salt, hash } = user ?? this.nobody
    const [given, kept] = await Promise.all([derive(password, salt, 32), hash])
    return timingSafeEqual(given, kept) && user !== undefined
  }

  add(name: string, password: string): 'added' | 'taken' | 'full' {
    if (this.users.has(name)) return 'taken'
    if (this.users.size >= this.max) return 'full'
    this.users.set(name, protect(password))
    return 'added'
  }
}
