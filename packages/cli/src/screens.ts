/** What draws on a terminal, loaded when it does. In the bundle these are modules of their own: ink has a top-level await. */
export const screens = {
  load: () => import('./ui/load.tsx'),
  top: () => import('./ui/top.tsx'),
}
