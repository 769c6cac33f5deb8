/**
 * A property of a request or a response, by its name as a value. Express gives each of them another prototype, after which no
 * two have the same hidden class; where a property is spelt out, V8 works out anew each time how to find it, in vain, which
 * costs more than looking for it (docs/profiling.md).
 */
export const read = <T extends object, Name extends keyof T>(from: T, name: Name): T[Name] => from[name]
