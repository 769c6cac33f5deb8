import { PageHead } from '../../components/PageHead.tsx'

export default function Client({ client }: { client: string }) {
  return <PageHead title={client} />
}
