import { PageHead } from '../../components/PageHead.tsx'

export default function Policies() {
  return <PageHead title="Policies" />
}
