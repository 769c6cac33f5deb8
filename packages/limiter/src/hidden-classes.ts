import type { ServerResponse } from 'node:http'

/*
 * V8 finds a property quickly by an object's hidden class, which objects that were made alike share. Express gives each
 * request and response the prototype of its application, and in V8 before 13 (Node.js before 24) what is added to an object
 * after that makes a class of its own: every place that spells one of its properties out works out anew how to find it, in
 * vain (docs/profiling.md, "Behind Express").
 */
const UNSHARED = Number.parseInt(process.versions.v8 ?? '', 10) < 13

/** A property of a request or a response, by its name as a value: only looked for, which costs less than a class in vain. */
export const read = <T extends object, Name extends keyof T>(from: T, name: Name): T[Name] => from[name]

/**
 * Has V8 keep the properties of Express's response as a table, as tables mostly share a class again: takes away what Express
 * has added, and puts it back. What nobody gave another prototype has a class that is shared, and is left alone, as is what
 * would not be the same again.
 */
export function keepAsTable(res: ServerResponse & { locals?: unknown }): void {
  if (!UNSHARED || !Object.hasOwn(res, 'locals')) return
  const prototype = Object.getPrototypeOf(res)
  if (prototype === prototype?.constructor?.prototype) return
  const locals = Object.getOwnPropertyDescriptor(res, 'locals')
  if (!locals?.configurable || !locals.writable || !locals.enumerable || !Object.isExtensible(res)) return
  if (Reflect.deleteProperty(res, 'locals')) res.locals = locals.value
}
