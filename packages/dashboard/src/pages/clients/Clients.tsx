import { PageHead } from '../../components/PageHead.tsx'

export default function Clients() {
  return <PageHead title="Clients" />
}
