#!/usr/bin/env bash
# Tests and measures the CUDA kernels on this machine. Needs nvcc 12.8 or newer, a C++ compiler, an NVIDIA GPU and its
# driver; no Node, no network. python3 with torch adds torch to both commands.
#
#   ./gpu.sh build    compiles the policies and the driver for the GPU here
#   ./gpu.sh test     every policy against its vectors, against torch, and under compute-sanitizer
#   ./gpu.sh bench    the table of kernels as Markdown on stdout and in bench.md, as JSON in bench.json
#
# CUDA_PATH names the toolkit (default: nvcc on the PATH, then /usr/local/cuda); ARCH the architecture, such as 90
# (default: the GPU's); JOBS how many compilers run at once. Without nvcc, a build/ that was made elsewhere is run.
set -uo pipefail
cd "$(dirname "$0")"

fail() { echo "gpu.sh: $*" >&2; exit 1; }

find_toolkit() {
  local folder
  for folder in "${CUDA_PATH:-}" "$(dirname "$(dirname "$(readlink -f "$(command -v nvcc || echo /none/none/none)")")")" /usr/local/cuda; do
    [ -n "$folder" ] && [ -x "$folder/bin/nvcc" ] && { NVCC=$folder/bin/nvcc; break; }
    [ -n "${CUDA_PATH:-}" ] && fail "CUDA_PATH $CUDA_PATH has no bin/nvcc"
  done
  [ -n "${NVCC:-}" ] || return 1
  TOOLKIT=$(dirname "$(dirname "$NVCC")")
  for folder in lib64 lib targets/x86_64-linux/lib targets/sbsa-linux/lib; do
    [ -f "$TOOLKIT/$folder/libcudart_static.a" ] && { LIB=$TOOLKIT/$folder; break; }
  done
  [ -n "${LIB:-}" ] || fail "$TOOLKIT has no libcudart_static.a"
}

find_arch() {
  [ -n "${ARCH:-}" ] && return
  ARCH=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -n 1 | tr -d '. ')
  [ -n "$ARCH" ] || fail "nvidia-smi names no GPU here; give its architecture, such as ARCH=90"
}

# What a build is made from: when it changes, everything is compiled again.
fingerprint() { { "$NVCC" --version; echo "$ARCH"; cat flags policies/*/policy.cu driver/* $(find templates native -type f | sort); } | cksum; }

build_all() {
  if ! find_toolkit; then
    # built where there is a toolkit, with ARCH of the GPU here, and copied with the rest
    [ -f build/stamp ] || fail "nvcc was not found: neither CUDA_PATH, nor the PATH, nor /usr/local/cuda has it"
    echo "nvcc was not found here: running build/ as it was copied" >&2
    return
  fi
  find_arch
  local stamp
  stamp=$(fingerprint)
  [ -f build/stamp ] && [ "$(cat build/stamp)" = "$stamp" ] && return
  rm -rf build && mkdir -p build || fail "build cannot be written"
  echo "compiling for sm_$ARCH with $NVCC …" >&2
  local code="arch=compute_$ARCH,code=sm_$ARCH"
  {
    echo "$NVCC -std=c++17 -O2 -cudart static -Inative -L$LIB driver/*.cpp -ldl -o build/driver"
    echo "$NVCC -std=c++17 -O2 -cudart static -Inative -L$LIB -shared -Xcompiler -fPIC driver/*.cpp -ldl -o build/libdriver.so"
    for policy in policies/*/; do
      policy=$(basename "$policy")
      mkdir -p "build/$policy"
      echo "$NVCC $(cat flags) -gencode $code -Itemplates -Inative -L$LIB policies/$policy/policy.cu -o build/$policy/policy.so > build/$policy/log 2>&1 || { grep -v '^ptxas info\|bytes stack frame' build/$policy/log >&2; exit 255; }; grep -h 'ptxas warning' build/$policy/log >&2 || true"
    done
  } | xargs -d '\n' -P "${JOBS:-$(nproc)}" -I{} bash -c '{}' || { rm -rf build; fail "something does not compile (above)"; }
  echo "$stamp" > build/stamp
}

has_torch() { command -v python3 >/dev/null && python3 -c 'import torch, sys; sys.exit(not torch.cuda.is_available())' 2>/dev/null; }

sanitizer() { command -v compute-sanitizer || { [ -x "${TOOLKIT:-}/bin/compute-sanitizer" ] && echo "$TOOLKIT/bin/compute-sanitizer"; }; }

test_all() {
  build_all
  local failed=0 policy tool run
  build/driver device || exit 1
  for policy in policies/*/; do
    policy=$(basename "$policy")
    build/driver test "build/$policy/policy.so" vectors/"$policy"-*.vec || failed=1
  done
  if has_torch; then
    for policy in policies/*/; do python3 torch_peer.py attention "build/$(basename "$policy")/policy.so" || failed=1; done
  else
    echo "not tested: against torch, which python3 does not have here"
  fi
  if run=$(sanitizer); then
    for tool in memcheck racecheck synccheck; do
      for policy in policies/*/; do
        policy=$(basename "$policy")
        # the smallest vector of each policy: these tools are slow
        if "$run" --tool "$tool" --error-exitcode 9 build/driver test "build/$policy/policy.so" "$(ls -S vectors/"$policy"-*.vec | tail -n 1)" > "build/$policy/$tool.log" 2>&1
        then echo "ok   $policy under $tool"
        else echo "FAIL $policy under $tool:"; tail -n 20 "build/$policy/$tool.log"; failed=1
        fi
      done
    done
  else
    echo "not tested: memcheck, racecheck, synccheck; compute-sanitizer is not here"
  fi
  [ $failed = 0 ] && echo "all passed" || { echo "something failed (above)"; exit 1; }
}

bench_all() {
  build_all
  local program=(build/driver)
  has_torch && program=(python3 torch_peer.py)
  "${program[@]}" bench build bench.json | tee bench.md
  exit "${PIPESTATUS[0]}"
}

case "${1:-}" in
  build) build_all ;;
  test) test_all ;;
  bench) bench_all ;;
  *) sed -n '2,11s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
