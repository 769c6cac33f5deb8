import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Browser, chromium, type Page } from 'playwright-core'
import { io } from 'socket.io-client'
import { type ControlPlane, startControlPlane, TOKEN } from '../control-plane.ts'
import {
  type Bench,
  type Context,
  fixed,
  type Goal,
  goalOf,
  inWorker,
  median,
  type Section,
  spread,
  type Worker,
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
const WINDOW = { viewport: { width: 1440, height: 900 } }

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

/** The control plane, a fleet that makes its traffic, and a browser. */
async function withFleet(work: (stage: Stage) => Promise<void>): Promise<void> {
  const redis = await BenchRedis.start()
  const where = redis.where as { host: string; port: number }
  const control = await startControlPlane(where)
  const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: CHROMIUM })
  try {
    const pid = control.child.pid as number
    const idle = await cpuPerSecond(pid, 5)
    await inWorker<Calls, void>('fleet', { redis: where, ...FLEET } satisfies Args, async fleet => {
      await sleep(4000)
      await work({ control, pid, idle, browser, fleet })
    })
  } finally {
    await browser.close()
    await control.stop()
    await redis.stop()
  }
}

interface Stage {
  readonly control: ControlPlane
  readonly pid: number
  /** CPU ms a second of the control plane, before the fleet came. */
  readonly idle: number
  readonly browser: Browser
  readonly fleet: Worker<Calls>
}

/** An overview on which somebody has signed in, and what its browser tells of it. */
async function openOverview({ browser, control }: Stage) {
  const context = await browser.newContext(WINDOW)
  const page = await context.newPage()
  await signIn(page, control.url)
  const devtools = await context.newCDPSession(page)
  await devtools.send('Performance.enable')
  const metric = async (name: string) => {
    const { metrics } = await devtools.send('Performance.getMetrics')
    return metrics.find(one => one.name === name)?.value ?? Number.NaN
  }
  const heap = async () => {
    await devtools.send('HeapProfiler.collectGarbage')
    return metric('JSHeapUsedSize')
  }
  return { context, page, devtools, metric, heap }
}

const fleetOf = ({ decisions, violations }: { decisions: number; violations: number }) =>
  `${FLEET.instances} instances, ${whole(decisions)} decisions and ${whole(violations)} violations a second`

/** A table that is filled and told line by line. */
function told(log: Context['log']) {
  const rows: string[][] = []
  return {
    rows,
    tell(what: string, value: string) {
      rows.push([what, value])
      log(`  ${what}: ${value}`)
    },
  }
}

async function run({ quick, log }: Context): Promise<Section> {
  const goals: Goal[] = []
  const { rows, tell } = told(log)
  await withFleet(async stage => {
    const { control, pid, idle, browser, fleet } = stage
    const { context, page, devtools, metric } = await openOverview(stage)

    // Usable: the numbers are there.
    const usable: number[] = []
    let bytes = 0
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
    await sleep(5000)
    const [busy, rates, costs]: number[][] = [[], [], []]
    await fleet.call('made')
    for (let i = 0; i < 3; i++) {
      messages = 0
      const [before, from] = [await metric('TaskDuration'), performance.now()]
      costs?.push(await cpuPerSecond(pid, quick ? 3 : 5))
      const seconds = (performance.now() - from) / 1000
      busy?.push((((await metric('TaskDuration')) - before) / seconds) * 100)
      rates?.push(messages / seconds)
    }
    tell('The fleet meanwhile', fleetOf(await fleet.call('made')))
    tell('Messages a second to the page, both subscriptions', spread(rates as number[], fixed(2)))
    tell('Main thread busy', `${spread(busy as number[], fixed(1))} %`)
    goals.push(
      goalOf(
        'Messages a second, each subscription',
        'at most',
        4,
        (rates as number[]).map(rate => rate / 2),
        '',
      ),
    )
    goals.push(goalOf('Main thread busy', 'at most', 30, busy as number[], ' %'))

    // One aggregation for all.
    await context.close()
    await sleep(2000)
    const nobody = await cpuPerSecond(pid, 5)
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
    const fifty = await cpuPerSecond(pid, 5)
    for (const socket of sockets) socket.close()
    tell('Control plane, CPU a second: no fleet', `${whole(idle)} ms`)
    tell('… this fleet, nobody watching', `${whole(nobody)} ms`)
    tell('… one dashboard', `${spread(costs as number[], whole)} ms`)
    tell(`… ${WATCHERS} dashboards`, `${whole(fifty)} ms`)

    await fleet.call('block', BLOCKS)
    // Without the fleet's load.
    await fleet.stop()
    const blocks = await (await browser.newContext(WINDOW)).newPage()
    await signIn(blocks, control.url)
    await blocks.goto(`${control.url}/dashboard/blocks`)
    await blocks.getByText(/of [\d,]{5,} in force/).waitFor()
    const [longest, medians]: [number[], number[]] = [[], []]
    for (let i = 0; i < 3; i++) {
      const frames = (await blocks.evaluate(SCROLL)) as number[]
      longest.push(Math.max(...frames))
      medians.push(median(frames))
    }
    tell(`Scrolling ${whole(BLOCKS)} blocks, three times: a frame`, `${fixed(1)(median(medians))} ms`)
    goals.push(goalOf(`The longest frame while ${whole(BLOCKS)} blocks scroll`, 'at most', 50, longest, ' ms'))
  })
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

async function watch({ quick, log }: Context): Promise<Section> {
  const goals: Goal[] = []
  const { rows, tell } = told(log)
  await withFleet(async stage => {
    const { heap } = await openOverview(stage)
    // The page shows the last five minutes, and its heap grows a little until it has seen them.
    await sleep(quick ? 10_000 : 180_000)
    await stage.fleet.call('made')
    const [step, steps] = quick ? [3, 5] : [60, 5]
    const heaps = [await heap()]
    for (let i = 0; i < steps; i++) {
      await sleep(step * 1000)
      heaps.push(await heap())
    }
    const growth = (heaps.at(-1) as number) / (heaps[0] as number)
    tell('The fleet meanwhile', fleetOf(await stage.fleet.call('made')))
    const list = heaps.map(bytes => fixed(1)(bytes / 1e6)).join(', ')
    tell(`Heap every ${step} s, each after a forced collection`, `${list} MB`)
    goals.push(goalOf(`Heap growth over ${step * steps} s`, 'at most', 1.1, [growth]))
  })
  return {
    tables: [{ title: 'An open overview', columns: ['', ''], rows }],
    goals,
    notes: [
      'The same fleet and page as above. It takes eight minutes, so the whole run leaves it out and shows what was measured when it was last asked for by name.',
    ],
  }
}

export const dashboardHeap: Bench = {
  name: 'dashboard-heap',
  title: 'The dashboard’s heap, over five minutes',
  long: true,
  run: watch,
}
