import { IncomingMessage } from 'node:http'
import type { Decision } from './contracts/index.ts'
import { read } from './read.ts'

const DECISION = Symbol('bouncer')

type Carrier = string[] & { [DECISION]?: Decision }

/** Prototypes whose requests tell of their decision. */
const telling = new WeakSet<object>()
/** One of them: that of the request before is nearly always that of the next. */
let last: object | undefined

const accessor = {
  configurable: true,
  enumerable: true,
  get(this: IncomingMessage): Decision | undefined {
    return (this.rawHeaders as Carrier | undefined)?.[DECISION]
  },
  set(this: IncomingMessage, value: unknown): void {
    Object.defineProperty(this, 'bouncer', { value, configurable: true, enumerable: true, writable: true })
  },
}

/**
 * Makes `req.bouncer` the decision. Express gives each request a prototype and so a hidden class of its own; with a property more it
 * has another, in which everything is looked up anew, and that is 4 µs a request (docs/profiling.md). There the decision lies with
 * the raw headers, and the application's own prototype of requests, which is there to be extended, finds it.
 */
export function carry(req: IncomingMessage, decision: Decision): void {
  const prototype = Object.getPrototypeOf(req) as object
  const carrier = read(req, 'rawHeaders') as Carrier | undefined
  const isFirst = carrier?.[DECISION] === undefined
  if (carrier) carrier[DECISION] = decision
  if (carrier && (prototype === last || tells(prototype)) && (isFirst || !Object.hasOwn(req, 'bouncer'))) return
  req.bouncer = decision
}

/** Whether requests with this prototype tell, from now on if not before. */
function tells(prototype: object): boolean {
  if (!telling.has(prototype)) {
    if (!isOfAnApp(prototype)) return false
    // The application's own `bouncer`, not that of an application it is mounted in.
    if ('bouncer' in prototype && !telling.has(Object.getPrototypeOf(prototype))) return false
    if (!Reflect.defineProperty(prototype, 'bouncer', accessor)) return false
    telling.add(prototype)
  }
  last = prototype
  return true
}

/** Express makes each application a prototype of its own, `app.request`; Node's is everybody's. */
const isOfAnApp = (prototype: object) => prototype instanceof IncomingMessage && Object.hasOwn(prototype, 'app')
