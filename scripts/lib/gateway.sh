# Sourced by the scripts that measure: builds, starts one gateway with one shard on free ports,
# pins it and the load to cores of their own, reads its metrics, ends what was started.
#
# TIDEGATE_BIN and TIDEGATE_BENCH_BIN name binaries to use instead of building them.
# SERVER_CPU and LOAD_CPU name the two cores; by default the first two that are allowed.

# require TOOL PACKAGE: ends with the line that installs what is missing.
require() {
    command -v "$1" >/dev/null || {
        echo "$0: $1 is missing: apt-get install $2" >&2
        exit 1
    }
}

require taskset util-linux
require curl curl
require awk mawk

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
work=$(mktemp -d)
started=()

# Ends what was started, the load first.
finish() {
    local index
    for ((index = ${#started[@]} - 1; index >= 0; index--)); do
        { kill "${started[index]}" && wait "${started[index]}"; } 2>/dev/null || true
    done
    rm -rf "$work"
}
trap finish EXIT

if [[ -z ${TIDEGATE_BIN:-} ]]; then
    cargo build --release --quiet --manifest-path "$root/Cargo.toml" --package tidegate
    TIDEGATE_BIN=${CARGO_TARGET_DIR:-$root/target}/release/tidegate
fi
if [[ -z ${TIDEGATE_BENCH_BIN:-} ]]; then
    cargo build --release --quiet --manifest-path "$root/Cargo.toml" --package tidegate-bench
    TIDEGATE_BENCH_BIN=${CARGO_TARGET_DIR:-$root/target}/release/tidegate-bench
fi

# The cores this process may use, one a line.
allowed_cpus() {
    awk '/^Cpus_allowed_list:/ {
        n = split($2, parts, ",")
        for (i = 1; i <= n; i++) {
            if (split(parts[i], ends, "-") == 1) ends[2] = ends[1]
            for (cpu = ends[1]; cpu <= ends[2]; cpu++) print cpu
        }
    }' /proc/self/status
}
mapfile -t cpus < <(allowed_cpus)
SERVER_CPU=${SERVER_CPU:-${cpus[0]}}
LOAD_CPU=${LOAD_CPU:-${cpus[1]:-${cpus[0]}}}

# wait_for SECONDS COMMAND...: until the command succeeds; fails when the time is over.
wait_for() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < deadline)) || return 1
        sleep 0.05
    done
}

# start_gateway ARGUMENT...: sets gateway_pid, shard_tid, client_url (ws://host:port), admin_url.
start_gateway() {
    local log=$work/gateway.log
    : >"$log"
    # Without history: what is measured is delivery.
    taskset -c "$SERVER_CPU" "$TIDEGATE_BIN" serve --dev --shards "${SHARDS:-1}" \
        --set channel.recovery=false --set channel.history_size=0 --listen 127.0.0.1:0 --admin 127.0.0.1:0 "$@" >"$log" 2>&1 &
    gateway_pid=$!
    started+=("$gateway_pid")
    if ! wait_for 10 grep -q '^ *metrics  ' "$log"; then
        cat "$log" >&2
        exit 1
    fi
    client_url=$(awk '$1 == "echo" { sub("/echo$", "", $2); print $2; exit }' "$log")
    admin_url=$(awk '$1 == "metrics" { sub("/metrics$", "", $2); print $2; exit }' "$log")
    local task
    for task in /proc/"$gateway_pid"/task/*; do
        if [[ $(<"$task/comm") == shard-0 ]]; then shard_tid=${task##*/}; fi
    done
}

# stop_gateway: ends the gateway and waits for it.
stop_gateway() {
    kill "$gateway_pid" && wait "$gateway_pid" || true
    unset 'started[-1]'
}

# bench ARGUMENT...: runs the load generator on its core.
bench() {
    taskset -c "$LOAD_CPU" "$TIDEGATE_BENCH_BIN" "$@"
}

# metrics FILE: keeps one scrape.
metrics() {
    curl -sSf "$admin_url/metrics" -o "$1"
}

# delta BEFORE AFTER NAME: how much a counter of shard 0 grew between two scrapes.
delta() {
    awk -v name="tidegate_$3{shard=\"0\"}" '
        $1 == name { value[FILENAME] = $2; found[FILENAME] = 1 }
        END {
            if (!found[ARGV[1]] || !found[ARGV[2]]) { print "no metric " name > "/dev/stderr"; exit 1 }
            printf "%.0f\n", value[ARGV[2]] - value[ARGV[1]]
        }' "$1" "$2"
}

# shard_cpu_ns: CPU time of the shard's thread so far.
shard_cpu_ns() {
    awk '{ print $1 }' "/proc/$gateway_pid/task/$shard_tid/schedstat"
}
