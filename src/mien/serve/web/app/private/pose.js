// Head pose from five landmarks, as mien.imaging.pose: the same start and the same steps.

import { DAMPING, FACE, PITCH_KNOTS, STEPS, YAW_KNOTS } from "../constants.js";

const axes = [0, 1, 2];
const middle = axes.map((axis) => FACE.reduce((sum, point) => sum + point[axis], 0) / FACE.length);
const centred = FACE.map((point) => point.map((v, axis) => v - middle[axis]));
const gram = axes.map((i) => axes.map((j) => centred.reduce((sum, p) => sum + p[i] * p[j], 0)));
/** Derivatives of a rotation about x, y and z. */
const turns = [
  [[0, 0, 0], [0, 0, -1], [0, 1, 0]], [[0, 0, 1], [0, 0, 0], [-1, 0, 0]], [[0, -1, 0], [1, 0, 0], [0, 0, 0]],
];

/** `headPose` of landmarks that a network has placed: networks shrink large angles. */
export function detectedPose(landmarks) {
  const [yaw, pitch, roll] = headPose(landmarks);
  return [meant(yaw, YAW_KNOTS), meant(pitch, PITCH_KNOTS), roll];
}

function meant(angle, [measured, angles]) {
  const size = Math.abs(angle), k = size <= measured[1] ? 1 : 2;
  const along = Math.min((size - measured[k - 1]) / (measured[k] - measured[k - 1]), 1);
  return Math.sign(angle) * (angles[k - 1] + along * (angles[k] - angles[k - 1]));
}

/**
 * Yaw, pitch and roll in degrees; NaN where all landmarks are in one place.
 * @param {number[][]} landmarks five [x, y].
 */
export function headPose(landmarks) {
  let affine = affineCamera(landmarks);
  if (!(Math.max(...affine.flat().map(Math.abs)) > 1e-9)) return [NaN, NaN, NaN];
  const [start, size] = nearestRotation(affine);
  affine = affine.map((row) => row.map((v) => v / size));
  let rotation = start, logScale = 0;
  for (let k = 0; k < STEPS; k++) {
    const step = gaussNewton(affine, rotation, Math.exp(logScale));
    rotation = product(rotation, rotationBy(step));
    logScale += step[3];
  }
  const [top, next] = rotation, away = cross(top, next);
  return [
    Math.asin(Math.min(Math.max(away[0], -1), 1)), Math.atan2(-away[1], away[2]), Math.atan2(next[0], top[0]),
  ].map((angle) => (angle * 180) / Math.PI);
}

/** The 2 x 3 matrix that maps the face to the landmarks with least squares. */
function affineCamera(landmarks) {
  const mean = [0, 1].map((axis) => landmarks.reduce((sum, p) => sum + p[axis], 0) / landmarks.length);
  return [0, 1].map((axis) => {
    const sums = axes.map((j) => landmarks.reduce((sum, p, i) => sum + (p[axis] - mean[axis]) * centred[i][j], 0));
    return solve(gram, sums);
  });
}

/** The orthonormal rows nearest to those of a 2 x 3 matrix, and the mean of its singular values. */
function nearestRotation([a, b]) {
  // (M M')^-1/2 M, by the square root of a symmetric 2 x 2 matrix.
  const aa = dot(a, a), ab = dot(a, b), bb = dot(b, b);
  const area = Math.sqrt(Math.max(aa * bb - ab * ab, 1e-18 * (aa + bb) ** 2));
  const trace = Math.sqrt(aa + bb + 2 * area);
  const root = [(aa + area) / trace, ab / trace, (bb + area) / trace];
  const det = root[0] * root[2] - root[1] ** 2;
  return [
    [a.map((v, i) => (root[2] * v - root[1] * b[i]) / det), a.map((v, i) => (root[0] * b[i] - root[1] * v) / det)],
    trace / 2,
  ];
}

/** A damped step: a rotation vector, and the change of the scale's logarithm. */
function gaussNewton(affine, rotation, scale) {
  const camera = rotation.map((row) => row.map((v) => scale * v));
  const rest = affine.map((row, i) => row.map((v, j) => v - camera[i][j]));
  const moved = [...turns.map((turn) => product(camera, turn)), camera];
  // Inner products of 2 x 3 matrices by the face's spread: distances between landmarks in the image.
  const inner = (one, other) => one.reduce((sum, row, i) =>
    sum + axes.reduce((part, j) => part + row[j] * dot(gram[j], other[i]), 0), 0);
  const normal = moved.map((one) => moved.map((other) => inner(one, other)));
  const damping = (DAMPING * normal.reduce((sum, row, i) => sum + row[i], 0)) / 4;
  normal.forEach((row, i) => (row[i] += damping));
  return solve(normal, moved.map((one) => inner(one, rest)));
}

/** Rodrigues' formula. */
function rotationBy(vector) {
  const angle = Math.max(Math.hypot(vector[0], vector[1], vector[2]), 1e-12);
  const turn = axes.map((i) => axes.map((j) => axes.reduce((sum, k) => sum + vector[k] * turns[k][i][j], 0)));
  const twice = product(turn, turn);
  const one = Math.sin(angle) / angle, two = (1 - Math.cos(angle)) / angle ** 2;
  return axes.map((i) => axes.map((j) => Number(i === j) + one * turn[i][j] + two * twice[i][j]));
}

/** Gaussian elimination with pivots. */
function solve(matrix, right) {
  const rows = matrix.map((row, i) => [...row, right[i]]), n = right.length;
  for (let i = 0; i < n; i++) {
    let best = i;
    for (let r = i + 1; r < n; r++) if (Math.abs(rows[r][i]) > Math.abs(rows[best][i])) best = r;
    [rows[i], rows[best]] = [rows[best], rows[i]];
    for (let r = 0; r < n; r++) {
      if (r === i) continue;
      const factor = rows[r][i] / rows[i][i];
      for (let c = i; c <= n; c++) rows[r][c] -= factor * rows[i][c];
    }
  }
  return rows.map((row, i) => row[n] / row[i]);
}

const dot = (one, other) => one.reduce((sum, v, i) => sum + v * other[i], 0);
const product = (left, right) => left.map((row) => axes.map((j) => axes.reduce((sum, k) => sum + row[k] * right[k][j], 0)));
const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
