FROM node:20-slim AS base
WORKDIR /app
ENV NPM_CONFIG_AUDIT=false NPM_CONFIG_FUND=false NPM_CONFIG_UPDATE_NOTIFIER=false NPM_CONFIG_IGNORE_SCRIPTS=true

# Only what npm reads: its steps below are repeated when one of these files changes, not with every line of code.
FROM base AS manifests
COPY . .
RUN find . -type f ! -name package.json ! -name package-lock.json -delete

FROM base AS build
COPY --from=manifests /app ./
RUN npm ci --include-workspace-root --workspace packages/limiter --workspace packages/server --workspace packages/dashboard
COPY . .
RUN npx tsc -b packages/server && npm run build --workspace packages/dashboard
# Of the sources only the Lua scripts run.
RUN find packages -path '*/src/*' -type f ! -name '*.lua' -delete

FROM base AS modules
COPY --from=manifests /app ./
RUN npm ci --omit=dev --workspace packages/limiter --workspace packages/server

FROM base
ENV NODE_ENV=production
COPY --from=modules /app ./
COPY --from=build /app/packages/limiter/dist ./packages/limiter/dist
COPY --from=build /app/packages/limiter/src ./packages/limiter/src
COPY --from=build /app/packages/server/dist ./packages/server/dist
COPY --from=build /app/packages/dashboard/dist ./packages/dashboard/dist
USER node
EXPOSE 8000 8900
HEALTHCHECK --interval=10s --timeout=3s --start-period=15s CMD ["node", "packages/server/dist/healthcheck.js"]
CMD ["node", "packages/server/dist/main.js"]
