#!/usr/bin/env bash
# Tests and measures the CUDA kernels on this machine. Needs nvcc 12.8 or newer, a C++ compiler, an NVIDIA GPU and its
# driver; no Node, no network. python3 with torch adds torch to the first commands.
#
#   ./gpu.sh build        compiles the policies and the driver for the GPU here
#   ./gpu.sh test         every policy against its vectors, beside plain attention, and under compute-sanitizer
#   ./gpu.sh bench        the table of kernels as Markdown on stdout and in bench.md, as JSON in bench.json
#   ./gpu.sh serve-check  skv serve on the GPU: the answers that the CPU has given (serve-check.md)
#   ./gpu.sh bench-serve [FLAGS of skv serve]   policies and the full cache under one load (bench-serve.md)
#
# The last two are in a bundle made with --full, and need no nvcc on an H100 or H200. bench-serve takes POLICIES, PROMPT,
# OUTPUT, REQUESTS, ALONE, RATIO, MEMORY; both START_LIMIT, in seconds.
# CUDA_PATH names the toolkit (default: nvcc on the PATH, then /usr/local/cuda); ARCH the architecture, such as 90
# (default: the GPU's); JOBS how many compilers run at once; PREBUILT=1 runs build/ as it was copied, as does a machine
# without nvcc; OUT a folder that gets a copy of what is written.
set -uo pipefail
cd "$(dirname "$0")"

fail() { echo "gpu.sh: $*" >&2; exit 1; }

find_toolkit() {
  local folder
  [ -z "${PREBUILT:-}" ] || return 1
  for folder in "${CUDA_PATH:-}" "$(dirname "$(dirname "$(readlink -f "$(command -v nvcc || echo /none/none/none)")")")" /usr/local/cuda; do
    [ -n "$folder" ] && [ -x "$folder/bin/nvcc" ] && { TOOLKIT=$folder; break; }
    [ -n "${CUDA_PATH:-}" ] && fail "CUDA_PATH $CUDA_PATH has no bin/nvcc"
  done
  [ -n "${TOOLKIT:-}" ] || return 1
  NVCC=$TOOLKIT/bin/nvcc LIB=
  # where nvcc does not look by itself, as in the wheels
  for folder in lib64 lib targets/x86_64-linux/lib targets/sbsa-linux/lib; do
    [ -f "$TOOLKIT/$folder/libcudart_static.a" ] && { LIB=-L$TOOLKIT/$folder; break; }
  done
}

find_arch() {
  ARCH=${ARCH:-$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -n 1 | tr -d '. ')}
  [[ $ARCH =~ ^[0-9]+$ ]] || fail "nvidia-smi names no GPU here (it says '$ARCH'); give its architecture, such as ARCH=90"
}

# Compiles one target (driver, libdriver.so, attention-… or a policy), unless what it is made from has not changed.
compile() {
  local name=$1 to=build/$1 sources stamp attention
  local command=("$NVCC" -gencode "arch=compute_$ARCH,code=sm_$ARCH" -Icontract)
  local driver=(-std=c++17 -O2 -cudart static -x cu driver/*.cpp -ldl)
  case $name in
    driver) sources="driver contract" command+=("${driver[@]}" -o "$to/driver") ;;
    libdriver.so) sources="driver contract" command+=(-shared -Xcompiler -fPIC "${driver[@]}" -o "$to/libdriver.so") ;;
    attention-*)
      sources="attention/${name#attention-}.cu compile-flags templates contract"
      command+=($(cat compile-flags) -Itemplates -c "attention/${name#attention-}.cu" -o "$to/attention.o") ;;
    *)
      attention=build/attention-$(cat "policies/$name/attention")/attention.o
      sources="policies/$name $attention compile-flags link-flags templates contract"
      command+=($(cat compile-flags link-flags) -Itemplates "policies/$name/policy.cu" "$attention" -o "$to/policy.so") ;;
  esac
  stamp=$({ "$NVCC" --version; echo "${command[@]}"; find $sources -type f | sort | xargs cat; } | cksum)
  [ "$(cat "$to/stamp" 2>/dev/null)" = "$stamp" ] && return
  rm -rf "$to" && mkdir -p "$to" || exit 255
  if "${command[@]}" ${LIB:+"$LIB"} > "$to/log" 2>&1; then
    grep -h 'ptxas warning' "$to/log" >&2
    echo "$stamp" > "$to/stamp"
  else
    grep -v '^ptxas info\|bytes stack frame' "$to/log" >&2
    echo "FAIL $name does not compile (above)" >&2
  fi
}

# Policies that have been compiled.
built() { (cd build && ls -d */policy.so | xargs dirname); }

