import { PageHead } from '../../components/PageHead.tsx'

export default function Blocks() {
  return <PageHead title="Blocks" />
}
