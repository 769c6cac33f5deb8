import { PageHead } from '../../components/PageHead.tsx'

export default function Fleet() {
  return <PageHead title="Fleet" />
}