# What policies are linked to, and everything.
attentions() { ls attention | sed 's/\(.*\)\.cu/attention-\1/'; }
names() { attentions; printf '%s\n' driver libdriver.so; ls policies; }

# Everything, many at once. What does not compile is told, and fails at the end: the rest is worth having.
build_all() {
  if ! find_toolkit; then
    # built where there is a toolkit, with ARCH of the GPU here, and copied with the rest
    [ -f build/driver/stamp ] || fail "nvcc was not found: neither CUDA_PATH, nor the PATH, nor /usr/local/cuda has it"
    echo "running build/ as it was copied" >&2
  else
    find_arch
    mkdir -p build || fail "build cannot be written"
    echo "compiling for sm_$ARCH with $NVCC …" >&2
    export NVCC LIB ARCH
    export -f compile
    attentions | xargs -P "${JOBS:-$(nproc)}" -I{} bash -c 'compile {}' || fail "build cannot be written"
    names | xargs -P "${JOBS:-$(nproc)}" -I{} bash -c 'compile {}' || fail "build cannot be written"
  fi
  BROKEN=$(for name in $(names); do [ -f "build/$name/stamp" ] || echo "$name"; done)
  [ -f build/driver/stamp ] || fail "the driver does not compile (above)"
}

# 0 where torch runs, else the reason on stderr.
has_torch() {
  command -v python3 > /dev/null || { echo "without torch: there is no python3" >&2; return 1; }
  python3 -c 'import torch, sys; sys.exit(None if torch.cuda.is_available() else "torch sees no CUDA device")' 2> build/torch.log ||
    { echo "without torch: $(tail -n 1 build/torch.log)" >&2; return 1; }
}

sanitizer() { command -v compute-sanitizer || { [ -x "${TOOLKIT:-}/bin/compute-sanitizer" ] && echo "$TOOLKIT/bin/compute-sanitizer"; }; }

# One tool over one policy's vector of 268 tokens: every kernel's loops go round more than once, and no more than that,
# for these tools are slow.
sanitize() {
  local tool=$1 policy=$2 log=build/$2/$1.log
  if timeout 240 "$RUN" --tool "$tool" --error-exitcode 9 build/driver/driver test "build/$policy/policy.so" vectors/"$policy"-*-128x?x2-268.vec > "$log" 2>&1
  then echo "ok   $policy under $tool"
  else echo "FAIL $policy under $tool: $(grep -m 1 -A 12 '^========= .*\(Invalid\|hazard\|Barrier\|rror\)' "$log" || tail -n 12 "$log")"; return 1
  fi
}

# What was packed with xz, which a machine may lack.
unxz_to() { { xz -dc "$1" 2> /dev/null || python3 -c 'import lzma, shutil, sys; shutil.copyfileobj(lzma.open(sys.argv[1]), sys.stdout.buffer)' "$1"; } > "$2"; }
unpacked() {
  [ -d "$1" ] && return
  mkdir -p build && unxz_to "$1.tar.xz" "build/$1.tar" && tar xf "build/$1.tar" && rm "build/$1.tar" || fail "$1.tar.xz cannot be unpacked"
}

