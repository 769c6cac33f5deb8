import react from '@vitejs/plugin-react'
import { defineConfig } from 'vite'

// The control plane to talk to while developing: npm start in another terminal.
const target = process.env.BOUNCER_URL ?? 'http://127.0.0.1:8900'

export default defineConfig({
  base: '/dashboard/',
  plugins: [react()],
  resolve: { conditions: ['@api-bouncer/source', 'module', 'browser', 'development|production'] },
  build: { target: 'es2022', sourcemap: false, reportCompressedSize: true },
  server: {
    proxy: {
      '/admin': target,
      '/dashboard/session': target,
      '/dashboard/live': { target, ws: true },
    },
  },
})
