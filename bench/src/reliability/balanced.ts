import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from '../harness.ts'
import type { Args, Calls } from './apis.ts'
import { Clients, type Planned, type Sent } from './traffic.ts'

/** One of several that serve the same API. */
export interface Instance {
  readonly name: string
  readonly worker: Worker<Calls>
  readonly clients: Clients
  /** Requests that it has not answered yet. */
  under: number
  /** Behind the balancer. */
  serving: boolean
}

export async function startInstance(name: string, args: Args): Promise<Instance> {
  const worker = await Worker.start<Calls>(
    'protected-api',
    { ...args, options: { ...args.options, instance: name } },
    { source: true },
  )
  return { name, worker, clients: new Clients(await worker.call('port')), under: 0, serving: true }
}

/** Leaves the balancer, ends what it has begun, and closes. */
export async function drain(instance: Instance): Promise<void> {
  instance.serving = false
  while (instance.under > 0) await sleep(5)
  await instance.worker.call('close')
}

export interface Answered extends Sent {
  readonly instance: string
}

/** A load balancer: sends each request when it is due, to those behind it in turn; `fleet` may change meanwhile. */
export async function balance(fleet: readonly Instance[], order: readonly Planned[]): Promise<Answered[]> {
  const began = performance.now()
  const sent: Promise<Answered>[] = []
  await new Promise<void>(resolve => {
    const timer = setInterval(() => {
      while (sent.length < order.length) {
        const { client, at } = order[sent.length] as Planned
        const due = began + at * 1000
        if (due > performance.now()) return
        const serving = fleet.filter(one => one.serving)
        const to = serving[sent.length % serving.length] as Instance
        to.under++
        const answered = to.clients.get(client, due).finally(() => {
          to.under--
        })
        sent.push(answered.then(one => ({ ...one, instance: to.name })))
      }
      clearInterval(timer)
      resolve()
    }, 2)
  })
  return Promise.all(sent)
}

/** When the first look began that showed it right, ms from now; Infinity: not within 20 s. A look every 50 ms. */
export async function until(isRight: () => Promise<boolean>): Promise<number> {
  const started = performance.now()
  for (;;) {
    const asked = performance.now() - started
    if (await isRight().catch(() => false)) return asked
    if (asked > 20_000) return Number.POSITIVE_INFINITY
    await sleep(50)
  }
}
