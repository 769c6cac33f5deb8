// What a program needs that only calls a control plane: a command line starts without loading the schemas.
export * from './deciding.ts'
export * from './duration.ts'
export * from './errors.ts'
export * from './event-id.ts'
export { type Fetch, type HttpControlOptions, httpControlPlane } from './http-client.ts'
export * from './own.ts'
export * from './spelling.ts'
export * from './store-mend.ts'
