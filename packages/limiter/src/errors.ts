export { BouncerError, type ErrorCode } from './contracts/errors.ts'
