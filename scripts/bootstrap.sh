#!/usr/bin/env bash
# Make .venv from the lock files, then hand over to scripts/install.py. Needs python3.11, g++ and make; no root; writes only below the checkout.
set -euo pipefail
cd "$(dirname "$0")/.."

PYTHON=${PYTHON:-python3.11}
STAMP=.tools/ready
WANTED=$(cat requirements/*.txt pyproject.toml scripts/*.* slipway/tools.py train/model/default_encoder.py slipway/encoder/*.py | sha256sum | cut -d' ' -f1)
# What Horovod was built with for GPUs: "" or NCCL. It is built anew when that is asked for, and stays as it is when nothing is.
operations() { cat .tools/horovod-operations 2>/dev/null || true; }
# What commands send here for when it is missing: the stamp lists it, and without it set-up is not done.
PARTS=".tools/triton/bin/tritonserver .tools/triton/hidden_key.so .tools/haproxy/haproxy .tools/perf_analyzer .tools/encoder/encoder.json"
stamped() { head -n 1 "$STAMP" 2>/dev/null || true; }
is_whole() { tail -n +2 "$STAMP" | while read -r part; do [ -e "$part" ] || exit 1; done; }
is_ready() {
    [ -f "$STAMP" ] && [ "$(stamped)" = "$WANTED" ] && is_whole && [ -x .venv/bin/python ] && [ "${HOROVOD_GPU_OPERATIONS:-$(operations)}" = "$(operations)" ]
}
if is_ready; then
    exit 0
fi

fail() { # expected, found, fix
    printf '\nerror: set-up cannot go on\n  expected  %s\n  found     %s\n  fix       %s\n' "$1" "$2" "$3" >&2
    exit 9
}

# Horovod's build, Triton's Python backend and the first lines of .venv/bin/* hand this path on unquoted.
case $PWD in
*[[:space:]\"\'\`\$\\\&\;\<\>\|\*\?\#\(\)\[\]\{\}\!\~]*) fail "a checkout below a path without spaces, quotes and brackets" "$PWD" 'move it, for example to ~/slipway' ;;
esac
command -v "$PYTHON" >/dev/null || fail "$PYTHON on PATH (the locks are for 3.11)" "none" \
    "apt-get install python3.11, or: make setup PYTHON=path/to/python3.11"
command -v g++ >/dev/null || fail "g++ on PATH (Horovod is built from source)" "none" "apt-get install g++ make"
case ${HOROVOD_GPU_OPERATIONS:-NCCL} in
NCCL) ;;
*) fail "HOROVOD_GPU_OPERATIONS=NCCL, or not set: Horovod is built without MPI" "$HOROVOD_GPU_OPERATIONS" "HOROVOD_GPU_OPERATIONS=NCCL make setup" ;;
esac
[ "$(uname -m)" = x86_64 ] || fail "an x86-64 machine (Triton's and TensorFlow's wheels)" "$(uname -m)" "use another machine"

mkdir -p .tools
exec 9>.tools/lock
flock 9 # a second make in the same checkout waits, and then has nothing to do
if is_ready; then
    exit 0
fi
if [ -f "$STAMP" ] && [ "$(stamped)" != "$WANTED" ]; then # something of set-up changed: what was unpacked and made is cheap to make anew
    rm -rf .tools/triton .tools/haproxy .tools/perf_analyzer .tools/tensorrt .tools/encoder
fi
rm -f "$STAMP"
export UV_CACHE_DIR=$PWD/.tools/cache/uv PIP_CACHE_DIR=$PWD/.tools/cache/pip PIP_DISABLE_PIP_VERSION_CHECK=1
echo "set-up      into .venv and .tools, about 5 minutes the first time"

# pip, to fetch uv with: Python's own, or its bundled copy, or Debian's wheel of it, unpacked without root.
find_pip() {
    if "$PYTHON" -m pip --version >/dev/null 2>&1; then
        PIP=("$PYTHON" -m pip)
        return
    fi
    local wheel
    wheel=$("$PYTHON" -c 'import ensurepip, pathlib; print(*pathlib.Path(ensurepip.__file__).parent.glob("_bundled/pip-*.whl"))' 2>/dev/null || true)
    [ -n "$wheel" ] || wheel=$(ls /usr/share/python-wheels/pip-*.whl 2>/dev/null | tail -n 1 || true)
    if [ -z "$wheel" ]; then
        "$PYTHON" -m scripts.debian python3-pip-whl .tools/apt >.tools/apt.log 2>&1 || fail "pip, or apt-get to fetch it with" "neither (see .tools/apt.log)" "apt-get install python3-pip"
        wheel=$(ls .tools/apt/usr/share/python-wheels/pip-*.whl)
    fi
    PIP=("$PYTHON" "$wheel/pip")
}

UV=.tools/uv/bin/uv
if [ ! -x "$UV" ]; then
    find_pip
    "${PIP[@]}" install --quiet --no-deps --require-hashes --target .tools/uv -r requirements/uv.txt 2>.tools/uv.log ||
        { cat .tools/uv.log >&2; fail "the package uv from the package index" "the error above" "check the network, then: make setup"; }
fi
[ -x .venv/bin/python ] || "$UV" venv --quiet --python "$PYTHON" --no-python-downloads .venv
started=$SECONDS
LOCKS=(requirements/all.txt)
if [ "${HOROVOD_GPU_OPERATIONS:-$(operations)}" = NCCL ]; then
    LOCKS+=(requirements/cuda.txt) # 2 GB to fetch, 3 installed
fi
# Horovod is not in the lock, being built here: sync removes it, and scripts.install puts it back from its kept wheel.
"$UV" pip sync --quiet --python .venv/bin/python --require-hashes "${LOCKS[@]}"
# The command `slipway`, and this checkout on the path of .venv. Built by the locked hatchling: nothing is fetched.
"$UV" pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation --offline --editable .
printf '  %-14s%4d s\n' "packages" $((SECONDS - started))
.venv/bin/python -m scripts.install
# shellcheck disable=SC2086 # words, of which some may not be there
{ echo "$WANTED" && { ls -d $PARTS 2>/dev/null || true; }; } >"$STAMP"
