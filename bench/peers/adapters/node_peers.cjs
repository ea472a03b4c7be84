// Peers that run under Node: the networks inside @vladmandic/face-api and @vladmandic/human.
//
//     node node_peers.cjs PEER FACES.npy OUT.json
//
// Runs in the peers' own environment (NODE_PATH). See bench/peers/README.md for what an adapter
// reads and writes; this one writes JSON, which bench/peers/run.py reads too.

const fs = require('fs');
const path = require('path');

const BATCH = 64;

function readFaces(file) {
  const content = fs.readFileSync(file);
  const length = content.readUInt16LE(8); // version 1.0 of the form: magic, version, header's length
  const header = content.subarray(10, 10 + length).toString();
  const shape = header.match(/\((\d+), (\d+), (\d+)\)/).slice(1).map(Number);
  return { shape, pixels: content.subarray(10 + length) };
}

// Their packages do not export all their files.
function installed(name) {
  return path.join(process.env.NODE_PATH, name);
}

async function ready(tf, wasm) {
  wasm.setWasmPaths(path.dirname(require.resolve('@tensorflow/tfjs-backend-wasm')) + path.sep);
  wasm.setThreadsCount(1);
  await tf.setBackend('wasm');
  await tf.ready();
}

// face-api's own entrance for faces that are cut out already.
async function faceApi() {
  const tf = require('@tensorflow/tfjs');
  await ready(tf, require('@tensorflow/tfjs-backend-wasm'));
  const api = require(path.join(installed('@vladmandic/face-api'), 'dist', 'face-api.node-wasm.js'));
  const root = installed('@vladmandic/face-api');
  await api.nets.faceExpressionNet.loadFromDisk(path.join(root, 'model'));
  const labels = ['neutral', 'happy', 'sad', 'angry', 'fearful', 'disgusted', 'surprised'];
  const answer = async (pixels, n, side) => {
    const grey = tf.tensor(pixels, [n, side, side, 1], 'int32');
    const faces = tf.unstack(tf.concat([grey, grey, grey], 3));
    const found = await api.nets.faceExpressionNet.predictExpressions(faces);
    tf.dispose([grey, ...faces]);
    return found.map((one) => labels.map((label) => one[label]));
  };
  const { version } = JSON.parse(fs.readFileSync(path.join(root, 'package.json')));
  return { labels, answer, about: `@vladmandic/face-api ${version}, tfjs ${tf.version.tfjs} wasm` };
}

// human has no entrance for faces that are cut out already: its network, with its preprocessing
// (bilinear to 64x64, 0 to 1, grey by 0.2989, 0.5870, 0.1140, then -1 to 1; src/gear/emotion.ts).
async function human() {
  const tf = require('@tensorflow/tfjs');
  await ready(tf, require('@tensorflow/tfjs-backend-wasm'));
  const root = installed('@vladmandic/human');
  const topology = JSON.parse(fs.readFileSync(path.join(root, 'models', 'emotion.json')));
  const weights = fs.readFileSync(path.join(root, 'models', 'emotion.bin'));
  const model = await tf.loadGraphModel(tf.io.fromMemory({
    modelTopology: topology.modelTopology,
    weightSpecs: topology.weightsManifest.flatMap((group) => group.weights),
    weightData: weights.buffer.slice(weights.byteOffset, weights.byteOffset + weights.length),
    format: topology.format,
    signature: topology.userDefinedMetadata && topology.userDefinedMetadata.signature,
  }));
  const labels = ['angry', 'disgust', 'fear', 'happy', 'sad', 'surprise', 'neutral'];
  const answer = async (pixels, n, side) => {
    const out = tf.tidy(() => {
      const unit = tf.div(tf.tensor(pixels, [n, side, side, 1], 'float32'), 255);
      const resized = tf.image.resizeBilinear(unit, [64, 64], false);
      const grey = tf.mul(resized, 0.2989 + 0.5870 + 0.1140);
      return model.execute(tf.mul(tf.sub(grey, 0.5), 2));
    });
    const rows = await out.array();
    out.dispose();
    return rows;
  };
  const { version } = JSON.parse(fs.readFileSync(path.join(root, 'package.json')));
  return { labels, answer, about: `@vladmandic/human ${version}, tfjs ${tf.version.tfjs} wasm` };
}

async function main() {
  const [peer, source, out] = process.argv.slice(2);
  const { shape: [n, side], pixels } = readFaces(source);
  const { labels, answer, about } = await { 'face-api': faceApi, human }[peer]();
  const batch = (start) => {
    const stop = Math.min(start + BATCH, n);
    return answer(Array.from(pixels.subarray(start * side * side, stop * side * side)), stop - start, side);
  };
  await batch(0); // the first answer also compiles what later ones use
  const started = process.cpuUsage();
  const probs = [];
  for (let start = 0; start < n; start += BATCH) probs.push(...await batch(start));
  const { user, system } = process.cpuUsage(started);
  const seconds = (user + system) / 1e6;
  fs.writeFileSync(out, JSON.stringify({ labels, probs, seconds, about }));
}

main().catch((error) => { console.error(error); process.exit(1); });
