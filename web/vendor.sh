#!/usr/bin/env bash
# Copies third parties' browser files, by the lock file, to where the page's own files lie.
set -euo pipefail
cd "$(dirname "$0")"
npm ci --ignore-scripts --no-audit --no-fund --silent
to=../src/mien/serve/web/vendor
rm -rf "$to"
mkdir -p "$to"
ort=node_modules/onnxruntime-web fonts=node_modules/@fontsource-variable
cp "$ort"/dist/ort.wasm.min.mjs "$ort"/dist/ort-wasm-simd-threaded.{mjs,wasm} "$to"
# With WebGPU: 27 MB, so pyproject.toml keeps these three out of the wheel.
cp "$ort"/dist/ort.webgpu.min.mjs "$ort"/dist/ort-wasm-simd-threaded.asyncify.{mjs,wasm} "$to"
cp "$fonts"/inter/files/inter-latin-wght-normal.woff2 "$to/inter.woff2"
cp "$fonts"/fraunces/files/fraunces-latin-opsz-normal.woff2 "$to/fraunces.woff2"
{
  echo "onnxruntime-web $(node -p "require('./$ort/package.json').version")"
  cat onnxruntime-licence.txt
  for name in inter fraunces; do
    printf '\n---\n%s.woff2\n' "$name"
    cat "$fonts/$name/LICENSE"
  done
} >"$to/licences.txt"
