#!/bin/sh
# Starts a Sentinel that watches MASTER_HOST as MASTER_NAME. What it learns (its id, the others, who is master after a
# failover) it writes into its configuration: that is made once and then left to it.
set -eu
cd "${DATA_DIR:-/data}"
if [ ! -f sentinel.conf ]; then
  cat > sentinel.conf <<CONF
port ${SENTINEL_PORT:-26379}
dir $PWD
sentinel resolve-hostnames yes
sentinel announce-hostnames yes
sentinel monitor $MASTER_NAME $MASTER_HOST ${MASTER_PORT:-6379} ${QUORUM:-2}
sentinel down-after-milliseconds $MASTER_NAME 5000
sentinel failover-timeout $MASTER_NAME 20000
sentinel parallel-syncs $MASTER_NAME 1
CONF
fi
# The image's entrypoint gives the folder to the user redis, and becomes it.
entrypoint=$(command -v docker-entrypoint.sh || true)
exec ${entrypoint:+"$entrypoint"} redis-server "$PWD/sentinel.conf" --sentinel
