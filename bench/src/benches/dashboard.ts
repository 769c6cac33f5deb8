import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { chromium, type Page } from 'playwright-core'
import { io } from 'socket.io-client'
import { startControlPlane, TOKEN } from '../control-plane.ts'
import {
  type Bench,
  type Context,
  fixed,
  type Goal,
  goalOf,
  inWorker,
  median,
  type Section,
  whole,
} from '../harness.ts'
import { BenchRedis } from '../redis.ts'
import type { Args, Calls } from '../workers/fleet.ts'

const CHROMIUM = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
]
const FLEET = { instances: 20, decisions: 20_000, violations: 5000 }
const BLOCKS = 10_000
const WATCHERS = 50

/** CPU of a process in ms: user and system, from the kernel's count in hundredths of a second. */
function cpuMs(pid: number): number {
  const [, user = '0', system = '0'] =
    /\) (?:\S+ ){11}(\d+) (\d+)/.exec(readFileSync(`/proc/${pid}/stat`, 'utf8')) ?? []
  return (Number(user) + Number(system)) * 10
}

async function cpuPerSecond(pid: number, seconds: number): Promise<number> {
  const before = cpuMs(pid)
  await sleep(seconds * 1000)
  return (cpuMs(pid) - before) / seconds
}

/** The longest of the frames that the page draws while a table of 10,000 rows is scrolled, ms. */
const SCROLL = `new Promise(resolve => {
  const box = document.querySelector('section[aria-label="blocks"]')
  box.scrollTop = 0
  const frames = []
  let last = performance.now()
  const step = now => {
    frames.push(now - last)
    last = now
    box.scrollTop += 400
    if (frames.length < 240) requestAnimationFrame(step)
    else resolve(frames.slice(2))
  }
  requestAnimationFrame(step)
})`

async function signIn(page: Page, url: string): Promise<void> {
  await page.goto(`${url}/dashboard/`)
  await page.getByLabel('Admin token').fill(TOKEN)
  await page.getByRole('button', { name: 'Sign in' }).click()
  await page.getByText('● live', { exact: true }).waitFor()
}