test_all() {
  build_all
  unpacked vectors
  local failed=0 policy attention=(build/driver/driver)
  build/driver/driver device || exit 1
  for policy in $BROKEN; do echo "FAIL $policy does not compile"; failed=1; done
  for policy in $(built); do
    timeout 120 build/driver/driver test "build/$policy/policy.so" vectors/"$policy"-*.vec || { echo "FAIL $policy (exit $?)"; failed=1; }
  done
  has_torch && attention=(python3 torch_peer.py)
  timeout 240 "${attention[@]}" attention build/*/policy.so || { echo "FAIL attention (exit $?)"; failed=1; }
  if RUN=$(sanitizer) && timeout 60 "$RUN" build/driver/driver device > build/sanitizer.log 2>&1; then
    export RUN
    export -f sanitize
    for tool in memcheck racecheck synccheck; do
      built | xargs -P 8 -I{} bash -c "sanitize $tool {}" || failed=1
    done
  else
    echo "not tested: memcheck, racecheck, synccheck; compute-sanitizer $([ -n "$RUN" ] && tail -n 1 build/sanitizer.log || echo is not here)"
  fi
  [ $failed = 0 ] && echo "all passed" || { echo "something failed (above)"; exit 1; }
}

bench_all() {
  build_all
  local program=(build/driver/driver)
  has_torch && program=(python3 torch_peer.py)
  timeout 400 "${program[@]}" bench build bench.json | tee bench.md
  exit "${PIPESTATUS[0]}"
}

# A toolkit as the builds of this bundle have it: its nvcc has the version that they are known by, and is the machine's own
# where something must be compiled after all.
toolkit_of_builds() {
  local to=$PWD/build/toolkit compile='echo "there is no nvcc on this machine" >&2; exit 1'
  rm -rf "$to"; mkdir -p "$to/bin" || fail "build cannot be written"
  find_toolkit && compile="exec '$NVCC' \"\$@\""
  if [ -n "${LIB:-}" ]; then ln -s "${LIB#-L}" "$to/lib"
  else mkdir "$to/lib" && touch "$to/lib/libcudart_static.a" # it is only looked for
  fi
  printf '#!/bin/sh\n[ "$1" = --version ] && exec cat "%s"\n%s\n' "$PWD/skv/nvcc-version" "$compile" > "$to/bin/nvcc"
  chmod +x "$to/bin/nvcc"
  export CUDA_PATH=$to
}

# cuBLASLt of the toolkit, else of torch.
find_cublaslt() {
  local file
  [ -z "${SKV_CUBLASLT:-}" ] || return
  for file in build/toolkit/lib/libcublasLt.so.1[23] $(python3 -c 'import glob, sys
for folder in sys.path: print(*glob.glob(folder + "/nvidia/*/lib/libcublasLt.so.1[23]"))' 2> /dev/null); do
    [ -f "$file" ] && { export SKV_CUBLASLT=$(readlink -f "$file"); return; }
  done
}

# What the bundle's builds for processors are for.
of_processors() { [ "$(uname -m)" != x86_64 ] || export SKV_MARCH=${SKV_MARCH:-x86-64-v3}; }

# One of the bundle's programs under its own Node.
program() {
  local name=$1
  shift
  [ -d skv ] || [ -f skv.tar.xz ] || fail "this bundle was made without --full"
  mkdir -p build || fail "build cannot be written"
  [ -x build/node ] || { unxz_to node.xz build/node && chmod +x build/node; } || fail "node.xz cannot be unpacked"
  unpacked skv
  toolkit_of_builds
  find_cublaslt
  of_processors
  timeout "${LIMIT:-570}" build/node "skv/js/$name.js" "$@"
}

# Runs a command and leaves a copy of what it says, and of bench.*, in OUT.
into_out() {
  [ -n "${OUT:-}" ] || { "$@"; return; }
  mkdir -p "$OUT" || fail "OUT $OUT cannot be written"
  ("$@") 2>&1 | tee "$OUT/$COMMAND.log"
  local status=${PIPESTATUS[0]}
  cp bench.md bench.json serve-check.md bench-serve.md "$OUT" 2> /dev/null
  exit "$status"
}

COMMAND=${1:-}
case $COMMAND in
  build) build_all; [ -z "$BROKEN" ] || fail "something does not compile (above)" ;;
  test) into_out test_all ;;
  bench) into_out bench_all ;;
  serve-check) into_out program check ;;
  bench-serve) shift; into_out program bench "$@" ;;
  *) sed -n '2,17s/^# \{0,1\}//p' gpu.sh; exit 2 ;;
esac
