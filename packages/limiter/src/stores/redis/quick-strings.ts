const lookUp = () => String.prototype.length

/**
 * Has V8 find the methods of strings the quick way again. A class that extends String, as ioredis has one, turns `String.prototype`
 * into a table, which every use of a string in the process is slower for (five times, in a loop of the simplest), until something
 * is read of it as an object, often enough for V8 to notice; after that it stays quick whatever is loaded (docs/profiling.md).
 */
export function quickenStrings(): void {
  for (let i = 0; i < 100; i++) lookUp()
}
