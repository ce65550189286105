#!/bin/bash
# run-all.sh [SECONDS [TARGET...]] -- each target (all of them otherwise) for SECONDS (60 otherwise), one after another.
#
# Uses a nightly toolchain with AddressSanitizer where there is one; else the stable one, without a sanitizer, which
# libFuzzer's coverage needs RUSTC_BOOTSTRAP for. Prints every target that found something, and fails then.
set -uo pipefail
cd "$(dirname "$(readlink -f "$0")")"
seconds=${1:-60}
shift || true
command -v cargo-fuzz >/dev/null || { echo "$0: needs cargo-fuzz: cargo install cargo-fuzz --locked" >&2; exit 1; }
if rustup toolchain list 2>/dev/null | grep -q '^nightly'; then
    fuzz=(cargo +nightly fuzz run)
else
    export RUSTC_BOOTSTRAP=1
    fuzz=(cargo fuzz run --sanitizer none)
fi
targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(basename -s .rs -a fuzz_targets/*.rs)

failed=()
for target in "${targets[@]}"; do
    echo "=== $target, $seconds s"
    "${fuzz[@]}" "$target" -- -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 ||
        failed+=("$target")
done
if [ ${#failed[@]} -gt 0 ]; then
    echo "=== found something: ${failed[*]}; see fuzz/artifacts"
    exit 1
fi
