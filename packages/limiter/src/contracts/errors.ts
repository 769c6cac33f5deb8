export type ErrorCode =
  | 'ERR_INVALID' // a value that cannot be; the message names it
  | 'ERR_UNSAFE' // a setting that would let clients choose who they are
  | 'ERR_CONTRADICTION' // two settings that cannot both hold
  | 'ERR_NOT_FOUND'
  | 'ERR_CONFLICT' // someone else changed it first
  | 'ERR_UNAVAILABLE' // the store does not answer
  | 'ERR_UNAUTHORISED' // the control plane does not take this token

/** Says what, where, and (in `mend`) what to do about it. */
export class BouncerError extends Error {
  readonly code: ErrorCode
  /** The message without the mend. */
  readonly what: string
  readonly mend: string
  override readonly name = 'BouncerError'

  constructor(code: ErrorCode, message: string, mend = '') {
    super(mend === '' ? message : `${message}. ${mend}`)
    this.code = code
    this.what = message
    this.mend = mend
  }
}
