import { PageHead } from '../../components/PageHead.tsx'

export default function Audit() {
  return <PageHead title="Audit" />
}
