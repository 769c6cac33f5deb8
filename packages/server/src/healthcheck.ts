/**
 * For a container's HEALTHCHECK: ends with 0 when the server of this environment answers. A degraded store is no illness
 * of this instance; where there is no data plane, the control plane's 401 is an answer.
 */
import { readConfig } from './config.ts'
import { urlOf } from './net.ts'

const { dataPlane, admin } = readConfig(process.env)
const { host = '0.0.0.0', port } = dataPlane ?? admin
const response = await fetch(`${urlOf({ address: host, port })}/health`, { signal: AbortSignal.timeout(2500) }).catch(
  () => undefined,
)
process.exitCode = response && (dataPlane === undefined || response.ok) ? 0 : 1
