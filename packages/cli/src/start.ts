import { readFileSync } from 'node:fs'
import { join } from 'node:path'

/** The whole command line: what needs no command loads nothing, neither commander nor a connection. */
export async function start(io: NodeJS.Process, home: string): Promise<void> {
  // A reader that has what it wanted (`bouncer block - | head -1`) ends no write that was asked for: what more is said is lost,
  // and no more. Elsewhere what was to be kept is not.
  io.stdout.on('error', ({ code }: NodeJS.ErrnoException) => {
    if (code === 'EPIPE') return
    io.stderr.write(`bouncer: cannot write the output (${code})\n`)
    io.exit(1)
  })
  io.stderr.on('error', ({ code }: NodeJS.ErrnoException) => code === 'EPIPE' || io.exit(1))
  const argv = io.argv.slice(2)
  const [first] = argv
  if (first === '--version' || first === '-V' || first === '-v') {
    const { version } = JSON.parse(readFileSync(join(home, 'package.json'), 'utf8'))
    io.stdout.write(`bouncer ${version}\n`)
  } else if (argv.length === 0 || (argv.length === 1 && (first === '--help' || first === '-h' || first === 'help'))) {
    const [{ helpText }, { fold }] = await Promise.all([import('./catalog.ts'), import('./text.ts')])
    io.stdout.write(fold(helpText(), io.stdout.columns))
  } else {
    const { run } = await import('./commands.ts')
    await run(argv, io)
  }
}
