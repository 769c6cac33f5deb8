import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { brotliCompressSync, gzipSync } from 'node:zlib'
import react from '@vitejs/plugin-react'
import { defineConfig, type Plugin } from 'vite'

// The control plane to talk to while developing: npm start in another terminal.
const target = process.env.BOUNCER_URL ?? 'http://127.0.0.1:8900'

/** Beside each file the same compressed, as well as can be: a server would do it worse, and for every visitor anew. */
const compressed: Plugin = {
  name: 'compressed',
  apply: 'build',
  writeBundle({ dir = '' }, files) {
    for (const file of Object.values(files)) {
      if (!/\.(js|css|svg)$/.test(file.fileName)) continue
      const bytes = file.type === 'chunk' ? file.code : file.source
      const path = join(dir, file.fileName)
      writeFileSync(`${path}.br`, brotliCompressSync(bytes))
      writeFileSync(`${path}.gz`, gzipSync(bytes, { level: 9 }))
    }
  },
}

export default defineConfig({
  base: '/dashboard/',
  plugins: [react(), compressed],
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
