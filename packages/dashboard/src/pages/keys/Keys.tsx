import { PageHead } from '../../components/PageHead.tsx'

export default function Keys() {
  return <PageHead title="Keys" />
}
