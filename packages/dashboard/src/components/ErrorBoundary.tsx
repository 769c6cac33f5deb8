import { BouncerError } from '@api-bouncer/limiter/client'
import { Button } from '@mantine/core'
import { Component, type ReactNode } from 'react'
import { ErrorState } from './ErrorState.tsx'

interface Props {
  readonly children: ReactNode
  /** Before what failed is drawn again. */
  readonly onRetry?: () => void
}

/** What cannot be drawn says so in its place: React takes the whole page away where nobody does. */
export class ErrorBoundary extends Component<Props, { readonly error?: Error | undefined }> {
  override readonly state: { readonly error?: Error | undefined } = {}

  static getDerivedStateFromError(error: unknown) {
    if (error instanceof BouncerError) return { error }
    return { error: new Error(`The dashboard has a fault: ${error instanceof Error ? error.message : error}`) }
  }

  override render() {
    const { error } = this.state
    if (error === undefined) return this.props.children
    const retry = () => {
      this.props.onRetry?.()
      this.setState({ error: undefined })
    }
    return (
      <ErrorState error={error} what="this page" retry={retry}>
        <Button variant="default" onClick={() => location.reload()}>
          Reload
        </Button>
      </ErrorState>
    )
  }
}
