#!/usr/bin/env bash
# Run commands in a fresh clone of HEAD, in a Debian that holds python3.11, g++, make and git alone, as a user without root.
#
#     bash scripts/bare.sh "make demo" "make test"
#
# Needs root, debootstrap and unshare. The system lies in $BARE_ROOT and is kept; the clone and its caches are new each time. Mounts are of a
# namespace of their own and end with it. AG News is read from $AG_NEWS_DIR, where that is set.
set -euo pipefail
cd "$(dirname "$0")/.."
HOLDER=${BARE_ROOT:-/var/lib/slipway-bare} # nobody else reaches what lies below it
ROOT=$HOLDER/system

fail() { # expected, found, fix
    printf 'error: there is no bare system to try it in\n  expected  %s\n  found     %s\n  fix       %s\n' "$1" "$2" "$3" >&2
    exit 9
}

[ "$(id -u)" = 0 ] || fail "root, to make the system and to enter it" "the user $(id -un)" "sudo make bare"
for program in debootstrap unshare chroot; do
    command -v "$program" >/dev/null || fail "the program $program" "none on PATH" "apt-get install debootstrap util-linux"
done
[ -z "$(git status --porcelain --untracked-files=no)" ] || echo "!!! what is not committed is not tried" >&2

if [ ! -f "$ROOT/bare" ]; then
    [ ! -e "$HOLDER" ] || fail "no $HOLDER, or one that was made here and is whole" "something else" "rm -r it, or BARE_ROOT=/another/directory make bare"
    mkdir -m 0700 "$HOLDER"
    mkdir "$ROOT"
    debootstrap --variant=minbase --include=python3.11,g++,make,git,ca-certificates bookworm "$ROOT" >"$ROOT.log" 2>&1 ||
        fail "debootstrap to make $ROOT" "$(tail -n 1 "$ROOT.log")" "look at $ROOT.log"
    chroot "$ROOT" useradd --create-home --shell /bin/bash builder
    touch "$ROOT/bare"
fi
home=$ROOT/home/builder
rm -rf "$home/slipway" "$home/.cache"
git bundle create --quiet "$home/slipway.bundle" HEAD
cp /etc/resolv.conf /etc/hosts "$ROOT/etc/"
cp -r /etc/ssl/certs "$ROOT/etc/ssl/"
[ -z "${AG_NEWS_DIR:-}" ] || mkdir -p "$ROOT/ag_news"

cat >"$home/run.sh" <<'RUN'
set -euo pipefail
cd ~
git -c advice.detachedHead=false clone --quiet slipway.bundle slipway
cd slipway
for command in "$@"; do
    started=$SECONDS
    echo "=== $command"
    status=0
    bash -c "$command" || status=$?
    echo "=== $command: exit status $status after $((SECONDS - started)) s"
    [ "$status" = 0 ] || exit "$status"
done
RUN
export ROOT
exec unshare --mount --pid --fork --kill-child bash -euo pipefail -c '
    mount --make-rprivate /
    mount -t proc proc "$ROOT/proc"
    mount --rbind /dev "$ROOT/dev"
    mount -t tmpfs shm "$ROOT/dev/shm"
    [ -z "${AG_NEWS_DIR:-}" ] || mount --bind -o ro "$AG_NEWS_DIR" "$ROOT/ag_news"
    exec env -i HOME=/home/builder LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin ${AG_NEWS_DIR:+AG_NEWS_DIR=/ag_news} \
        PIP_CERT=/etc/ssl/certs/ca-certificates.crt SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
        chroot --userspec=builder:builder "$ROOT" bash /home/builder/run.sh "$@"
' bare "$@"
