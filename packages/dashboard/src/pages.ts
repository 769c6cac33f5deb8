/** The pages by name, in the order of the navigation. */
export const PAGES = [
  { path: '/', name: 'Overview' },
  { path: '/clients', name: 'Clients' },
  { path: '/blocks', name: 'Blocks' },
  { path: '/lists', name: 'Lists' },
  { path: '/policies', name: 'Policies' },
  { path: '/keys', name: 'Keys' },
  { path: '/audit', name: 'Audit' },
  { path: '/fleet', name: 'Fleet' },
] as const
