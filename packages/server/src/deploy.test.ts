import { execFileSync, spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { freePort, RedisServer } from '@api-bouncer/limiter/testing/redis-server'
import { Ajv } from 'ajv'
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { endAll, instance, type Json, ROOT, run, TOKEN, temporaryFolder } from './testing.fixture.ts'

const read = (path: string) => readFileSync(join(ROOT, path), 'utf8')
const compose: Json = parse(read('docker-compose.yml'), { merge: true })
const services: [string, Json][] = Object.entries(compose.services)

afterEach(endAll)

describe('docker-compose.yml', () => {
  it('is what the Compose specification says', () => {
    // The official schema, as dclint ships it.
    const folder = dirname(createRequire(import.meta.url).resolve('dclint/package.json'))
    const { $schema: _, ...schema } = JSON.parse(readFileSync(join(folder, 'schemas/compose.schema.json'), 'utf8'))
    const validate = new Ajv({ strict: false, validateFormats: false, allErrors: true }).compile(schema)
    validate(compose)
    expect(validate.errors).toBeNull()
  })

  it('is read by Compose itself, where there is one', context => {
    const docker = (...args: string[]) => execFileSync('docker', args, { cwd: ROOT, stdio: 'pipe' })
    try {
      docker('compose', 'version')
    } catch {
      context.skip('there is no docker compose')
    }
    docker('compose', '--profile', '*', 'config', '--quiet')
  })

  it('names only what there is', () => {
    for (const [name, service] of services) {
      for (const other of Object.keys(service.depends_on ?? {})) {
        const theirs: string[] | undefined = compose.services[other]?.profiles
        expect(compose.services[other], `${name} depends on ${other}`).toBeDefined()
        if (theirs) expect(theirs).toEqual(expect.arrayContaining(service.profiles))
        expect(service.depends_on[other].condition).toBe('service_healthy')
        expect(compose.services[other].healthcheck, `${other} has a health check`).toBeDefined()
      }
      for (const volume of service.volumes ?? []) {
        const [from] = volume.split(':')
        if (from.startsWith('.')) expect(existsSync(join(ROOT, from)), from).toBe(true)
        else expect(Object.keys(compose.volumes)).toContain(from)
      }
      for (const secret of service.secrets ?? []) expect(Object.keys(compose.secrets)).toContain(secret)
    }
  })

  it('starts Redis alone by default, and needs no variable for it', () => {
    expect(services.filter(([, { profiles }]) => !profiles).map(([name]) => name)).toEqual(['redis'])
    // Compose fills in every service before it picks those to start: one ${…:?} anywhere would stop all of them.
    expect(read('docker-compose.yml').replace(/^ *#.*$/gm, '')).not.toMatch(/\$\{\w+:?\?/)
    for (const [name, { ports = [] }] of services) {
      for (const port of ports) if (port !== '8000:8000') expect(port, name).toMatch(/^127\.0\.0\.1:/)
    }
  })

  it('gives Redis a command that it takes, and keeps what it is told', async () => {
    const redis = await RedisServer.start(...compose.services.redis.command.slice(1))
    const ask = (...args: string[]) =>
      execFileSync('redis-cli', ['-p', String(redis.port), ...args], { encoding: 'utf8' })
    const policy = ask('config', 'get', 'maxmemory-policy')
    expect([ask('config', 'get', 'appendonly'), policy]).toEqual([
      'appendonly\nyes\n',
      'maxmemory-policy\nnoeviction\n',
    ])
    ask('set', 'a', '1')
    await redis.kill()
    await redis.start()
    expect(ask('get', 'a')).toBe('1\n')
    await redis.stop()
  })

  it('makes the server refuse an empty ADMIN_TOKEN', async () => {
    const { ADMIN_HOST } = compose.services.server.environment
    const process = run(globalThis.process.execPath, MAIN, { ADMIN_HOST, ADMIN_TOKEN: '', PORT: '0', ADMIN_PORT: '0' })
    expect((await process.exited).code).toBe(1)
    expect(process.output().stderr).toMatch(/^api-bouncer: ADMIN_TOKEN: must be set .*\n$/)
  })

  it('lets Prometheus scrape the server, with the token', () => {
    const [job] = (parse(read('deploy/prometheus/prometheus.yml')) as Json).scrape_configs
    const { environment } = compose.secrets['admin-token']
    expect(environment).toBe('ADMIN_TOKEN')
    expect(job.authorization).toEqual({ credentials_file: '/run/secrets/admin-token' })
    expect(job.static_configs).toEqual([{ targets: ['server:8900'] }])
    // /metrics over http are Prometheus' defaults.
    expect([job.metrics_path, job.scheme]).toEqual([undefined, undefined])
  })
})

const MAIN = ['--import', 'tsx', '--conditions=@api-bouncer/source', 'packages/server/src/main.ts']

describe('the Sentinels of docker-compose.yml', () => {
  it('find the master, and lead the server to it', async () => {
    const master = await RedisServer.start()
    const [port, folder] = [await freePort(), temporaryFolder()]
    const env = { DATA_DIR: folder, SENTINEL_PORT: String(port), MASTER_PORT: String(master.port), QUORUM: '1' }
    const { MASTER_NAME } = compose.services['sentinel-1'].environment
    const start = () => run('sh', ['deploy/sentinel/sentinel.sh'], { ...env, MASTER_NAME, MASTER_HOST: 'localhost' })
    // A second start must not undo what the first has learnt.
    const first = start()
    await first.printed('+monitor master')
    first.child.kill()
    await first.exited
    const id = /sentinel myid (\w+)/.exec(readFileSync(join(folder, 'sentinel.conf'), 'utf8'))?.[1] as string
    const second = start()
    await second.printed(id)
    const one = await instance({ REDIS_SENTINELS: `127.0.0.1:${port}`, REDIS_SENTINEL_NAME: MASTER_NAME })
    expect(await (await one.get('/health')).json()).toMatchObject({ status: 'ok', store: 'redis' })
    second.child.kill()
    await second.exited
    await master.stop()
  })
})

/*
 * There need be no Docker for the Dockerfile to be run: each stage is a folder here, and its RUN lines run there as they
 * stand. What this cannot show is whether the base image holds what they need (node, npm, sh, find).
 */
interface Image {
  readonly folder: string
  readonly env: NodeJS.ProcessEnv
  user?: string
  command?: string[]
  healthcheck?: string[]
}

function build(context: string[]): Image {
  const stages = new Map<string, Image>()
  let image = { folder: '', env: {} } as Image
  const lines = read('Dockerfile')
    .replace(/^#.*\n/gm, '')
    .split('\n')
    .filter(line => line.trim() !== '')
  for (const line of lines) {
    const [, instruction, rest] = /^([A-Z]+) (.*)$/.exec(line) as unknown as [string, string, string]
    if (instruction === 'FROM') {
      const [from = '', , name = ''] = rest.split(' ')
      const base = stages.get(from)
      image = { folder: temporaryFolder(), env: { ...base?.env } }
      if (base) cpSync(base.folder, image.folder, { recursive: true, verbatimSymlinks: true })
      stages.set(name, image)
    } else if (instruction === 'ENV') {
      for (const pair of rest.split(' ')) image.env[pair.split('=')[0] as string] = pair.split('=')[1]
    } else if (instruction === 'COPY') copy(rest, image, stages, context)
    else if (instruction === 'RUN') {
      const env = { ...process.env, ...image.env, NPM_CONFIG_PREFER_OFFLINE: 'true' }
      const { status, stdout, stderr } = spawnSync('sh', ['-ec', rest], { cwd: image.folder, env, encoding: 'utf8' })
      expect(status, `${line}\n${stdout}${stderr}`).toBe(0)
    } else if (instruction === 'USER') image.user = rest
    else if (instruction === 'CMD') image.command = JSON.parse(rest)
    else if (instruction === 'HEALTHCHECK') image.healthcheck = JSON.parse(rest.split(' CMD ')[1] as string)
    else if (instruction === 'WORKDIR') expect(rest).toBe('/app')
    else expect(instruction).toBe('EXPOSE')
  }
  for (const { folder } of stages.values()) if (folder !== image.folder) rmSync(folder, { recursive: true })
  return image
}

function copy(rest: string, image: Image, stages: ReadonlyMap<string, Image>, context: readonly string[]): void {
  const [, stage, from = '', to = ''] = /^(?:--from=(\w+) )?(\S+) (\S+)$/.exec(rest) as RegExpExecArray
  if (stage === undefined) {
    expect([from, to]).toEqual(['.', '.'])
    for (const file of context) {
      mkdirSync(dirname(join(image.folder, file)), { recursive: true })
      cpSync(join(ROOT, file), join(image.folder, file))
    }
    return
  }
  const source = join((stages.get(stage) as Image).folder, from.replace(/^\/app\/?/, ''))
  cpSync(source, join(image.folder, to), { recursive: true, verbatimSymlinks: true })
}

/** The files that .dockerignore lets through. */
function contextFiles(): string[] {
  const ignored = read('.dockerignore')
    .trim()
    .split('\n')
    .map(pattern => {
      const source = pattern
        .replace(/[.+]/g, '\\$&')
        .replace(/\*\*\/|\*/g, glob => (glob === '*' ? '[^/]*' : '(?:.*/)?'))
      return new RegExp(`^${source}$`)
    })
  const walk = (folder: string): string[] =>
    readdirSync(join(ROOT, folder), { withFileTypes: true }).flatMap(entry => {
      const path = folder === '' ? entry.name : `${folder}/${entry.name}`
      if (ignored.some(pattern => pattern.test(path))) return []
      return entry.isDirectory() ? walk(path) : [path]
    })
  return walk('')
}

describe('what the Dockerfile makes', () => {
  let image: Image
  afterAll(() => {
    if (image) rmSync(image.folder, { recursive: true, force: true })
  })

  it('is built from what .dockerignore lets through, by the steps as they stand', { timeout: 240_000 }, () => {
    const files = contextFiles()
    expect(files).toContain('packages/server/src/main.ts')
    expect(files.filter(file => /node_modules|dist\/|\.git|\.env|\.md$/.test(file))).toEqual([])
    image = build(files)
    expect(image.user).toBe('node')
  })

  it('holds what runs, and nothing else', () => {
    const files = readdirSync(join(image.folder, 'packages'), { recursive: true, encoding: 'utf8' })
    expect(files.filter(file => /\.test\.|\/src\/.*\.ts$/.test(file))).toEqual([])
    expect(files).toContain('limiter/src/stores/redis/check.lua')
    expect(files).toContain('dashboard/dist/index.html')
    const modules = readdirSync(join(image.folder, 'node_modules'))
    for (const name of ['typescript', 'tsx', 'vite', 'react-dom', 'vitest', 'ajv', 'rate-limiter-flexible'])
      expect(modules).not.toContain(name)
  })

  it('serves with plain node, on Redis, and its health check tells', async () => {
    const redis = await RedisServer.start()
    const [port, adminPort] = [await freePort(), await freePort()]
    const env = {
      ...image.env,
      PORT: String(port),
      ADMIN_PORT: String(adminPort),
      ADMIN_TOKEN: TOKEN,
      REDIS_URL: `redis://127.0.0.1:${redis.port}`,
      // A busy machine's first request may take longer than usual, and would be let in uncounted.
      DECISION_DEADLINE: '5s',
    }
    const start = (command: readonly string[], more = {}) =>
      run(process.execPath, command.slice(1), { ...env, ...more }, image.folder)
    expect([image.command?.[0], image.healthcheck?.[0]]).toEqual(['node', 'node'])
    const health = async (more = {}) => (await start(image.healthcheck as string[], more).exited).code
    expect(await health()).toBe(1)
    const server = start(image.command as string[])
    await server.printed('"msg":"serving"')
    expect(await health()).toBe(0)
    expect(await health({ DATA_PLANE: 'off' })).toBe(0)
    const answer = await fetch(`http://127.0.0.1:${port}/health`)
    expect(await answer.json()).toMatchObject({ status: 'ok', store: 'redis' })
    const data = await fetch(`http://127.0.0.1:${port}/api/data`)
    expect([data.status, data.headers.get('x-ratelimit-remaining')]).toEqual([200, '99'])
    const page = await fetch(`http://127.0.0.1:${adminPort}/dashboard/sign-in`)
    expect([page.status, page.headers.get('content-type')]).toEqual([200, 'text/html; charset=utf-8'])
    server.child.kill('SIGTERM')
    expect(await server.exited).toEqual({ code: 0, signal: null })
    await redis.stop()
  })
})