async function run({ quick, log }: Context): Promise<Section> {
  const redis = await BenchRedis.start()
  const where = redis.where as { host: string; port: number }
  const control = await startControlPlane(where)
  const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: CHROMIUM })
  const goals: Goal[] = []
  const rows: string[][] = []
  const tell = (what: string, value: string) => {
    rows.push([what, value])
    log(`  ${what}: ${value}`)
  }
  try {
    const pid = control.child.pid as number
    const idle = await cpuPerSecond(pid, 5)
    await inWorker<Calls, void>('fleet', { redis: where, ...FLEET } satisfies Args, async fleet => {
      await sleep(4000)
      const context = await browser.newContext({ viewport: { width: 1440, height: 900 } })
      const page = await context.newPage()
      await signIn(page, control.url)

      // Usable: the numbers are there.
      const usable: number[] = []
      let bytes = 0
      const devtools = await context.newCDPSession(page)
      await devtools.send('Network.enable')
      await devtools.send('Network.setCacheDisabled', { cacheDisabled: true })
      const scripts = new Set<string>()
      devtools.on('Network.responseReceived', ({ requestId, response }) => {
        if (response.url.endsWith('.js')) scripts.add(requestId)
      })
      devtools.on('Network.loadingFinished', ({ requestId, encodedDataLength }) => {
        if (scripts.has(requestId)) bytes += encodedDataLength
      })
      for (let i = 0; i < (quick ? 2 : 5); i++) {
        bytes = 0
        const started = performance.now()
        await page.goto(`${control.url}/dashboard/`)
        await page
          .getByRole('group', { name: 'allowed /s' })
          .getByText(/^[\d,.]+$/)
          .waitFor()
        usable.push((performance.now() - started) / 1000)
      }
      tell('JavaScript of the overview, compressed', `${whole(bytes / 1000)} kB`)
      goals.push(goalOf('JavaScript of the overview, compressed', 'at most', 250, [bytes / 1000], ' kB'))
      goals.push(goalOf('From navigation to numbers, live under this load', 'at most', 1.5, usable, ' s'))

      // Live, under the fleet's load.
      let messages = 0
      page.on('websocket', socket =>
        socket.on('framereceived', ({ payload }) => {
          if (String(payload).startsWith('42')) messages++
        }),
      )
      await page.reload()
      await page.getByText('● live', { exact: true }).waitFor()
      // The page shows the last five minutes, and its heap grows a little until it has seen them.
      await sleep(quick ? 10_000 : 180_000)
      await fleet.call('made')
      await devtools.send('Performance.enable')
      const metric = async (name: string) => {
        const { metrics } = await devtools.send('Performance.getMetrics')
        return metrics.find(one => one.name === name)?.value ?? Number.NaN
      }
      const heap = async () => {
        await devtools.send('HeapProfiler.collectGarbage')
        return metric('JSHeapUsedSize')
      }
      const heapBefore = await heap()
      messages = 0
      const [busyBefore, from] = [await metric('TaskDuration'), performance.now()]
      const watched = quick ? 15 : 300
      const heaps: number[] = [heapBefore]
      const costs: number[] = []
      for (let i = 0; i < 5; i++) {
        costs.push(await cpuPerSecond(pid, watched / 5))
        heaps.push(await heap())
      }
      const cost = costs.reduce((sum, one) => sum + one / costs.length, 0)
      const seconds = (performance.now() - from) / 1000
      const busy = (((await metric('TaskDuration')) - busyBefore) / seconds) * 100
      const rate = messages / seconds
      const growth = (heaps.at(-1) as number) / heapBefore
      const made = await fleet.call('made')
      tell(
        'The fleet meanwhile',
        `${FLEET.instances} instances, ${whole(made.decisions)} decisions and ${whole(made.violations)} violations a second`,
      )
      tell('Messages a second to the page, both subscriptions', fixed(2)(rate))
      tell('Main thread busy', `${fixed(1)(busy)} %`)
      tell(
        `Heap every ${watched / 5} s, each after a forced collection`,
        `${heaps.map(bytes => fixed(1)(bytes / 1e6)).join(', ')} MB`,
      )
      goals.push(goalOf('Messages a second, each subscription', 'at most', 4, [rate / 2], ''))
      goals.push(goalOf('Main thread busy', 'at most', 30, [busy], ' %'))
      goals.push(goalOf(`Heap growth over ${watched} s`, 'at most', 1.1, [growth]))

      // One aggregation for all.
      await context.close()
      await sleep(2000)
      const nobody = await cpuPerSecond(pid, 8)
      const sockets = Array.from({ length: WATCHERS }, () =>
        io(control.url, {
          path: '/dashboard/live',
          transports: ['websocket'],
          forceNew: true,
          extraHeaders: { authorization: `Bearer ${TOKEN}` },
        }),
      )
      for (const socket of sockets) {
        socket.on('connect', () => {
          socket.emit('subscribe', 'frames')
          socket.emit('subscribe', 'events')
        })
      }
      await sleep(3000)
      const fifty = await cpuPerSecond(pid, 8)
      for (const socket of sockets) socket.close()
      tell('Control plane, CPU a second: no fleet', `${whole(idle)} ms`)
      tell('… this fleet, nobody watching', `${whole(nobody)} ms`)
      tell('… one dashboard', `${whole(cost)} ms`)
      tell(`… ${WATCHERS} dashboards`, `${whole(fifty)} ms`)

      await fleet.call('block', BLOCKS)
    })

    // 10,000 rows, without the fleet.
    const page = await (await browser.newContext({ viewport: { width: 1440, height: 900 } })).newPage()
    await signIn(page, control.url)
    await page.goto(`${control.url}/dashboard/blocks`)
    await page.getByText(/of [\d,]{5,} in force/).waitFor()
    const longest: number[] = []
    const medians: number[] = []
    for (let i = 0; i < 5; i++) {
      const frames = (await page.evaluate(SCROLL)) as number[]
      longest.push(Math.max(...frames))
      medians.push(median(frames))
    }
    tell(`Scrolling ${whole(BLOCKS)} blocks, five times: a frame`, `${fixed(1)(median(medians))} ms`)
    goals.push(goalOf(`The longest frame while ${whole(BLOCKS)} blocks scroll`, 'at most', 50, longest, ' ms'))
  } finally {
    await browser.close()
    await control.stop()
    await redis.stop()
  }
  return {
    tables: [{ title: 'The page, in Chromium', columns: ['', ''], rows }],
    goals,
    notes: [
      'Chromium, the control plane (`npm start` with `DATA_PLANE=off`), Redis and the whole fleet, real instances in one process, share this machine’s cores. Frames and events are the instances’ own; the control plane adds the frames up once for all who watch.',
      'A dashboard subscribes to frames and to events. Violations beyond 200 events a second and instance are told as one overflow, as always.',
    ],
  }
}

export const dashboard: Bench = { name: 'dashboard', title: 'The dashboard', run }
