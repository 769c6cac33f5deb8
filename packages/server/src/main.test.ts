import { readFileSync, statSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { freePort } from '@api-bouncer/limiter/testing/redis-server'
import { afterEach, describe, expect, it } from 'vitest'
import { Browser, type Json, type Running, run, runMain, TOKEN, temporaryFolder } from './testing.fixture.ts'

const running: Running[] = []
afterEach(() => {
  for (const { child } of running.splice(0)) if (child.exitCode === null) child.kill('SIGKILL')
})

const start = (env: NodeJS.ProcessEnv) => {
  const process = runMain({ XDG_STATE_HOME: temporaryFolder(), ...env })
  running.push(process)
  return process
}

async function serving(env: NodeJS.ProcessEnv = {}) {
  const [port, admin] = [await freePort(), await freePort()]
  const process = start({ PORT: String(port), ADMIN_PORT: String(admin), ...env })
  await process.printed('"msg":"serving"')
  return { process, port, admin, url: `http://127.0.0.1:${port}`, adminUrl: `http://127.0.0.1:${admin}` }
}

/** Opens a connection, sends `bytes`, and collects what comes. */
function open(port: number, bytes: string) {
  const socket = connect(port, '127.0.0.1', () => socket.write(bytes))
  let text = ''
  socket.setEncoding('utf8').on('data', data => {
    text += data
  })
  socket.on('error', () => {})
  const closed = new Promise<string>(resolve => socket.on('close', () => resolve(text)))
  return { socket, closed, text: () => text }
}

const PART =
  'POST /auth/reset-password HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n{'

describe('the server process', () => {
  it('answers its operator though the data plane has more connections than there are files', {
    timeout: 60_000,
  }, async () => {
    const [port, admin] = [await freePort(), await freePort()]
    const env = {
      PORT: String(port),
      ADMIN_PORT: String(admin),
      ADMIN_TOKEN: TOKEN,
      XDG_STATE_HOME: temporaryFolder(),
    }
    const command = `ulimit -n 400; exec ${process.execPath} --import tsx --conditions=@api-bouncer/source packages/server/src/main.ts`
    const server = run('bash', ['-c', command], env)
    running.push(server)
    await server.printed('"msg":"serving"')
    const slow = Array.from({ length: 600 }, () => open(port, 'POST /auth/login HTTP/1.1\r\nHost: x\r\nX-Slow: '))
    // All have been taken or turned away.
    await new Promise(resolve => setTimeout(resolve, 1500))
    expect(slow.filter(({ socket }) => !socket.destroyed).length).toBeGreaterThan(200)
    const status = await fetch(`http://127.0.0.1:${admin}/admin/status`, {
      headers: { authorization: `Bearer ${TOKEN}` },
      signal: AbortSignal.timeout(5000),
    })
    expect(status.status).toBe(200)
    for (const { socket } of slow) socket.destroy()
    await expect
      .poll(
        () =>
          fetch(`http://127.0.0.1:${port}/health`).then(
            res => res.status,
            () => 0,
          ),
        { timeout: 10_000 },
      )
      .toBe(200)
  })

  it('says what it runs on, both URLs and what to try next, and what it says works', async () => {
    const state = temporaryFolder()
    const { process, url, adminUrl, admin } = await serving({ XDG_STATE_HOME: state })
    const { stdout, stderr } = process.output()
    const file = join(state, 'api-bouncer', `admin-token-${admin}`)
    const token = readFileSync(file, 'utf8').trim()
    expect(stderr).toContain('store: embedded')
    expect(stderr).toContain(`data plane      ${url}`)
    expect(stderr).toContain(`control plane   ${adminUrl}`)
    expect(stderr).toContain(`curl -H "Authorization: Bearer $(cat ${file})" ${adminUrl}/admin/status`)
    expect(stdout + stderr).not.toContain(token)
    for (const line of stdout.trim().split('\n')) expect(JSON.parse(line)).toHaveProperty('level')
    expect((statSync(file).mode & 0o777).toString(8)).toBe('600')
    const status = await fetch(`${adminUrl}/admin/status`, { headers: { authorization: `Bearer ${token}` } })
    expect(status.status).toBe(200)
    process.child.kill('SIGTERM')
    expect(await process.exited).toEqual({ code: 0, signal: null })
  })

  it('leads to the dashboard: the link signs in, and the load line makes an attack to see there', async () => {
    const build = run(globalThis.process.execPath, ['--import', 'tsx', 'scripts/build-dashboard.ts'], {})
    await build.exited
    const state = temporaryFolder()
    const { process, adminUrl } = await serving({ XDG_STATE_HOME: state, HOST: '127.0.0.1' })
    const { stdout, stderr } = process.output()
    const link = new URL(/^dashboard +(\S+)$/m.exec(stderr)?.[1] as string)
    expect(link.origin + link.pathname).toBe(`${adminUrl}/dashboard/sign-in`)
    expect(stdout).not.toContain(link.hash.slice(1))
    const browser = new Browser(adminUrl)
    expect(await browser.signIn({ code: link.hash.slice(1) })).toMatchObject({ role: 'operator' })

    const line = /^an attack to watch:\n {2}(.+)$/m.exec(stderr)?.[1] as string
    expect(line).toMatch(/^npm run bouncer -- load .*--duration 15s --keep \/api\/data$/)
    const load = run('bash', ['-c', line.replace('--duration 15s', '--duration 4s')], { XDG_STATE_HOME: state })
    expect(await load.exited, load.output().stderr).toMatchObject({ code: 0 })
    const { blocks } = (await browser.send('GET', '/admin/blocks')).body
    expect(blocks.map(({ client }: { client: string }) => client).sort()).toEqual(['198.18.0.19', '198.18.0.20'])
    const allowed = async () => {
      const { buckets } = (await browser.send('GET', '/admin/clients/198.18.0.20/history')).body
      return buckets.reduce((sum: number, { outcomes }: Json) => sum + (outcomes.allowed ?? 0), 0)
    }
    await expect.poll(allowed, { timeout: 3000 }).toBe(100)
  })

  it.each(['PORT', 'ADMIN_PORT'])('tells when %s is in use, on one line, and ends with 1', async name => {
    const other = createServer()
    await new Promise<void>(resolve => other.listen(0, '127.0.0.1', resolve))
    const { port } = other.address() as { port: number }
    const process = start({ PORT: '0', ADMIN_PORT: '0', HOST: '127.0.0.1', [name]: String(port) })
    expect((await process.exited).code).toBe(1)
    expect(process.output().stderr).toBe(
      `api-bouncer: ${name}: port ${port} is in use. Stop what listens there, or choose another: ${name}=${port + 1}\n`,
    )
    await new Promise(resolve => other.close(resolve))
  })

  it('stops at a wrong setting with one line', async () => {
    const process = start({ VIOLATION_WINDOW: '5x' })
    expect((await process.exited).code).toBe(1)
    expect(process.output()).toEqual({
      stdout: '',
      stderr:
        'api-bouncer: VIOLATION_WINDOW: "5x" is not a duration (write 250ms, 90s, 15m, 4h or 7d). For example: VIOLATION_WINDOW=5m\n',
    })
  })

  it('finishes what is in flight before it ends, accepts nothing new, and cuts idle connections', async () => {
    const { process, port, url } = await serving()
    const idle = open(port, 'GET /health HTTP/1.1\r\nHost: x\r\n\r\n')
    const busy = open(port, PART)
    // "100 Continue" proves that the request has arrived and its handler waits for the rest of the body.
    await expect.poll(busy.text).toContain('100 Continue')
    await expect.poll(idle.text).toContain('200 OK')
    process.child.kill('SIGTERM')
    await process.printed('stopping')
    await idle.closed
    await expect(fetch(`${url}/health`)).rejects.toThrow()
    busy.socket.write('}')
    expect(await busy.closed).toContain('202 Accepted')
    expect(await process.exited).toEqual({ code: 0, signal: null })
  })

  it('ends at once at a second signal', async () => {
    const { process, port } = await serving()
    const busy = open(port, PART)
    await expect.poll(busy.text).toContain('100 Continue')
    process.child.kill('SIGINT')
    await process.printed('stopping')
    process.child.kill('SIGINT')
    expect(await process.exited).toEqual({ code: 130, signal: null })
  })

  it('runs the control plane alone with DATA_PLANE=off', async () => {
    const { process, url, adminUrl } = await serving({ DATA_PLANE: 'off', ADMIN_TOKEN: TOKEN })
    expect(process.output().stderr).toContain('data plane      off')
    expect(process.output().stderr).toContain('Bearer $ADMIN_TOKEN')
    await expect(fetch(url)).rejects.toThrow()
    expect((await fetch(`${adminUrl}/metrics`, { headers: { authorization: `Bearer ${TOKEN}` } })).status).toBe(200)
  })
})
