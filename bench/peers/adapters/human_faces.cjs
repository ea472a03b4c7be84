// The face detector of @vladmandic/human (BlazeFace of 256 pixels) as a process, for bench/detectors.py.
//
//     NODE_PATH=DIR/node_modules node human_faces.cjs
//
// It speaks as mediapipe_faces.py does: images from stdin, each as height and width (uint32,
// little-endian) and RGB bytes; a line of JSON for each, with `boxes` (left, top, right, bottom in
// pixels, best first) and `seconds` of CPU time. Everything but the detector is switched off.

const fs = require('fs');
const path = require('path');

const root = path.join(process.env.NODE_PATH, '@vladmandic', 'human');

// Its build for WebAssembly reads models by fetch alone, and Node fetches no files.
const fetchAddress = globalThis.fetch;
globalThis.fetch = async (address, options) => {
  const text = String(address.url || address);
  if (!text.startsWith('file://')) return fetchAddress(address, options);
  return new Response(fs.readFileSync(new URL(text)));
};

async function detector() {
  const tf = require('@tensorflow/tfjs');
  const wasm = require('@tensorflow/tfjs-backend-wasm');
  const files = path.dirname(require.resolve('@tensorflow/tfjs-backend-wasm')) + path.sep;
  wasm.setWasmPaths(files);
  wasm.setThreadsCount(1);
  const { Human } = require(path.join(root, 'dist', 'human.node-wasm.js'));
  const off = { enabled: false };
  const human = new Human({
    backend: 'wasm', wasmPath: files, modelBasePath: `file://${root}/models/`, debug: false,
    cacheSensitivity: 0, // each image is a new one
    filter: off, gesture: off, body: off, hand: off, object: off, segmentation: off,
    face: {
      enabled: true, mesh: off, iris: off, emotion: off, description: off, attention: off,
      antispoof: off, liveness: off,
      // As many faces as the other detectors may find; the score is its default.
      detector: { enabled: true, rotation: false, return: false, maxDetected: 100, skipFrames: 0, skipTime: 0 },
    },
  });
  await human.load();
  return { human, tf };
}

async function boxesOf({ human, tf }, pixels, height, width) {
  const image = human.tf.tensor(new Int32Array(pixels), [1, height, width, 3], 'int32');
  const { face, error } = await human.detect(image);
  human.tf.dispose(image);
  if (error) throw new Error(error);
  const found = face.filter((one) => one.box).sort((a, b) => b.boxScore - a.boxScore);
  return found.map(({ box: [x, y, w, h] }) => [x, y, x + w, y + h]);
}

async function* blocks(stream) {
  // Yields what was asked for by `next(bytes)`.
  let wanted = yield;
  let kept = Buffer.alloc(0);
  for await (const part of stream) {
    kept = Buffer.concat([kept, part]);
    while (kept.length >= wanted) {
      const block = kept.subarray(0, wanted);
      kept = kept.subarray(wanted);
      wanted = yield block;
    }
  }
}

async function main() {
  const answers = fs.createWriteStream(null, { fd: 1 });
  console.log = console.error; // the library prints to stdout
  const loaded = await detector();
  const input = blocks(process.stdin);
  await input.next();
  for (;;) {
    const head = (await input.next(8)).value;
    if (head === undefined) break;
    const [height, width] = [head.readUInt32LE(0), head.readUInt32LE(4)];
    const pixels = (await input.next(height * width * 3)).value;
    const started = process.cpuUsage();
    const boxes = await boxesOf(loaded, pixels, height, width);
    const { user, system } = process.cpuUsage(started);
    answers.write(`${JSON.stringify({ boxes, seconds: (user + system) / 1e6 })}\n`);
  }
}

main().catch((error) => { console.error(error); process.exit(1); });
