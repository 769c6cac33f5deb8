import { PageHead } from '../../components/PageHead.tsx'

export default function Policy({ id }: { id: string }) {
  return <PageHead title={id} />
}
