# Sourced after gateway.sh by the scripts that make the runs of bench/baselines, or make them again:
# echo at a fixed rate, and a fan-out to 1,000 subscribers.

# baseline NAME DURATION: makes the run, its report in $work/NAME.json; the exit code is the load
# generator's.
baseline() {
    local name=$1 duration=$2 run
    case $name in
    echo) run=(echo --url "$client_url/echo" --connections 100 --rate 50000 --size 64) ;;
    fanout) run=(fanout --url "$client_url/raw?channel=bench" --subscribers 1000
        --publish "$admin_url/api/publish" --rate 100 --size 64) ;;
    esac
    # By name and from the directory it writes to: the report keeps the command as it is here.
    (cd "$work" && PATH=$(dirname "$TIDEGATE_BENCH_BIN"):$PATH taskset -c "$LOAD_CPU" \
        tidegate-bench "${run[@]}" --duration "$duration" --server-pid "$gateway_pid" \
        --json "$name.json" --quiet)
}
