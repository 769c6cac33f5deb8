import { PageHead } from '../../components/PageHead.tsx'

export default function Lists() {
  return <PageHead title="Lists" />
}
